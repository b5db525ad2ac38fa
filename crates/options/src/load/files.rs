//! Which configuration files are read, and in which order.

use std::path::{Path, PathBuf};

use super::ConfigError;
use crate::Program;
use crate::command_line::ConfigPath;

/// The files to read, in order: the defaults of each kind that was not given, then what was.
pub(super) fn to_read(
    given: &[ConfigPath],
    program: &Program,
    root: &Path,
) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    if !given
        .iter()
        .any(|given| matches!(given, ConfigPath::File(_)))
    {
        files.extend(Some(root.join(program.file)).filter(|path| path.is_file()));
    }
    if !given
        .iter()
        .any(|given| matches!(given, ConfigPath::Directory(_)))
    {
        let directories = program.directories.iter().map(|name| root.join(name));
        for directory in directories.filter(|path| path.is_dir()) {
            files.extend(files_in(&directory)?);
        }
    }
    for given in given {
        match given {
            ConfigPath::File(path) => files.push(path.clone()),
            ConfigPath::Directory(path) => files.extend(files_in(path)?),
        }
    }
    Ok(files)
}

/// The `*.conf` files of a directory in the order of their names; hidden ones are skipped.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "conf")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
