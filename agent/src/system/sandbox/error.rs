//! Why a program of an image was not run to its end.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

use super::limits::LimitExceeded;

/// Why a program of an image was not run to its end, for its standard error.
#[derive(Debug, Error)]
pub(super) enum SandboxError {
    #[error("the arguments are not UTF-8")]
    NotText,
    #[error(
        "usage: run-in-image IMAGE [NODE]... [NAME=NODE]... [--efi-system=NODE] -- \
         [NAME=VALUE]... PROGRAM [ARGUMENT]..."
    )]
    Usage,
    #[error("this is for the agent, which runs it in namespaces of its own")]
    NotFirstProcess,
    #[error("no program is named")]
    NoProgram,
    #[error("{name}: {source}")]
    Program { name: String, source: io::Error },
    #[error("{name} was ended: {excess}")]
    Exceeded { name: String, excess: LimitExceeded },
    /// Nobody reads what the program says: the agent has given it up.
    #[error("nobody waits for the program any more")]
    Unheard,
    #[error("{}: {source}", shown(path))]
    Path { path: PathBuf, source: io::Error },
    #[error("privileges: {0}")]
    Privileges(#[source] Errno),
    #[error("capabilities: {0}")]
    Capabilities(#[source] Errno),
}

fn shown(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
