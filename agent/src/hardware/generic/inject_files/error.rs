//! Why files were not injected.

use thiserror::Error;

use super::MAX_CONTENT_BYTES;
use crate::image::SourceError;

/// Why files were not injected.
#[derive(Debug, Error)]
pub enum InjectFilesError {
    /// The request is invalid; every problem is named.
    #[error("Validation of files failed: {}", list(.0))]
    Invalid(Vec<InvalidFile>),
    /// A file's content cannot be had.
    #[error("Failed to process file {path}. {source}")]
    Content {
        /// The file.
        path: String,
        /// Why not.
        source: FileContentError,
    },
}

fn list(problems: &[InvalidFile]) -> String {
    let lines: Vec<_> = problems.iter().map(InvalidFile::to_string).collect();
    lines.join("; ")
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFile {
    /// The files are not a list.
    #[error("{field} must be a list")]
    NotAList {
        /// `files` or `properties.inject_files`.
        field: &'static str,
    },
    /// A file is not an object.
    #[error("{file} must be an object")]
    NotAnObject {
        /// `files[0]`.
        file: String,
    },
    /// A key of a file is wrong.
    #[error("{file}: {problem}")]
    Key {
        /// `files[0]`.
        file: String,
        /// What is wrong.
        problem: FileKeyProblem,
    },
}

/// What is wrong with one key of a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileKeyProblem {
    /// No file has such a key.
    #[error("unexpected key '{key}'; known are {}", known.join(", "))]
    Unexpected {
        /// The key.
        key: String,
        /// All keys that a file may have.
        known: &'static [&'static str],
    },
    /// A key is required.
    #[error("'path' is required")]
    PathMissing,
    /// A key must be a text.
    #[error("'{key}' must be a text")]
    NotText {
        /// The key.
        key: &'static str,
    },
    /// The path names a directory.
    #[error("'path' must not end with a slash")]
    Directory,
    /// The path leads out of its file system.
    #[error("'path' must not hold '..'")]
    Outside,
    /// Every file system has a root directory.
    #[error("a file directly in / needs a 'partition' number: {path}")]
    PartitionMissing {
        /// The path.
        path: String,
    },
    /// The partition is invalid.
    #[error("'partition' must be a number from 1 or a device")]
    Partition,
    /// The flag is invalid.
    #[error("'deleted' must be true or false")]
    Deleted,
    /// A file that is removed has no content.
    #[error("'content' and 'deleted' exclude each other")]
    ContentOfDeleted,
    /// A number is invalid.
    #[error("'{key}' must be an integer from 0 to {largest}")]
    Number {
        /// The key.
        key: &'static str,
        /// The largest valid number.
        largest: u32,
    },
}

/// Why a content cannot be had.
#[derive(Debug, Error)]
pub enum FileContentError {
    /// It is not base64.
    #[error("'content' is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The contents are too large.
    #[error("The files have more than {MAX_CONTENT_BYTES} bytes together")]
    TooLarge,
    /// The URL has places that cannot be filled.
    #[error("The URL cannot be completed: {0}")]
    Url(#[from] TemplateError),
    /// It was not downloaded.
    #[error(transparent)]
    Download(#[from] SourceError),
}

/// Why a template of a URL cannot be filled.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// A brace stands alone.
    #[error("'{brace}' without its other half in {template:?}")]
    Brace {
        /// The brace.
        brace: String,
        /// The whole template.
        template: String,
    },
    /// A place cannot be filled.
    #[error("{{{placeholder}}} {problem}")]
    Placeholder {
        /// What stands between the braces.
        placeholder: String,
        /// Why not.
        problem: TemplateProblem,
    },
}

/// Why a place of a template cannot be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TemplateProblem {
    /// A bracket is open.
    #[error("has no closing bracket")]
    OpenBracket,
    /// Something stands between or behind the brackets.
    #[error("is not a list of keys in brackets such as {{node[uuid]}}")]
    NotKeys,
    /// Credentials stay on this machine.
    #[error("holds credentials, which are sent to no server")]
    Private,
    /// It begins with another name than `node` or `ports`.
    #[error("is unknown; known are node and ports")]
    Unknown,
    /// It is a list or an object.
    #[error("is neither a text nor a number")]
    NotScalar,
    /// The node has no such value.
    #[error("does not exist")]
    Missing,
}
