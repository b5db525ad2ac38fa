//! The boot loaders on an EFI system partition: which of them the firmware's boot menu gets.
//!
//! Nothing that an image says about itself is believed. A list (`BOOTX64.CSV`) may name a
//! loader that was never copied, or one that a removable installation put elsewhere; firmware
//! skips such an entry, and some firmware deletes it. So every entry names a regular file of
//! this partition, which is not empty and not for another processor.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ironic_ondisk::executable::pe_machine;
use thiserror::Error;

use crate::disk::boot::entry::decode_utf16;

/// A file that says which loader to start under which label, by architecture.
const LISTS: [&str; 3] = ["bootx64.csv", "bootaa64.csv", "boot.csv"];
/// Loaders that firmware can start.
const LOADERS: [&str; 10] = [
    "bootia32.efi",
    "bootx64.efi",
    "bootia64.efi",
    "bootarm.efi",
    "bootaa64.efi",
    "bootriscv32.efi",
    "bootriscv64.efi",
    "bootriscv128.efi",
    "grubaa64.efi",
    "winload.efi",
];
/// Where firmware looks by itself, which is where removable installations go.
const FALLBACK: [&str; 2] = ["efi", "boot"];
/// Deeper than any boot loader.
const MAX_DEPTH: usize = 8;
/// More than the files and directories of any EFI system partition. A damaged one may have no
/// end.
const MAX_ENTRIES: usize = 1 << 16;
/// Larger than any list.
const MAX_LIST_BYTES: u64 = 64 << 10;
/// More entries than any list needs. The firmware's memory for variables is small, and some
/// machines do not start any more when it is full.
const MAX_LOADERS: usize = 16;
/// Complaints about one partition that are passed on.
const MAX_COMPLAINTS: usize = 8;
/// Longer than any label.
const MAX_LABEL_CHARS: usize = 128;

/// An entry to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loader {
    /// Path on the partition, as firmware writes paths: `\EFI\BOOT\BOOTX64.EFI`.
    pub(super) path: String,
    /// What the menu shows.
    pub(super) label: String,
}

/// What an EFI system partition has for the firmware.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FoundLoaders {
    /// The entries to make, in this order: the last one made is booted first.
    pub(super) loaders: Vec<Loader>,
    /// What was left out, and why, for a person.
    pub(super) left_out: Vec<String>,
}

impl FoundLoaders {
    fn leave_out(&mut self, complaint: String) {
        if self.left_out.len() < MAX_COMPLAINTS {
            self.left_out.push(complaint);
        }
    }
}

/// Why an EFI system partition cannot be searched.
#[derive(Debug, Error)]
pub enum SearchError {
    /// It has no end, or is not what it says.
    #[error(
        "its file system holds more than {MAX_ENTRIES} files and directories: it is damaged, or \
         it is no EFI system partition"
    )]
    TooMuch,
}

/// Why firmware cannot start a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum UnusableLoader {
    #[error("is empty")]
    Empty,
    #[error("cannot be read")]
    Unreadable,
    #[error("is for another processor")]
    OtherProcessor,
}

/// Why what a list names is not a loader.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
enum UnusableListEntry {
    #[error("{0:?}, which is not there")]
    Missing(String),
    #[error("{path}, which {reason}")]
    Unfit {
        path: String,
        reason: UnusableLoader,
    },
}

/// Searches what is mounted at `root` for loaders that firmware of this kind can start: the
/// entries of the first list that has any, else one for each loader. Lists outside `EFI/BOOT`
/// come first, because what lies there is a copy for firmware that knows no entries.
///
/// # Errors
/// The file system is not to be believed.
pub(super) fn search(root: &Path, firmware: Machine) -> Result<FoundLoaders, SearchError> {
    let files = Files::read(root)?;
    let mut found = FoundLoaders::default();
    let mut lists: Vec<_> = files.named(&LISTS).collect();
    lists.sort_by_key(|file| file.is_fallback());
    for list in lists {
        let Some(bytes) = list.read() else {
            continue;
        };
        let shown = list.shown();
        let mut loaders = Vec::new();
        for record in records(&bytes) {
            if loaders.len() == MAX_LOADERS {
                found.leave_out(format!("{shown} has more than {MAX_LOADERS} entries"));
                break;
            }
            match files.loader(list, &record.loader, firmware) {
                Ok(path) => loaders.push(Loader {
                    path,
                    label: record.label,
                }),
                Err(why) => found.leave_out(format!("{shown} names {why}")),
            }
        }
        if !loaders.is_empty() {
            // A new entry is the first that is booted, so the list's first is made last.
            loaders.reverse();
            found.loaders = loaders;
            return Ok(found);
        }
    }
    for file in files.named(&LOADERS) {
        match file.check(firmware) {
            Ok(()) if found.loaders.len() < MAX_LOADERS => found.loaders.push(Loader {
                path: file.shown(),
                label: format!("ironic{}", found.loaders.len() + 1),
            }),
            Ok(()) => found.leave_out(format!("{} is one too many", file.shown())),
            Err(why) => found.leave_out(format!("{} {why}", file.shown())),
        }
    }
    Ok(found)
}

/// A processor, by the number that executables for UEFI carry. `None` is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine(Option<u16>);

impl Machine {
    /// Loaders of every kind are taken.
    #[cfg(test)]
    pub(super) const ANY: Self = Self(None);

    /// That of the firmware. It may be narrower than the system's: there are machines with
    /// 64-bit processors whose firmware starts 32-bit loaders.
    pub(super) fn of_firmware(architecture: &str, bits: Option<&str>) -> Self {
        let is_narrow = bits.map(str::trim) == Some("32");
        Self(match architecture {
            "x86_64" if is_narrow => Some(0x14c),
            "x86" => Some(0x14c),
            "x86_64" => Some(0x8664),
            "aarch64" => Some(0xaa64),
            "arm" => Some(0x1c2),
            "riscv64" => Some(0x5064),
            "loongarch64" => Some(0x6264),
            _ => None,
        })
    }
}

/// A regular file of the partition.
#[derive(Debug)]
struct EspFile {
    /// Where it is mounted.
    path: PathBuf,
    /// The names that lead to it.
    names: Vec<String>,
    size: u64,
}

impl EspFile {
    /// As firmware writes paths.
    fn shown(&self) -> String {
        format!("\\{}", self.names.join("\\"))
    }

    fn directory(&self) -> &[String] {
        self.names.split_last().map_or(&[], |(_, above)| above)
    }

    fn is_fallback(&self) -> bool {
        folded(self.directory()) == FALLBACK
    }

    fn read(&self) -> Option<Vec<u8>> {
        if self.size > MAX_LIST_BYTES {
            return None;
        }
        let mut bytes = Vec::new();
        let file = File::open(&self.path).ok()?;
        file.take(MAX_LIST_BYTES).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Why firmware of this kind cannot start it.
    fn check(&self, firmware: Machine) -> Result<(), UnusableLoader> {
        // Enough for the header of an executable.
        const HEAD: u64 = 4 << 10;
        if self.size == 0 {
            return Err(UnusableLoader::Empty);
        }
        let mut head = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
        if read.is_err() {
            return Err(UnusableLoader::Unreadable);
        }
        match (pe_machine(&head), firmware.0) {
            (Some(is), Some(wanted)) if is != wanted => Err(UnusableLoader::OtherProcessor),
            _ => Ok(()),
        }
    }
}

/// The regular files of the partition, by their names without regard to case, as FAT has it.
#[derive(Debug)]
struct Files(BTreeMap<Vec<String>, EspFile>);

impl Files {
    fn read(root: &Path) -> Result<Self, SearchError> {
        let mut files = Self(BTreeMap::new());
        let mut walk = DirectoryWalk {
            left: MAX_ENTRIES,
            visited: HashSet::new(),
        };
        walk.collect(root, &mut Vec::new(), &mut files)?;
        Ok(files)
    }

    /// Those with one of these names, in the order of their paths.
    fn named<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a EspFile> {
        let mut entries: Vec<_> = self
            .0
            .iter()
            .filter(|(key, _)| {
                key.last()
                    .is_some_and(|last| names.contains(&last.as_str()))
            })
            .map(|(_, entry)| entry)
            .collect();
        entries.sort_by(|left, right| left.names.cmp(&right.names));
        entries.into_iter()
    }

    /// The path of the loader that a list names, which is relative to the list.
    fn loader(
        &self,
        list: &EspFile,
        named: &str,
        firmware: Machine,
    ) -> Result<String, UnusableListEntry> {
        let missing = || UnusableListEntry::Missing(named.to_owned());
        let parts = named.split(['\\', '/']).filter(|part| !part.is_empty());
        let mut names = list.directory().to_vec();
        names.extend(parts.map(str::to_owned));
        if names.iter().any(|name| name == "." || name == "..") {
            return Err(missing());
        }
        let entry = self.0.get(&folded(&names)).ok_or_else(missing)?;
        let check = entry.check(firmware);
        check.map_err(|reason| UnusableListEntry::Unfit {
            path: entry.shown(),
            reason,
        })?;
        Ok(entry.shown())
    }
}

/// Names as FAT compares them.
fn folded(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_lowercase()).collect()
}

/// A walk through untrusted directories, which may lead back to themselves.
struct DirectoryWalk {
    left: usize,
    visited: HashSet<(u64, u64)>,
}

impl DirectoryWalk {
    fn collect(
        &mut self,
        directory: &Path,
        names: &mut Vec<String>,
        files: &mut Files,
    ) -> Result<(), SearchError> {
        let is_new =
            fs::metadata(directory).is_ok_and(|meta| self.visited.insert((meta.dev(), meta.ino())));
        if !is_new {
            return Ok(());
        }
        let Ok(entries) = fs::read_dir(directory) else {
            return Ok(());
        };
        // One at a time: a directory may have no end either.
        for entry in entries {
            self.left = self.left.checked_sub(1).ok_or(SearchError::TooMuch)?;
            let Ok(entry) = entry else {
                break;
            };
            let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata()) else {
                continue;
            };
            names.push(name);
            if meta.is_dir() && names.len() < MAX_DEPTH {
                self.collect(&entry.path(), names, files)?;
            } else if meta.is_file() {
                let found = EspFile {
                    path: entry.path(),
                    names: names.clone(),
                    size: meta.len(),
                };
                files.0.entry(folded(names)).or_insert(found);
            }
            names.pop();
        }
        Ok(())
    }
}

/// A line of a list.
#[derive(Debug, PartialEq, Eq)]
struct LoaderRecord {
    loader: String,
    label: String,
}

/// The records of a list: loader, label, and two unused fields. Of two with one label
/// the first counts.
fn records(bytes: &[u8]) -> Vec<LoaderRecord> {
    let mut records: Vec<LoaderRecord> = Vec::new();
    for line in decode(bytes).lines() {
        let mut fields = line.splitn(4, ',').map(clean);
        let (Some(loader), Some(label)) = (fields.next(), fields.next()) else {
            continue;
        };
        let is_known = records.iter().any(|known| known.label == label);
        if !(loader.is_empty() || label.is_empty() || is_known) {
            records.push(LoaderRecord { loader, label });
        }
    }
    records
}

/// A field as it may be shown: an image's text reaches terminals and the firmware's menu.
fn clean(field: &str) -> String {
    let plain = field.chars().filter(|letter| !letter.is_control());
    let plain: String = plain.take(MAX_LABEL_CHARS).collect();
    plain.trim().to_owned()
}

/// The text of a list: UTF-16 with or without a mark, as the loaders' makers write it, or
/// UTF-8, as people do.
fn decode(bytes: &[u8]) -> String {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let is_wide = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || zeros * 4 > bytes.len();
    if is_wide {
        return decode_utf16(bytes);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
