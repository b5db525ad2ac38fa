use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::error::{Defect, Qcow2Error};
use super::header::Header;
use super::hint::{LearnError, ReadRanges, learn};
use super::map::ClusterMap;
use super::mapped_pass::MappedPass;
use super::output::ImageTarget;
use super::unmapped_pass::UnmappedPass;
use crate::image::block::{Block, BlockPool};
use crate::image::decode::DecodeError;
use crate::image::source::PartError;
use crate::image::write::WriteError;

mod hostile;
mod order;
mod picture;

use picture::TestRng;

const MEMORY: usize = 28 << 20;

/// A disk in memory. It refuses what the real one must never be asked for.
struct Paper {
    bytes: Vec<u8>,
    is_written: Vec<bool>,
    declared: Option<u64>,
    is_all_zeros: bool,
    /// The device can make zeros without writing them.
    punches: bool,
    /// What is kept behind the image, and how much may be.
    staged: Vec<u8>,
    room: usize,
}

impl Paper {
    fn new(punches: bool) -> Self {
        Self {
            bytes: Vec::new(),
            is_written: Vec::new(),
            declared: None,
            is_all_zeros: false,
            punches,
            staged: Vec::new(),
            room: 0,
        }
    }

    fn mark(&mut self, offset: u64, length: usize) -> Range<usize> {
        let start = usize::try_from(offset).unwrap();
        let range = start..start + length;
        assert!(range.end <= self.bytes.len(), "outside: {range:?}");
        let is_written = &mut self.is_written[range.clone()];
        assert!(!is_written.contains(&true), "twice: {range:?}");
        is_written.fill(true);
        range
    }
}

impl ImageTarget for Paper {
    fn declare(&mut self, size: u64) -> Result<(), WriteError> {
        assert_eq!(self.declared.replace(size), None);
        let size = usize::try_from(size).unwrap();
        self.bytes = vec![0xff; size];
        self.is_written = vec![false; size];
        Ok(())
    }

    fn clear(&mut self, if_need_be: bool) -> Result<bool, WriteError> {
        assert!(!self.is_written.contains(&true));
        if self.punches || if_need_be {
            self.bytes.fill(0);
            self.is_all_zeros = true;
        }
        Ok(self.is_all_zeros)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let range = self.mark(offset, bytes.len());
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    fn write_block(
        &mut self,
        offset: u64,
        block: &Arc<Block>,
        range: Range<usize>,
    ) -> Result<(), WriteError> {
        self.write_at(offset, &block[range])
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), WriteError> {
        let length = usize::try_from(length).unwrap();
        // All of a disk is made zeros only before anything is written.
        let range = if length == self.bytes.len() {
            assert!(!self.is_written.contains(&true));
            self.is_all_zeros = true;
            0..length
        } else {
            self.mark(offset, length)
        };
        self.bytes[range].fill(0);
        Ok(())
    }

    fn stage(&mut self, bytes: &[u8]) -> Result<Option<u64>, WriteError> {
        assert!(bytes.len() <= 1 << 20);
        let at = self.staged.len();
        if at + bytes.len() > self.room {
            return Ok(None);
        }
        self.staged.extend_from_slice(bytes);
        self.staged
            .resize(self.staged.len().next_multiple_of(512), 0xee);
        Ok(Some(at as u64))
    }

    fn staged(&mut self, at: u64, length: usize) -> Result<Vec<u8>, WriteError> {
        let at = usize::try_from(at).unwrap();
        Ok(self.staged[at..at + length].to_vec())
    }

    fn unstage(&mut self) -> Result<(), WriteError> {
        self.staged.clear();
        Ok(())
    }
}

/// A file that can be read anywhere.
struct Whole<'a> {
    file: &'a [u8],
    asked: AtomicUsize,
}

impl<'a> Whole<'a> {
    fn new(file: &'a [u8]) -> Self {
        Self {
            file,
            asked: AtomicUsize::new(0),
        }
    }
}

impl ReadRanges for Whole<'_> {
    const AT_ONCE: usize = 3;

    async fn part(&self, first: u64, length: u64) -> Result<Bytes, PartError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let end = usize::try_from(first + length).unwrap();
        let bytes = &self.file[usize::try_from(first).unwrap()..end.min(self.file.len())];
        Ok(Bytes::copy_from_slice(bytes))
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap()
        })
        .block_on(future)
}

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
enum FileResult {
    Written,
    Refused(Qcow2Error),
    /// By the part that writes.
    Stopped(String),
}

fn prepare(file: &[u8], available: u64) -> Result<(Header, ClusterMap), Qcow2Error> {
    // Little is known from the head, so that the rest is asked for.
    let head = &file[..file.len().min(1 << 12)];
    let header = Header::parse(head, Some(file.len() as u64), available)?;
    match now(learn(&header, head, &Whole::new(file), MEMORY)) {
        Ok(map) => Ok((header, map)),
        Err(LearnError::Refused(refusal)) => Err(refusal),
        Err(LearnError::Unranged(reason)) => panic!("{reason}"),
    }
}

fn blocks<'a>(file: &'a [u8], rng: &'a mut TestRng) -> impl Iterator<Item = Arc<Block>> {
    let mut rest = file;
    std::iter::from_fn(move || {
        // Short ones, so that much is cut.
        let length = 512 * (1 + usize::try_from(rng.below(300)).unwrap());
        let (bytes, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        let mut block = now(BlockPool::new().take());
        block.fill(bytes);
        (!bytes.is_empty()).then(|| Arc::new(block))
    })
}

fn stopped(error: &DecodeError) -> FileResult {
    FileResult::Stopped(error.to_string())
}

/// The whole way of a file.
fn decode(file: &[u8], available: u64, paper: &mut Paper, rng: &mut TestRng) -> FileResult {
    let (header, map) = match prepare(file, available) {
        Ok(prepared) => prepared,
        Err(refusal) => return FileResult::Refused(refusal),
    };
    stream(file, header, map, paper, rng)
        .map_or_else(|error| stopped(&error), |()| FileResult::Written)
}

fn stream(
    file: &[u8],
    header: Header,
    map: ClusterMap,
    paper: &mut Paper,
    rng: &mut TestRng,
) -> Result<(), DecodeError> {
    let mut pass = MappedPass::begin(header, map, paper)?;
    for block in blocks(file, rng) {
        pass.push(&block, paper)?;
    }
    pass.finish(paper)
}

/// The whole way of a file from a server that sends no parts.
fn decode_unknown(
    file: &[u8],
    available: u64,
    paper: &mut Paper,
    rng: &mut TestRng,
) -> (FileResult, bool) {
    decode_deferred(
        file,
        available,
        super::unmapped_pass::DEFERRED_IN_MEMORY,
        paper,
        rng,
    )
}

/// The same with so much memory for what has no place yet.
fn decode_deferred(
    file: &[u8],
    available: u64,
    deferred: usize,
    paper: &mut Paper,
    rng: &mut TestRng,
) -> (FileResult, bool) {
    let needs_tables = Arc::new(AtomicBool::new(false));
    let head = &file[..file.len().min(1 << 12)];
    let header = match Header::parse(head, None, available) {
        Ok(header) => header,
        Err(refusal) => return (FileResult::Refused(refusal), false),
    };
    let written: Result<(), DecodeError> = (|| {
        let mut pass =
            UnmappedPass::begin(header, MEMORY, deferred, Arc::clone(&needs_tables), paper)?;
        for block in blocks(file, rng) {
            pass.push(&block, paper)?;
        }
        pass.finish(paper)
    })();
    let result = written.map_or_else(|error| stopped(&error), |()| FileResult::Written);
    (result, needs_tables.load(Ordering::Acquire))
}
