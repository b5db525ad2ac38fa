//! Reading CD file systems (ECMA-119, with the names of Rock Ridge or Joliet): as much as
//! there is in a config drive. Bytes in, files out; the bytes may be anything.

use crate::disk::filesystem::copy_tree::{MOST_NESTED, Tree, TreeError};

/// The unit of all positions.
const SECTOR: usize = 2048;
/// Where the descriptors begin, and more of them than any image has.
const FIRST_DESCRIPTOR: usize = 16;
const MOST_DESCRIPTORS: usize = 64;
/// Continuations of one entry's extra fields.
const MOST_CONTINUATIONS: usize = 8;
/// Kinds of descriptors.
const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const TERMINATOR: u8 = 255;
/// What a Joliet descriptor says about its names, at three levels.
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];
/// The type bits of a POSIX mode.
const MODE_TYPE: u32 = 0o170_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;

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

/// The files of a file system.
///
/// # Errors
/// It is damaged, or too much.
pub fn read(bytes: &[u8]) -> Result<Tree<'_>, TreeError> {
    let (names, root) = choose(bytes)?;
    let mut reader = IsoReader {
        bytes,
        names,
        left: bytes.len(),
        tree: Tree::default(),
    };
    reader.collect(root, "", 0)?;
    Ok(reader.tree)
}

/// What is read, and what of it is left to read.
struct IsoReader<'a> {
    bytes: &'a [u8],
    names: NameForm,
    /// Bytes of directories that may still be read: no two have the same, so all of them have
    /// no more than the whole. Those that lead back to themselves would never end.
    left: usize,
    tree: Tree<'a>,
}

/// The names to use, and the root directory that has them: Rock Ridge is nearest to what was
/// put in, then Joliet.
fn choose(bytes: &[u8]) -> Result<(NameForm, DirectoryRecord<'_>), TreeError> {
    let (mut primary, mut joliet) = (None, None);
    for number in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + MOST_DESCRIPTORS {
        let at = number * SECTOR;
        let Some(descriptor) = bytes.get(at..at + SECTOR) else {
            break;
        };
        if &descriptor[1..6] != b"CD001" {
            break;
        }
        let root = || record(&descriptor[156..190]).map(|(record, _)| record);
        match descriptor[0] {
            PRIMARY if primary.is_none() => primary = root(),
            SUPPLEMENTARY if JOLIET.contains(&&descriptor[88..91]) => joliet = root(),
            TERMINATOR => break,
            _ => {}
        }
    }
    let primary = primary.ok_or_else(|| damaged("there is no primary descriptor"))?;
    if let Some(skip) = rock_ridge(bytes, primary)? {
        return Ok((NameForm::RockRidge { skip }, primary));
    }
    Ok(joliet.map_or((NameForm::Plain, primary), |root| (NameForm::Joliet, root)))
}

/// Whether the root directory says of itself that there are extra fields (`SP`) with POSIX
/// names or modes, and how many bytes of them are someone else's.
fn rock_ridge(bytes: &[u8], root: DirectoryRecord<'_>) -> Result<Option<usize>, TreeError> {
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

impl<'a> IsoReader<'a> {
    fn collect(
        &mut self,
        directory: DirectoryRecord<'a>,
        above: &str,
        depth: usize,
    ) -> Result<(), TreeError> {
        if depth > MOST_NESTED {
            return Err(TreeError::TooDeep(MOST_NESTED));
        }
        let entries = extent(self.bytes, directory)?;
        let left = self.left.checked_sub(entries.len());
        self.left = left.ok_or_else(|| damaged("its directories lead back to themselves"))?;
        let mut at = 0;
        while at < entries.len() {
            let Some((entry, length)) = record(&entries[at..]) else {
                // The rest of a sector is empty, as no entry crosses its end.
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            };
            at += length;
            // The directory itself and the one above.
            if !matches!(entry.name, [0 | 1]) {
                self.add(entry, above, depth)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        entry: DirectoryRecord<'a>,
        above: &str,
        depth: usize,
    ) -> Result<(), TreeError> {
        let (name, mode) = describe(self.bytes, self.names, entry)?;
        let path = format!("{above}{name}");
        if name.contains('/') {
            return Err(TreeError::Name(name));
        }
        match (entry.is_directory, mode.map(|mode| mode & MODE_TYPE)) {
            (true, None | Some(MODE_DIRECTORY)) => {
                self.tree.directory(path.clone())?;
                self.collect(entry, &format!("{path}/"), depth + 1)
            }
            (false, None | Some(MODE_FILE)) => {
                if entry.is_continued {
                    return Err(damaged("a file is in several pieces"));
                }
                self.tree.file(path, extent(self.bytes, entry)?)
            }
            _ => Err(TreeError::Kind(path)),
        }
    }
}

/// Name and POSIX mode of an entry.
fn describe(
    bytes: &[u8],
    names: NameForm,
    entry: DirectoryRecord<'_>,
) -> Result<(String, Option<u32>), TreeError> {
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
                b"PX" => mode = u32_at(data, 0),
                _ => {}
            });
            if name.is_empty() {
                return Ok((plain(), mode));
            }
            let name = String::from_utf8(name).map_err(|error| {
                TreeError::Name(String::from_utf8_lossy(error.as_bytes()).into_owned())
            })?;
            Ok((name, mode))
        }
    }
}

/// Shows every extra field, name and content, also those that are continued elsewhere.
fn fields(bytes: &[u8], extra: &[u8], mut show: impl FnMut(&[u8], &[u8])) {
    let mut area = extra;
    for _ in 0..MOST_CONTINUATIONS {
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
    let block = usize::try_from(u32_at(data, 0)?).ok()?;
    let offset = usize::try_from(u32_at(data, 8)?).ok()?;
    // Rock Ridge keeps each within one sector. Longer ones would be read for every entry.
    let length = usize::try_from(u32_at(data, 16)?)
        .ok()
        .filter(|length| *length <= SECTOR)?;
    let start = block.checked_mul(SECTOR)?.checked_add(offset)?;
    bytes.get(start..start.checked_add(length)?)
}

/// The entry at the beginning of `bytes`, and its length; `None` where there is none.
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
            start: usize::try_from(u32_at(entry, 2)?)
                .ok()?
                .checked_mul(SECTOR)?,
            length: usize::try_from(u32_at(entry, 10)?).ok()?,
            is_directory: flags & 2 != 0,
            is_continued: flags & 0x80 != 0,
            name,
            extra,
        },
        length,
    ))
}

fn extent<'a>(bytes: &'a [u8], record: DirectoryRecord<'_>) -> Result<&'a [u8], TreeError> {
    if record.length == 0 {
        return Ok(&[]);
    }
    record
        .start
        .checked_add(record.length)
        .and_then(|end| bytes.get(record.start..end))
        .ok_or_else(|| damaged("a file lies outside of it"))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

fn damaged(what: &str) -> TreeError {
    TreeError::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by genisoimage, with the files of [`files`]: `-r -J`, `-J` and neither.
    const ROCK_RIDGE: &[u8] = include_bytes!("../../../samples/iso/rock-ridge.iso.gz");
    const JOLIET_ONLY: &[u8] = include_bytes!("../../../samples/iso/joliet.iso.gz");
    const PLAIN_ONLY: &[u8] = include_bytes!("../../../samples/iso/plain.iso.gz");

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut bytes).unwrap();
        bytes
    }

    fn shown(tree: &Tree<'_>) -> Vec<(String, Option<usize>)> {
        let mut shown: Vec<_> = tree
            .files
            .iter()
            .map(|file| {
                let length = file.content.as_ref().map(|content| content.len());
                (file.path.clone(), length)
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
        let rock_ridge = unpacked(ROCK_RIDGE);
        let tree = read(&rock_ridge).unwrap();
        assert_eq!(shown(&tree), named);
        let meta = tree.files.iter().find(|file| file.path.ends_with(".json"));
        assert_eq!(
            meta.unwrap().content.as_deref(),
            Some(&b"{\"uuid\": \"1\"}\n"[..])
        );
        // Joliet has names of 64 characters, the plain ones are as they are.
        let joliet = unpacked(JOLIET_ONLY);
        let tree = read(&joliet).unwrap();
        let names: Vec<_> = shown(&tree).into_iter().map(|(path, _)| path).collect();
        assert!(names.contains(&latest("meta_data.json")), "{names:?}");
        let plain = unpacked(PLAIN_ONLY);
        let tree = read(&plain).unwrap();
        assert_eq!(tree.files.len(), 8);
        let short = "openstac/latest/meta_dat.jso".to_owned();
        assert!(shown(&tree).contains(&(short, Some(14))));
    }

    #[test]
    fn what_is_no_such_file_system_is_refused() {
        for bytes in [
            vec![],
            vec![0; 100_000],
            unpacked(ROCK_RIDGE)[..40_000].to_vec(),
        ] {
            assert!(read(&bytes).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn damage_is_survived(
            marks in proptest::collection::vec((32_768..70_000_usize, any::<u8>()), 1..40),
            is_joliet in any::<bool>(),
        ) {
            let mut bytes = unpacked(if is_joliet { JOLIET_ONLY } else { ROCK_RIDGE });
            for (at, byte) in marks {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let _ = read(&bytes);
        }
    }
}
