//! The files of an ISO 9660 file system in memory, with the names of Rock Ridge or Joliet: as
//! much of the format as a config drive has.

use thiserror::Error;

use super::{END, JOLIET, PRIMARY, STANDARD, SUPPLEMENTARY};
use crate::read::le_u32;

/// Directories within directories: more than in any config drive.
pub const MAX_DIRECTORY_DEPTH: usize = 16;
/// The unit of all positions, which is the size of a descriptor.
const SECTOR: usize = 2 << 10;
/// Where the descriptors begin, and more of them than any image has.
const FIRST_DESCRIPTOR: usize = 16;
const MAX_DESCRIPTORS: usize = 64;
/// Continuations of one entry's extra fields.
const MAX_CONTINUATIONS: usize = 8;
/// The type bits of a POSIX mode.
const MODE_TYPE: u32 = 0o170_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;

/// What an entry of the tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsoContent<'a> {
    /// A directory. What is in it comes behind it.
    Directory,
    /// The bytes of a file.
    File(&'a [u8]),
    /// A link, a device, a socket or a pipe.
    Other,
}

/// A file, a directory, or something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoEntry<'a> {
    /// Relative to the root, with `/`. Its parts may be any text, also empty or `..`.
    pub path: String,
    /// What it holds.
    pub content: IsoContent<'a>,
}

/// Why the files of a file system cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IsoError {
    /// It is another file system, or its beginning is lost.
    #[error("it has no primary descriptor")]
    NoDescriptor,
    /// A directory holds itself, or two are in the same place.
    #[error("its directories lead back to themselves")]
    Circle,
    /// A file larger than 4 GiB: larger than what is read here.
    #[error("a file is in several pieces")]
    SeveralExtents,
    /// An entry names bytes that it does not have.
    #[error("a file lies outside of it")]
    OutOfBounds,
    /// A name that is not UTF-8, or holds a slash.
    #[error("a file is called {0:?}")]
    Name(String),
    /// Directories in directories in directories.
    #[error("its directories are nested more than {MAX_DIRECTORY_DEPTH} times")]
    TooDeep,
}

/// How names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameForm {
    /// Capitals, with a version at the end.
    Plain,
    /// UTF-16, big endian.
    Joliet,
    /// As POSIX has them, in extra fields; `skip` bytes of those belong to someone else.
    RockRidge { skip: usize },
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
struct DirectoryRecord<'a> {
    start: usize,
    length: usize,
    is_directory: bool,
    is_continued: bool,
    name: &'a [u8],
    extra: &'a [u8],
}

/// Shows `visit` every entry of the tree, a directory before what is in it.
///
/// # Errors
/// It is damaged, or `visit` refused an entry.
pub fn visit_tree<'a, E: From<IsoError>>(
    bytes: &'a [u8],
    visit: impl FnMut(IsoEntry<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let (names, root) = choose(bytes)?;
    let mut reader = TreeReader {
        bytes,
        names,
        left: bytes.len(),
        visit,
    };
    reader.collect(root, "", 0)
}

/// What is read, and what of it is left to read.
struct TreeReader<'a, V> {
    bytes: &'a [u8],
    names: NameForm,
    /// Bytes of directories that may still be read: no two have the same, so all of them have
    /// no more than the whole. Those that lead back to themselves would never end.
    left: usize,
    visit: V,
}

/// The names to use, and the root directory that has them: Rock Ridge is nearest to what was
/// put in, then Joliet.
fn choose(bytes: &[u8]) -> Result<(NameForm, DirectoryRecord<'_>), IsoError> {
    let (mut primary, mut joliet) = (None, None);
    for number in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + MAX_DESCRIPTORS {
        let at = number * SECTOR;
        let Some(descriptor) = bytes.get(at..at + SECTOR) else {
            break;
        };
        if !descriptor[1..].starts_with(STANDARD) {
            break;
        }
        let root = || record(&descriptor[156..190]).map(|(record, _)| record);
        match descriptor[0] {
            PRIMARY if primary.is_none() => primary = root(),
            SUPPLEMENTARY if JOLIET.contains(&&descriptor[88..91]) => joliet = root(),
            END => break,
            _ => {}
        }
    }
    let primary = primary.ok_or(IsoError::NoDescriptor)?;
    if let Some(skip) = rock_ridge(bytes, primary)? {
        return Ok((NameForm::RockRidge { skip }, primary));
    }
    Ok(joliet.map_or((NameForm::Plain, primary), |root| (NameForm::Joliet, root)))
}

/// Whether the root directory says of itself that there are extra fields (`SP`) with POSIX
/// names or modes, and how many bytes of them are someone else's.
fn rock_ridge(bytes: &[u8], root: DirectoryRecord<'_>) -> Result<Option<usize>, IsoError> {
    let Some((own, _)) = record(extent(bytes, root)?) else {
        return Ok(None);
    };
    let is_marked = own.extra.starts_with(b"SP") && own.extra.get(4..6) == Some(&[0xbe, 0xef]);
    let Some(skip) = own.extra.get(6).filter(|_| is_marked) else {
        return Ok(None);
    };
    let mut is_posix = false;
    fields(bytes, own.extra, |name, _| {
        is_posix |= matches!(name, b"PX" | b"NM" | b"RR");
    });
    Ok(Some(usize::from(*skip)).filter(|_| is_posix))
}

impl<'a, V> TreeReader<'a, V> {
    fn collect<E>(
        &mut self,
        directory: DirectoryRecord<'a>,
        above: &str,
        depth: usize,
    ) -> Result<(), E>
    where
        E: From<IsoError>,
        V: FnMut(IsoEntry<'a>) -> Result<(), E>,
    {
        if depth > MAX_DIRECTORY_DEPTH {
            return Err(IsoError::TooDeep.into());
        }
        let entries = extent(self.bytes, directory)?;
        let left = self.left.checked_sub(entries.len());
        self.left = left.ok_or(IsoError::Circle)?;
        let mut at = 0;
        while at < entries.len() {
            let Some((entry, length)) = record(&entries[at..]) else {
                // The rest of a sector is empty, as no entry crosses its end.
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            };
            at += length;
            // The directory itself and the one above.
            if matches!(entry.name, [0 | 1]) {
                continue;
            }
            let found = self.entry(entry, above)?;
            let is_directory = found.content == IsoContent::Directory;
            let path = format!("{}/", found.path);
            (self.visit)(found)?;
            if is_directory {
                self.collect(entry, &path, depth + 1)?;
            }
        }
        Ok(())
    }

    fn entry(&self, entry: DirectoryRecord<'a>, above: &str) -> Result<IsoEntry<'a>, IsoError> {
        let (name, mode) = describe(self.bytes, self.names, entry)?;
        if name.contains('/') {
            return Err(IsoError::Name(name));
        }
        let content = match (entry.is_directory, mode.map(|mode| mode & MODE_TYPE)) {
            (true, None | Some(MODE_DIRECTORY)) => IsoContent::Directory,
            (false, None | Some(MODE_FILE)) if entry.is_continued => {
                return Err(IsoError::SeveralExtents);
            }
            (false, None | Some(MODE_FILE)) => IsoContent::File(extent(self.bytes, entry)?),
            _ => IsoContent::Other,
        };
        Ok(IsoEntry {
            path: format!("{above}{name}"),
            content,
        })
    }
}

/// Name and POSIX mode of an entry.
fn describe(
    bytes: &[u8],
    names: NameForm,
    entry: DirectoryRecord<'_>,
) -> Result<(String, Option<u32>), IsoError> {
    let plain = || {
        let name = String::from_utf8_lossy(entry.name).to_ascii_lowercase();
        let name = name.split(';').next().unwrap_or_default();
        name.strip_suffix('.').unwrap_or(name).to_owned()
    };
    match names {
        NameForm::Plain => Ok((plain(), None)),
        NameForm::Joliet => {
            let units = entry.name.chunks_exact(2);
            let units: Vec<u16> = units
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            let name = String::from_utf16_lossy(&units);
            Ok((name.split(';').next().unwrap_or_default().to_owned(), None))
        }
        NameForm::RockRidge { skip } => {
            let (mut name, mut mode) = (Vec::new(), None);
            let extra = entry.extra.get(skip..).unwrap_or_default();
            fields(bytes, extra, |field, data| match field {
                b"NM" => name.extend_from_slice(data.get(1..).unwrap_or_default()),
                b"PX" => mode = le_u32(data, 0),
                _ => {}
            });
            if name.is_empty() {
                return Ok((plain(), mode));
            }
            let name = String::from_utf8(name).map_err(|error| {
                IsoError::Name(String::from_utf8_lossy(error.as_bytes()).into_owned())
            })?;
            Ok((name, mode))
        }
    }
}

/// Shows every extra field, name and content, also those that are continued elsewhere.
fn fields(bytes: &[u8], extra: &[u8], mut show: impl FnMut(&[u8], &[u8])) {
    let mut area = extra;
    for _ in 0..MAX_CONTINUATIONS {
        let mut next = None;
        while let Some(length) = area.get(2).map(|length| usize::from(*length)) {
            let Some(field) = area.get(..length).filter(|field| field.len() >= 4) else {
                break;
            };
            let (name, data) = (&field[..2], &field[4..]);
            match name {
                b"ST" => break,
                b"CE" => next = continuation(bytes, data),
                _ => show(name, data),
            }
            area = &area[length..];
        }
        match next {
            Some(more) => area = more,
            None => return,
        }
    }
}

fn continuation<'a>(bytes: &'a [u8], data: &[u8]) -> Option<&'a [u8]> {
    let block = usize::try_from(le_u32(data, 0)?).ok()?;
    let offset = usize::try_from(le_u32(data, 8)?).ok()?;
    // Rock Ridge keeps each within one sector. Longer ones would be read for every entry.
    let length = usize::try_from(le_u32(data, 16)?)
        .ok()
        .filter(|length| *length <= SECTOR)?;
    let start = block.checked_mul(SECTOR)?.checked_add(offset)?;
    bytes.get(start..start.checked_add(length)?)
}

/// The entry at the beginning of `bytes`, and its length; `None` unless a whole entry is there.
fn record(bytes: &[u8]) -> Option<(DirectoryRecord<'_>, usize)> {
    let length = usize::from(*bytes.first()?);
    let entry = bytes.get(..length).filter(|entry| entry.len() >= 34)?;
    let name_end = 33 + usize::from(entry[32]);
    let name = entry.get(33..name_end)?;
    // A name of even length is followed by a byte of padding.
    let extra = entry
        .get(name_end + usize::from(entry[32].is_multiple_of(2))..)
        .unwrap_or_default();
    let flags = entry[25];
    Some((
        DirectoryRecord {
            start: usize::try_from(le_u32(entry, 2)?)
                .ok()?
                .checked_mul(SECTOR)?,
            length: usize::try_from(le_u32(entry, 10)?).ok()?,
            is_directory: flags & 2 != 0,
            is_continued: flags & 0x80 != 0,
            name,
            extra,
        },
        length,
    ))
}

fn extent<'a>(bytes: &'a [u8], record: DirectoryRecord<'_>) -> Result<&'a [u8], IsoError> {
    if record.length == 0 {
        return Ok(&[]);
    }
    record
        .start
        .checked_add(record.length)
        .and_then(|end| bytes.get(record.start..end))
        .ok_or(IsoError::OutOfBounds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by genisoimage from the same files: `-J`, neither, and `-r -J`.
    fn samples() -> [Vec<u8>; 3] {
        ironic_fuzz::unpacked("iso9660").try_into().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<IsoEntry<'_>>, IsoError> {
        let mut entries = Vec::new();
        visit_tree(bytes, |entry| {
            entries.push(entry);
            Ok::<_, IsoError>(())
        })?;
        Ok(entries)
    }

    /// Paths and the lengths of files, sorted.
    fn shown(entries: &[IsoEntry<'_>]) -> Vec<(String, Option<usize>)> {
        let mut shown: Vec<_> = entries
            .iter()
            .map(|entry| {
                let length = match entry.content {
                    IsoContent::File(content) => Some(content.len()),
                    IsoContent::Directory | IsoContent::Other => None,
                };
                (entry.path.clone(), length)
            })
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn names_come_from_the_best_source() {
        let long = "a rather long name, with blanks and such, that needs all of an extra field and more.txt";
        let files = |extra: Vec<(&str, Option<usize>)>| {
            let mut files = vec![
                ("ec2", None),
                ("openstack", None),
                ("openstack/content", None),
                ("openstack/content/0000", Some(0)),
                ("openstack/latest", None),
            ];
            files.extend(extra);
            files.sort();
            let files = files.into_iter();
            files
                .map(|(path, length)| (path.to_owned(), length))
                .collect::<Vec<_>>()
        };
        let latest = |name: &str| format!("openstack/latest/{name}");
        let named = files(vec![
            (&latest("meta_data.json"), Some(14)),
            (&latest("user_data"), Some(70_000)),
            (&latest(long), Some(4)),
        ]);
        let [joliet, plain, rock_ridge] = samples();
        let entries = read(&rock_ridge).unwrap();
        assert_eq!(shown(&entries), named);
        let meta = entries.iter().find(|entry| entry.path.ends_with(".json"));
        assert_eq!(
            meta.unwrap().content,
            IsoContent::File(b"{\"uuid\": \"1\"}\n")
        );
        // Joliet has names of 64 characters, the plain ones are as they are.
        let names: Vec<_> = shown(&read(&joliet).unwrap())
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert!(names.contains(&latest("meta_data.json")), "{names:?}");
        let entries = read(&plain).unwrap();
        assert_eq!(entries.len(), 8);
        let short = "openstac/latest/meta_dat.jso".to_owned();
        assert!(shown(&entries).contains(&(short, Some(14))));
    }

    #[test]
    fn a_directory_comes_before_what_is_in_it() {
        for sample in samples() {
            let mut directories = vec![String::new()];
            for entry in read(&sample).unwrap() {
                let above = entry.path.rsplit_once('/').map_or("", |(above, _)| above);
                assert!(directories.iter().any(|path| path == above), "{entry:?}");
                if entry.content == IsoContent::Directory {
                    directories.push(entry.path);
                }
            }
        }
    }

    #[test]
    fn a_refused_entry_ends_the_walk() {
        #[derive(Debug, PartialEq)]
        struct Refused;
        impl From<IsoError> for Refused {
            fn from(error: IsoError) -> Self {
                panic!("{error}");
            }
        }
        let [_, _, rock_ridge] = samples();
        let mut seen = 0;
        let walked = visit_tree(&rock_ridge, |_| {
            seen += 1;
            Err(Refused)
        });
        assert_eq!((walked, seen), (Err(Refused), 1));
    }

    #[test]
    fn other_file_systems_are_refused() {
        let [_, _, rock_ridge] = samples();
        assert_eq!(read(&[]), Err(IsoError::NoDescriptor));
        assert_eq!(read(&vec![0; 100_000]), Err(IsoError::NoDescriptor));
        assert_eq!(read(&rock_ridge[..40_000]), Err(IsoError::OutOfBounds));
    }

    #[test]
    fn damaged_input() {
        let [joliet, _, rock_ridge] = samples();
        ironic_fuzz::run_on("iso9660", &[joliet, rock_ridge], |bytes| {
            let _ = read(bytes);
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Where the descriptors and directories are.
        #[test]
        fn damaged_directories_are_survived(
            marks in proptest::collection::vec((32_768..70_000_usize, any::<u8>()), 1..40),
            is_joliet in any::<bool>(),
        ) {
            let [joliet, _, rock_ridge] = samples();
            let mut bytes = if is_joliet { joliet } else { rock_ridge };
            for (at, byte) in marks {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let _ = read(&bytes);
        }
    }
}
