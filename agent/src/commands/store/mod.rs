//! Records on disk, so that an agent which restarts still knows what it did.
//!
//! Below the state directory, in `commands/`, every record is one JSON file named
//! `<number>.<name>.<id>.json`; numbers give the order. A file is written beside its place
//! and renamed, so it is there whole or not at all. The immediate command that runs, which
//! is not in the list yet, is `running.<name>.<id>.json`. A file that cannot be read costs
//! that one record its content, never its place in the list.
//!
//! Large results are kept here in their short form only ([`shortened`]): the directory is
//! memory in a ramdisk, and Ironic read the long form when the command ended. Files hold
//! what steps were given, credentials included: only their owner may read them.
//!
//! `boot` holds the kernel's boot identifier. Ironic takes an empty list for a fresh boot,
//! so records of an earlier boot are not shown, should the directory outlive one. For the same
//! reason a directory that cannot be written (full, read-only) costs nothing that can be read.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;
use tracing::warn;

use super::descriptor::VerbDescriptor;
use super::fingerprint::Fingerprint;
use super::record::{
    CommandId, CommandOutcome, CommandRecord, CommandState, LARGE_RESULT, shortened, size,
};
use crate::failure::Failure;

mod record_file;

/// What a command that was running has ended with.
const INTERRUPTED: &str = "The agent was restarted while this command was running. How far it \
    came is not known: do not rely on what it was to change, and run it again";

/// The file of the boot identifier.
const BOOT: &str = "boot";

/// Why a record is not on disk.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot write {path}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The record is no JSON document.
    #[error("cannot write the record as JSON")]
    Encode(#[from] serde_json::Error),
}

/// The directory of records.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Number of the file for place 0 of the list, were it written now.
    offset: usize,
    /// The file of the immediate command that runs.
    running: Option<PathBuf>,
    /// The boot identifier that could not be written yet.
    unwritten_boot: Option<String>,
}

impl Store {
    /// Opens or makes the directory and reads what an earlier life left there: all commands
    /// ended, those that were running as failed. Records of another boot than `boot` are
    /// removed. Damage is logged and leaves a failed record where it can; so does a directory
    /// that cannot be written, which changes nothing in the list.
    ///
    /// # Errors
    /// The directory cannot be made or listed.
    pub fn open(
        state: &Path,
        boot: Option<&str>,
        now: SystemTime,
    ) -> Result<(Self, Vec<CommandRecord>), StoreError> {
        let directory = state.join("commands");
        make_directory(&directory)?;
        let mut store = Self {
            directory,
            offset: 0,
            running: None,
            unwritten_boot: None,
        };
        let mut names = store.names()?;
        if let Some(boot) = boot {
            match fs::read_to_string(store.directory.join(BOOT)) {
                Ok(earlier) if earlier == boot => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // Of which boot the records are is not known. To Ironic an empty list would
                    // be a fresh boot in the middle of a deployment.
                    warn!(%error, "the boot identifier of the records of commands is unreadable");
                }
                Ok(_) | Err(_) => {
                    for name in names.drain(..) {
                        remove(&store.directory.join(name.file));
                    }
                    store.unwritten_boot = Some(boot.to_owned());
                    if let Err(error) = store.write_boot() {
                        warn_unwritten(&error);
                    }
                }
            }
        }
        let records = store.load(names, now);
        Ok((store, records))
    }

    /// Writes the boot identifier if that is still to be done. Without it the records would
    /// be those of another boot after a restart.
    fn write_boot(&mut self) -> Result<(), StoreError> {
        if let Some(boot) = &self.unwritten_boot {
            self.write(&self.directory.join(BOOT), boot.as_bytes())?;
            self.unwritten_boot = None;
        }
        Ok(())
    }

    /// Keeps a record: at its place in the list, or as the immediate command that runs.
    ///
    /// # Errors
    /// Those of writing. The record of an earlier call is then still there.
    pub fn keep(&mut self, index: Option<usize>, record: &CommandRecord) -> Result<(), StoreError> {
        self.write_boot()?;
        let page = match &record.state {
            CommandState::Ended {
                outcome: CommandOutcome::Succeeded(result),
                at,
            } if size(result) > LARGE_RESULT => {
                let mut short = record.clone();
                short.state = CommandState::Ended {
                    outcome: CommandOutcome::Succeeded(Arc::new(shortened(result))),
                    at: *at,
                };
                record_file::write(&short)?
            }
            _ => record_file::write(record)?,
        };
        let Some(index) = index else {
            let path = self.directory.join(running_file(record));
            self.write(&path, &page)?;
            self.running = Some(path);
            return Ok(());
        };
        let name = numbered_file(self.offset + index, &record.name, record.id);
        self.write(&self.directory.join(name), &page)?;
        if self.running == Some(self.directory.join(running_file(record))) {
            self.forget();
        }
        Ok(())
    }

    /// Forgets the immediate command that ran.
    pub fn forget(&mut self) {
        if let Some(path) = self.running.take() {
            remove(&path);
        }
    }

    fn load(&mut self, mut names: Vec<Name>, now: SystemTime) -> Vec<CommandRecord> {
        // Numbered ones in their order, then the one that was running.
        names.sort_by_key(|name| (name.number.is_none(), name.number));
        // One that had just got its place keeps only that one.
        let placed: HashSet<CommandId> = names
            .iter()
            .filter(|name| name.number.is_some())
            .map(|name| name.id)
            .collect();
        names.retain(|name| {
            let twin = name.number.is_none() && placed.contains(&name.id);
            if twin {
                remove(&self.directory.join(&name.file));
            }
            !twin
        });
        let next = names.iter().filter_map(|name| name.number).max();
        let mut next = next.map_or(0, |number| number + 1);
        let mut records = Vec::with_capacity(names.len());
        for name in names {
            let path = self.directory.join(&name.file);
            let (mut record, readable) = match read(&path) {
                Ok(record) if record.id == name.id && record.name == name.command => (record, true),
                Ok(_) => (damaged(&name, "it holds another command", now), false),
                Err(error) => (damaged(&name, &error.to_string(), now), false),
            };
            if !readable {
                warn!(file = %path.display(), "the record of a command is damaged");
            }
            if !record.has_ended() {
                record.end(CommandOutcome::Failed(Failure::execution(INTERRUPTED)), now);
            }
            let number = name.number.unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            // A damaged file is left for a person to look at, unless it has no place yet.
            if readable || name.number.is_none() {
                match self.write_numbered(number, &record) {
                    // The one that was running is found at the next start, too.
                    Err(error) => warn_unwritten(&error),
                    Ok(()) if name.number.is_none() => remove(&path),
                    Ok(()) => {}
                }
            }
            records.push(record);
        }
        self.offset = next - records.len().min(next);
        records
    }

    fn write_numbered(&self, number: usize, record: &CommandRecord) -> Result<(), StoreError> {
        let file = numbered_file(number, &record.name, record.id);
        self.write(&self.directory.join(file), &record_file::write(record)?)
    }

    fn names(&self) -> Result<Vec<Name>, StoreError> {
        let fail = |source| StoreError::Write {
            path: self.directory.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(fail)? {
            let file = match entry {
                Ok(entry) => entry.file_name(),
                // Those that were listed are better than none.
                Err(error) if !names.is_empty() => {
                    warn!(%error, directory = %self.directory.display(),
                        "the list of the records of commands is incomplete");
                    break;
                }
                Err(error) => return Err(fail(error)),
            };
            let Some(file) = file.to_str() else { continue };
            if file == BOOT {
                continue;
            }
            match Name::parse(file) {
                Some(name) => names.push(name),
                // A write that was cut off before its file had a name.
                None if file.ends_with(".part") => remove(&self.directory.join(file)),
                None => warn!(file, directory = %self.directory.display(), "not a record"),
            }
        }
        Ok(names)
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        write_whole(path, content).map_err(|source| StoreError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// A file name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    file: String,
    /// `None` for the immediate command that was running.
    number: Option<usize>,
    command: String,
    id: CommandId,
}

impl Name {
    fn parse(file: &str) -> Option<Self> {
        let (first, rest) = file.strip_suffix(".json")?.split_once('.')?;
        let (command, id) = rest.rsplit_once('.')?;
        let number = match first {
            "running" => None,
            digits => Some(digits.parse().ok()?),
        };
        Some(Self {
            file: file.to_owned(),
            number,
            command: command.to_owned(),
            id: CommandId::parse(id)?,
        })
    }
}

fn numbered_file(number: usize, command: &str, id: CommandId) -> String {
    format!("{number:06}.{command}.{id}.json")
}

fn running_file(record: &CommandRecord) -> String {
    format!("running.{}.{}.json", record.name, record.id)
}

/// What remains of a record whose file cannot be read.
fn damaged(name: &Name, reason: &str, now: SystemTime) -> CommandRecord {
    let mut record = CommandRecord {
        id: name.id,
        name: name.command.clone(),
        background: VerbDescriptor::by_name(&name.command).is_some_and(|verb| verb.background),
        fingerprint: Fingerprint::LOST,
        started_at: now,
        deadline: None,
        state: CommandState::Running,
        milestones: Vec::new(),
    };
    record.end(
        CommandOutcome::Failed(Failure::execution(format!(
            "The agent was restarted, and its record of this command is damaged: {reason}"
        ))),
        now,
    );
    record
}

/// Why a record cannot be read back.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Content(#[from] record_file::InvalidRecordFile),
}

fn read(path: &Path) -> Result<CommandRecord, ReadError> {
    Ok(record_file::read(&fs::read(path)?)?)
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Writes beside the place and renames, so that a reader sees the old or the new content.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?;
    let written = file.write_all(content).and_then(|()| file.sync_data());
    drop(file);
    let result = written.and_then(|()| fs::rename(&part, path));
    if result.is_err() {
        remove(&part);
    }
    result
}

fn warn_unwritten(error: &StoreError) {
    warn!(
        error = error as &dyn std::error::Error,
        "the directory of the records of commands cannot be written: what is read there is kept"
    );
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(file = %path.display(), %error, "cannot remove an old record"),
    }
}

#[cfg(test)]
mod tests;
