//! Compressed files around a raw image.
//!
//! The output goes straight into the writer's memory and is bounded by the disk, so that a
//! small file that unpacks to terabytes ends with an error. The beginning is unpacked before
//! the disk is touched ([`beginning`]), because what is inside must not be another container.

use std::fmt;
use std::sync::Arc;

use super::{Decode, bzip2, gzip, xz, zstd};
use crate::image::block::{BLOCK, Block};
use crate::image::decode::format::Format;
use crate::image::write::{WriteError, Writer};

/// At least so much of a larger image must be seen before the disk is touched: every format
/// of [`crate::image::decode::format`] shows itself in it.
const ENOUGH: usize = 64 << 10;

/// What one call of a decompressor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes of the input that were used.
    pub(super) consumed: usize,
    /// Bytes of the output that were filled.
    pub(super) produced: usize,
    /// The member ended here; what follows is another one.
    pub(super) is_end: bool,
}

impl Step {
    /// The step between two readings of the totals of input and output.
    pub(super) fn since(before: (u64, u64), now: (u64, u64), is_end: bool) -> Self {
        // No more than the slices in memory that the step was given.
        let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(0);
        Self {
            consumed: length(before.0, now.0),
            produced: length(before.1, now.1),
            is_end,
        }
    }
}

/// What comes after the end of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    /// Another member.
    Member,
    /// Bytes that are not compressed data; neither they nor anything after them counts.
    Trailer,
    /// More bytes are needed to tell.
    Undecided,
}

/// Bytes after the compressed data that were ignored, as the format's own tool ignores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) struct Trailer {
    format: Format,
    bytes: u64,
}

impl fmt::Display for Trailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes after the {} data were ignored",
            self.bytes,
            self.format.name()
        )
    }
}

/// One member of a compressed file: many tools write several and concatenate them.
pub(super) trait Member: Send + Sized {
    /// Begins a member.
    fn begin() -> Result<Self, String>;

    /// Begins the member after this one, which ended.
    fn follow(self) -> Result<Self, String> {
        Self::begin()
    }

    /// Takes some input and fills some output. The error says what is wrong with the file,
    /// or what to do about it.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String>;

    /// What stands after a member that ended, by the first bytes there and the one after
    /// them: as the format's own tool decides.
    fn following(_first: &[u8], _next: u8) -> Following {
        Following::Member
    }

    /// How many bytes at the beginning of `input` only fill the room between members.
    fn padding(_input: &[u8]) -> usize {
        0
    }

    /// Zeros after the last member deserve no warning.
    const ZEROS_ARE_PADDING: bool = false;

    /// Padding comes in units of so many bytes.
    const PADDING_UNIT: u64 = 1;
}

/// A compressed file, step by step.
trait Expand: Send {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String>;

    /// Whether the file may end here, after at least one member.
    fn is_complete(&self) -> bool;

    /// How many bytes after the last member were ignored.
    fn ignored(&self) -> u64;
}

struct Members<M> {
    current: Option<M>,
    /// The last member, which ended.
    ended: Option<M>,
    padding: u64,
    /// The first bytes after the last member, until they tell what they are.
    ahead: Vec<u8>,
    trailer: Option<Ignored>,
}

/// The bytes of a trailer so far.
#[derive(Debug, Clone, Copy)]
struct Ignored {
    bytes: u64,
    is_zero: bool,
}

impl<M: Member> Members<M> {
    fn new() -> Self {
        Self {
            current: None,
            ended: None,
            padding: 0,
            ahead: Vec::new(),
            trailer: None,
        }
    }

    fn is_padded(&self) -> bool {
        self.padding.is_multiple_of(M::PADDING_UNIT)
    }

    /// Consumes what stands between two members, and begins the next one if there is one.
    /// Answers how many bytes were used.
    fn advance(&mut self, input: &[u8]) -> Result<usize, String> {
        let mut consumed = 0;
        if self.ended.is_some() && self.ahead.is_empty() {
            consumed = M::padding(input);
            self.padding += consumed as u64;
        }
        while self.trailer.is_none() && self.current.is_none() && consumed < input.len() {
            if !self.is_padded() {
                return Err("padding of a wrong length".to_owned());
            }
            let following = match &self.ended {
                None => Following::Member,
                Some(_) => M::following(&self.ahead, input[consumed]),
            };
            match following {
                Following::Member => {
                    self.padding = 0;
                    self.current = Some(match self.ended.take() {
                        None => M::begin()?,
                        Some(ended) => ended.follow()?,
                    });
                }
                Following::Undecided => {
                    self.ahead.push(input[consumed]);
                    consumed += 1;
                }
                Following::Trailer => {
                    let ahead = std::mem::take(&mut self.ahead);
                    self.trailer = Some(Ignored::default().and(&ahead));
                }
            }
        }
        if let Some(trailer) = self.trailer {
            self.trailer = Some(trailer.and(&input[consumed..]));
            consumed = input.len();
        }
        Ok(consumed)
    }
}

impl Default for Ignored {
    fn default() -> Self {
        Self {
            bytes: 0,
            is_zero: true,
        }
    }
}

impl Ignored {
    fn and(self, more: &[u8]) -> Self {
        Self {
            bytes: self.bytes + more.len() as u64,
            is_zero: self.is_zero && more.iter().all(|byte| *byte == 0),
        }
    }
}

impl<M: Member> Expand for Members<M> {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        let mut consumed = 0;
        if self.current.is_none() {
            consumed = self.advance(input)?;
        }
        let Some(member) = &mut self.current else {
            return Ok(Step {
                consumed,
                produced: 0,
                is_end: false,
            });
        };
        // The bytes that told that a member follows are its first.
        if !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            if member.step(&ahead, &mut [])?.consumed != ahead.len() {
                return Err("the decompressor stands still".to_owned());
            }
        }
        let mut step = member.step(&input[consumed..], output)?;
        step.consumed += consumed;
        if step.is_end {
            self.ended = self.current.take();
        }
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.ended.is_some() && self.is_padded() && self.ahead.is_empty()
    }

    fn ignored(&self) -> u64 {
        self.trailer
            .filter(|trailer| !(trailer.is_zero && M::ZEROS_ARE_PADDING))
            .map_or(0, |trailer| trailer.bytes)
    }
}

/// A decompressor; `None` for what is not compressed.
fn expander(format: Format) -> Option<Box<dyn Expand>> {
    Some(match format {
        Format::Gzip => Box::new(Members::<gzip::Gzip>::new()),
        Format::Zstd => Box::new(Members::<zstd::Zstd>::new()),
        Format::Xz => Box::new(Members::<xz::Xz>::new()),
        Format::Bzip2 => Box::new(Members::<bzip2::Bzip2>::new()),
        _ => return None,
    })
}

/// The stage for a compressed file.
pub(super) struct Expander {
    format: Format,
    expand: Box<dyn Expand>,
    /// Bytes of the file that were used.
    consumed: u64,
}

impl Expander {
    /// `None` for what is not compressed.
    pub(super) fn new(format: Format) -> Option<Self> {
        Some(Self {
            format,
            expand: expander(format)?,
            consumed: 0,
        })
    }

    fn malformed(&self, what: impl Into<String>) -> WriteError {
        WriteError::Malformed {
            format: self.format.name(),
            what: what.into(),
            offset: self.consumed,
        }
    }

    /// One step. `false`: there is nothing more to be had from this input.
    fn step(&mut self, input: &mut &[u8], output: &mut [u8]) -> Result<(bool, usize), WriteError> {
        let step = self
            .expand
            .step(input, output)
            .map_err(|reason| self.malformed(reason))?;
        self.consumed += step.consumed as u64;
        *input = &input[step.consumed..];
        let is_stuck = step.consumed == 0 && step.produced == 0 && !step.is_end;
        if is_stuck && !input.is_empty() {
            return Err(self.malformed("the decompressor stands still"));
        }
        // A full output may mean that there is more of it.
        let goes_on = !is_stuck && (!input.is_empty() || step.produced == output.len());
        Ok((goes_on, step.produced))
    }

    fn check_complete(&self) -> Result<(), WriteError> {
        if self.expand.is_complete() {
            Ok(())
        } else {
            Err(self.malformed("the file ends before the compressed data does"))
        }
    }
}

impl Decode for Expander {
    fn push(&mut self, block: Arc<Block>, writer: &mut Writer) -> Result<(), WriteError> {
        let mut input = &block[..];
        loop {
            let (goes_on, produced) = self.step(&mut input, writer.room()?)?;
            writer.fill(produced)?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, _: &mut Writer) -> Result<Option<Trailer>, WriteError> {
        self.check_complete()?;
        let (format, bytes) = (self.format, self.expand.ignored());
        Ok((bytes > 0).then_some(Trailer { format, bytes }))
    }
}

/// Unpacks the beginning of a compressed image from the beginning of its file, up to a
/// megabyte. `is_all` tells that the file has no more bytes than these.
///
/// # Errors
/// The file is malformed, needs too much memory, or shows too little of what is inside.
pub(in crate::image) fn beginning(
    format: Format,
    head: &[u8],
    is_all: bool,
) -> Result<Vec<u8>, WriteError> {
    let Some(mut expander) = Expander::new(format) else {
        return Ok(head.to_vec());
    };
    let mut inside = vec![0; BLOCK];
    let (mut length, mut input) = (0, head);
    while length < inside.len() {
        let (goes_on, produced) = expander.step(&mut input, &mut inside[length..])?;
        length += produced;
        if !goes_on {
            break;
        }
    }
    inside.truncate(length);
    if is_all && length < BLOCK {
        expander.check_complete()?;
    } else if length < ENOUGH {
        return Err(expander.malformed(format!(
            "the first {} bytes of the file hold only {length} bytes of the image",
            head.len()
        )));
    }
    Ok(inside)
}

/// The length that a compressed image announces in its head, if it does.
pub(in crate::image) fn announced_length(format: Format, head: &[u8]) -> Option<u64> {
    match format {
        Format::Zstd => zstd::content_size(head),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use liblzma::stream::Stream;
    use proptest::prelude::*;

    use super::*;
    use crate::image::checksum::verified;
    use crate::image::progress::Written;
    use crate::image::write::Extent;
    use crate::system::Disks;
    use crate::system::disk::LinuxDisks;

    const MIB: usize = 1 << 20;
    const FORMATS: [Format; 4] = [Format::Gzip, Format::Zstd, Format::Xz, Format::Bzip2];

    fn compress(format: Format, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match format {
            Format::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                out = encoder.finish().unwrap();
            }
            Format::Zstd => {
                let mut encoder = ::zstd::Encoder::new(out, 1).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(bytes).unwrap();
                out = encoder.finish().unwrap();
            }
            Format::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(out, 0);
                encoder.write_all(bytes).unwrap();
                out = encoder.finish().unwrap();
            }
            _ => {
                let mut encoder = ::bzip2::write::BzEncoder::new(out, ::bzip2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                out = encoder.finish().unwrap();
            }
        }
        out
    }

    /// Half of it packs well, half does not.
    fn content(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut content: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .take(length / 2)
        .collect();
        content.extend(std::iter::repeat_n(*b"text", length).flatten());
        content.truncate(length);
        content
    }

    fn expand(format: Format, file: &[u8], disk: &Path) -> Result<(), WriteError> {
        let disk = LinuxDisks.open(disk).unwrap();
        let extent = Extent::whole(disk.as_ref());
        let mut writer = Writer::begin(disk, extent, Written::default())?;
        let mut expander = Expander::new(format).unwrap();
        for bytes in file.chunks(BLOCK) {
            expander.push(Block::of(bytes), &mut writer)?;
        }
        let _ = expander.finish(&mut writer)?;
        writer.finish(verified())?.release()
    }

    fn disk(size: usize) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size as u64).unwrap();
        file
    }

    #[test]
    fn what_was_packed_in_one_or_several_members_is_unpacked() {
        for format in FORMATS {
            let disk = disk(8 * MIB);
            let content = content(5 * MIB + 512);
            let one = compress(format, &content);
            let (first, second) = content.split_at(2 * MIB + 77);
            let several = [
                compress(format, first),
                compress(format, &[]),
                compress(format, second),
            ]
            .concat();
            for file in [one, several] {
                std::fs::write(disk.path(), vec![0xAA; 8 * MIB]).unwrap();
                expand(format, &file, disk.path()).unwrap();
                let bytes = std::fs::read(disk.path()).unwrap();
                assert!(bytes[..content.len()] == content, "{}", format.name());
                let inside = beginning(format, &file[..file.len().min(BLOCK)], false).unwrap();
                assert!(inside == content[..inside.len()] && inside.len() >= ENOUGH);
            }
        }
    }

    #[test]
    fn what_is_cut_off_broken_or_followed_by_what_its_tool_refuses_is_refused() {
        let content = content(2 * MIB);
        for format in FORMATS {
            let disk = disk(4 * MIB);
            let whole = compress(format, &content);
            let length = whole.len();
            let mut files: Vec<Vec<u8>> = [0, 1, 7, length / 2, length - 9, length - 1]
                .map(|cut| whole[..cut].to_vec())
                .into();
            // What `gzip` and `bzip2` refuse; they ignore other bytes.
            files.push([&whole[..], &whole[..20]].concat());
            if matches!(format, Format::Xz | Format::Zstd) {
                files.push([&whole[..], b"rubbish, and more of it"].concat());
                files.push([&whole[..], &[0]].concat());
            } else {
                files.push([&whole[..], &whole[..1]].concat());
            }
            // Of zstd the digest of the file finds it: its check sum is not computed.
            let changed: &[usize] = match format {
                Format::Zstd => &[],
                _ => &[length / 3, length / 2],
            };
            for &at in changed {
                let mut broken = whole.clone();
                broken[at] ^= 0x10;
                files.push(broken);
            }
            for (index, file) in files.iter().enumerate() {
                let refused = expand(format, file, disk.path());
                assert!(
                    matches!(&refused, Err(WriteError::Malformed { format: name, offset, .. })
                        if *name == format.name() && *offset <= file.len() as u64),
                    "{} file {index}: {refused:?}",
                    format.name()
                );
                let bytes = std::fs::read(disk.path()).unwrap();
                assert!(bytes[..MIB].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn the_fill_bytes_that_formats_allow_are_no_garbage() {
        let content = content(100_000);
        let disk = disk(MIB);
        let one = compress(Format::Xz, &content);
        let file = [&one[..], &[0; 8], &one, &[0; 4]].concat();
        expand(Format::Xz, &file, disk.path()).unwrap();
        let skipped = [
            &0x184D_2A50_u32.to_le_bytes()[..],
            &4_u32.to_le_bytes(),
            b"skip",
        ]
        .concat();
        let one = compress(Format::Zstd, &content);
        let file = [&one[..], &skipped, &one, &skipped].concat();
        expand(Format::Zstd, &file, disk.path()).unwrap();
        let bytes = std::fs::read(disk.path()).unwrap();
        assert!(bytes[..200_000] == [&content[..], &content].concat());
    }

    #[test]
    fn ignored_bytes_are_counted_also_across_blocks() {
        let content = content(100_000);
        for (format, tail, ignored) in [
            (Format::Gzip, vec![0; 3 * BLOCK], None),
            (Format::Gzip, [&[0; 700][..], b"x"].concat(), Some(701)),
            (Format::Gzip, b"FWx0 and metadata".to_vec(), Some(17)),
            (Format::Gzip, vec![0x1F, 0x8C, 1], Some(3)),
            (
                Format::Bzip2,
                vec![0; 2 * BLOCK + 1],
                Some(2 * BLOCK as u64 + 1),
            ),
            (Format::Bzip2, b"BZh0".to_vec(), Some(4)),
            (Format::Xz, vec![0; 512], None),
        ] {
            let file = [compress(format, &content), tail.clone()].concat();
            for length in [BLOCK, 1, 2, 511] {
                if file.len() / length > 200_000 {
                    continue;
                }
                let disk = disk(MIB);
                let disk = LinuxDisks.open(disk.path()).unwrap();
                let extent = Extent::whole(disk.as_ref());
                let mut writer = Writer::begin(disk, extent, Written::default()).unwrap();
                let mut expander = Expander::new(format).unwrap();
                for bytes in file.chunks(length) {
                    expander.push(Block::of(bytes), &mut writer).unwrap();
                }
                let trailer = expander.finish(&mut writer).unwrap();
                assert_eq!(
                    trailer.map(|trailer| trailer.bytes),
                    ignored,
                    "{}",
                    format.name()
                );
            }
        }
    }

    #[test]
    fn a_bomb_ends_at_the_end_of_the_disk() {
        for format in FORMATS {
            let disk = disk(3 * MIB);
            let bomb = compress(format, &vec![0; 64 * MIB]);
            assert!(bomb.len() < MIB);
            let refused = expand(format, &bomb, disk.path()).unwrap_err();
            assert!(
                matches!(refused, WriteError::TooLarge { available, .. } if available == 3 << 20),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_needs_too_much_memory_is_refused_at_its_head_with_a_way_out() {
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&content(2 * MIB)).unwrap();
        let zstd = encoder.finish().unwrap();
        let options = {
            let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
            options.dict_size(128 << 20);
            options
        };
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream = Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(&content(1000)).unwrap();
        let xz = encoder.finish().unwrap();
        for (format, file, way_out) in [
            (Format::Zstd, zstd, "without --long"),
            (Format::Xz, xz, "xz -9 or less"),
        ] {
            let head = &file[..file.len().min(BLOCK)];
            let refused = beginning(format, head, false).unwrap_err().to_string();
            assert!(refused.contains(way_out), "{refused}");
        }
        // The largest of the usual.
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 9);
        xz.write_all(&content(1000)).unwrap();
        let inside = beginning(Format::Xz, &xz.finish().unwrap(), true).unwrap();
        assert_eq!(inside.len(), 1000);
    }

    #[test]
    fn a_file_that_hides_its_content_behind_its_head_is_refused() {
        let skipped = {
            let length = 2_u32 << 20;
            let mut frame = 0x184D_2A50_u32.to_le_bytes().to_vec();
            frame.extend(length.to_le_bytes());
            frame.resize(8 + length as usize, 0);
            frame
        };
        let file = [skipped, compress(Format::Zstd, &content(MIB))].concat();
        let refused = beginning(Format::Zstd, &file[..BLOCK], false).unwrap_err();
        assert!(
            refused.to_string().contains("hold only 0 bytes"),
            "{refused}"
        );
    }

    #[test]
    fn zstd_tells_its_length() {
        let known = ::zstd::bulk::compress(&content(1000), 1).unwrap();
        assert_eq!(announced_length(Format::Zstd, &known), Some(1000));
        let unknown = compress(Format::Zstd, &content(1000));
        assert_eq!(announced_length(Format::Zstd, &unknown), None);
        assert_eq!(announced_length(Format::Gzip, &unknown), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn mutated_files_never_write_beyond_the_disk_nor_hang(
            format in proptest::sample::select(FORMATS.to_vec()),
            changes in proptest::collection::vec((0..60_000_usize, 0..=255_u8), 1..6),
        ) {
            let mut file = compress(format, &content(100_000));
            for (at, byte) in changes {
                let length = file.len();
                file[at % length] = byte;
            }
            let disk = disk(MIB);
            // Whatever comes of it, it ends.
            let _ = expand(format, &file, disk.path());
            prop_assert_eq!(std::fs::metadata(disk.path()).unwrap().len(), MIB as u64);
        }
    }

    #[test]
    fn foreign_bytes() {
        let disk = disk(MIB);
        crate::fuzz::run("compressed", |bytes| {
            for format in FORMATS {
                let disk = LinuxDisks.open(disk.path()).unwrap();
                let extent = Extent::whole(disk.as_ref());
                let mut writer = Writer::begin(disk, extent, Written::default()).unwrap();
                let mut expander = Expander::new(format).unwrap();
                let pushed = expander.push(Block::of(bytes), &mut writer);
                let _ = pushed.and_then(|()| expander.finish(&mut writer).map(drop));
            }
        });
    }
}
