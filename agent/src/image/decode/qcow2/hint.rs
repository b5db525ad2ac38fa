//! Asking for the tables before the download begins.
//!
//! What is learnt here is a hint and no more: the digests of all tables are kept, and the
//! download, which the checksum judges, must repeat them ([`super::mapped_pass`]).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::error::{Defect, Qcow2Error, Structure};
use super::header::Header;
use super::map::{ClusterMap, TableExtent};
use super::tables::{level_one, level_two};
use crate::image::source::{ImageStream, PartError};

/// The L1 table is asked for in pieces of this, and L2 tables are asked for together up to it.
const PIECE: u64 = 1 << 20;
/// Fewer bytes than this between two tables are cheaper to fetch than a request.
const NEAR: u64 = 128 << 10;

/// The file, where it can be read at any place.
pub(in crate::image) trait ReadRanges {
    /// How many parts may be asked for at once.
    const AT_ONCE: usize;

    /// Exactly `length` bytes from `first` on, or why the server sends no parts.
    fn part(
        &self,
        first: u64,
        length: u64,
    ) -> impl Future<Output = Result<Bytes, PartError>> + Send;
}

/// The file at a server, which may send parts of it.
pub(in crate::image) struct RangedSource<'a> {
    source: &'a ImageStream<'a>,
    /// Bytes of all parts that have come.
    read: &'a AtomicU64,
}

impl<'a> RangedSource<'a> {
    /// The bytes of each part that has come are added to `read`.
    pub(in crate::image) fn new(source: &'a ImageStream<'a>, read: &'a AtomicU64) -> Self {
        Self { source, read }
    }
}

impl ReadRanges for RangedSource<'_> {
    /// What a server does not mind from one client.
    const AT_ONCE: usize = 4;

    async fn part(&self, first: u64, length: u64) -> Result<Bytes, PartError> {
        let bytes = self.source.part(first, length).await?;
        self.read.fetch_add(length, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// Why the tables are not known.
#[derive(Debug)]
pub(super) enum LearnError {
    Unranged(PartError),
    Refused(Qcow2Error),
}

impl From<PartError> for LearnError {
    fn from(error: PartError) -> Self {
        Self::Unranged(error)
    }
}

impl From<Qcow2Error> for LearnError {
    fn from(refusal: Qcow2Error) -> Self {
        Self::Refused(refusal)
    }
}

/// The file with its beginning, which is here already.
struct FileWithHead<'a, P> {
    head: &'a [u8],
    parts: &'a P,
}

impl<P: ReadRanges> FileWithHead<'_, P> {
    async fn part(&self, first: u64, length: u64) -> Result<Bytes, LearnError> {
        let range = usize::try_from(first)
            .ok()
            .zip(usize::try_from(first + length).ok());
        if let Some(known) = range.and_then(|(start, end)| self.head.get(start..end)) {
            return Ok(Bytes::copy_from_slice(known));
        }
        let bytes = self.parts.part(first, length).await?;
        if bytes.len() as u64 == length {
            Ok(bytes)
        } else {
            Err(Defect::EndsEarly(first + bytes.len() as u64)
                .at(first)
                .into())
        }
    }
}

/// Reads all tables and makes the map of the image, of at most `limit` bytes.
pub(super) async fn learn<P: ReadRanges>(
    header: &Header,
    head: &[u8],
    parts: &P,
    limit: usize,
) -> Result<ClusterMap, LearnError> {
    let file = FileWithHead { head, parts };
    let mut map = ClusterMap::new(limit);
    let level_one = learn_level_one(header, &file, &mut map).await?;
    // In the order of the file, and each once.
    map.sort()?;
    let with_bounds = |group: Range<usize>| {
        let (first, end) = (
            map.tables[group.start].host,
            map.tables[group.end - 1].end(),
        );
        (group, first, end)
    };
    let groups: Vec<_> = groups(&map.tables).map(with_bounds).collect();
    let asked = groups.into_iter().map(|(group, first, end)| {
        let file = &file;
        async move { (group, first, file.part(first, end - first).await) }
    });
    let mut answers = stream::iter(asked).buffered(P::AT_ONCE);
    while let Some((group, first, bytes)) = answers.next().await {
        let bytes = bytes?;
        for index in group {
            let table = &mut map.tables[index];
            let (host, index) = (table.host, table.index);
            // Distances within what is in memory.
            let start = usize::try_from(host - first).unwrap_or(usize::MAX);
            let bytes = &bytes[start..start + header.cluster_in_memory()];
            table.digest = Sha256::digest(bytes).into();
            level_two(header, bytes, host, index, &mut map)?;
        }
    }
    drop(answers);
    map.push_table(level_one, header.level_one_offset)?;
    map.sort()?;
    Ok(map)
}

async fn learn_level_one<P: ReadRanges>(
    header: &Header,
    file: &FileWithHead<'_, P>,
    map: &mut ClusterMap,
) -> Result<TableExtent, LearnError> {
    let length = header.level_one_entries * 8;
    let mut hasher = Sha256::new();
    let mut done = 0;
    while done < length {
        let count = PIECE.min(length - done);
        let bytes = file.part(header.level_one_offset + done, count).await?;
        hasher.update(&bytes);
        level_one(header, &bytes, done / 8, map)?;
        done += count;
    }
    Ok(TableExtent {
        part: Structure::LevelOne,
        host: header.level_one_offset,
        length,
        index: 0,
        digest: hasher.finalize().into(),
    })
}

/// The tables that are worth one request each time.
fn groups(tables: &[TableExtent]) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        let first = tables.get(start)?.host;
        next += 1;
        while next < tables.len()
            && tables[next].host - tables[next - 1].end() <= NEAR
            && tables[next].end() - first <= PIECE
        {
            next += 1;
        }
        Some(start..next)
    })
}
