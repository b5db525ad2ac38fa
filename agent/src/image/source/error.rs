//! Why an image, or a part of one, did not come.

use std::time::Duration;

use thiserror::Error;

use crate::image::request::CredentialsError;
use crate::system::fetch::FetchError;
use crate::task::Cancelled;

/// The status of a server whose file ends before the part that was asked for.
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// Why a download failed.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The download as a whole took too long.
    #[error(
        "Download of image {id} failed: Download exceeded max allowed time ({} seconds)",
        limit.as_secs()
    )]
    TimedOut {
        /// The image.
        id: String,
        /// The option `image_download_max_duration`.
        limit: Duration,
    },
    /// No server gave it, after all attempts.
    #[error("Download of image {id} failed: {}", joined(attempts))]
    GivenUp {
        /// The image.
        id: String,
        /// The last attempt at each server.
        attempts: Vec<FailedAttempt>,
    },
    /// A document is larger than such documents are.
    #[error("Download of image {id} failed: it is larger than {limit} bytes")]
    TooLarge {
        /// The document.
        id: String,
        /// Bytes.
        limit: usize,
    },
    /// There are no credentials for the server.
    #[error("Download of image {id} failed: {source}")]
    Credentials {
        /// The image.
        id: String,
        /// What is wrong with them.
        source: CredentialsError,
    },
    /// No registry says what the image's digest is.
    #[error("Download of image {id} failed: {}", joined(failures))]
    Registry {
        /// The image.
        id: String,
        /// What each registry answered.
        failures: Vec<FetchError>,
    },
}

impl SourceError {
    /// Whether a server has another version of the image than the one that was begun: it may be
    /// the wanted one, from its beginning.
    pub(in crate::image) fn saw_another_version(&self) -> bool {
        let Self::GivenUp { attempts, .. } = self else {
            return false;
        };
        attempts.iter().any(|attempt| match attempt.error {
            AttemptError::LengthChanged { .. } | AttemptError::TooLong => true,
            AttemptError::Status { status, .. } => status == RANGE_NOT_SATISFIABLE,
            AttemptError::Fetch(_) | AttemptError::TooShort { .. } => false,
        })
    }
}

/// The last attempt at one server.
#[derive(Debug, Error)]
#[error("URL: {url}; time: {} seconds. Error: {error}", took.as_secs())]
pub struct FailedAttempt {
    /// The server's URL as it may be shown.
    pub url: String,
    /// How long the attempt took.
    pub took: Duration,
    /// Why it failed.
    #[source]
    pub error: AttemptError,
}

/// Why one attempt at one server brought no image, or not all of it.
#[derive(Debug, Error)]
pub enum AttemptError {
    /// There was no answer, or it broke off.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer holds no image.
    #[error(
        "Received status code {status} from {url}, expected 200. Response body: {body} Response \
         headers: {headers}"
    )]
    Status {
        /// Its status.
        status: u16,
        /// The URL as it may be shown.
        url: String,
        /// The beginning of its body.
        body: String,
        /// Its headers.
        headers: String,
    },
    /// The image is another one than before.
    #[error("the image has {now} bytes now, {before} were announced before")]
    LengthChanged {
        /// Bytes that were announced first.
        before: u64,
        /// Bytes that are announced now.
        now: u64,
    },
    /// More bytes came than were announced.
    #[error("it sent more than it announced")]
    TooLong,
    /// Fewer bytes came than were announced.
    #[error("it ended after {received} of {length} bytes")]
    TooShort {
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced.
        length: u64,
    },
}

/// Why no part of an image can be had.
#[derive(Debug, Error)]
pub(in crate::image) enum PartError {
    /// The download is cancelled, or takes too long.
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The answer began and did not end. That may be better next time, whatever it was.
    #[error(transparent)]
    BrokeOff(FetchError),
    #[error("the image has {now} bytes now, {before} were announced before")]
    LengthChanged { before: u64, now: u64 },
    #[error("the image is another one now")]
    VersionChanged,
    /// The server may do it later.
    #[error("the server answered {status}")]
    Later {
        status: u16,
        /// The server's own wish.
        after: Option<Duration>,
    },
    #[error("the server sends no parts, or the image is another one now")]
    WholeFile,
    #[error("the server answered {0} when asked for a part")]
    Status(u16),
    #[error("the server sends more than it was asked for")]
    TooLong,
    #[error("{received} of {length} bytes from {first} on came")]
    TooShort {
        received: usize,
        length: u64,
        first: u64,
    },
    /// Of a file that is read as a whole.
    #[error("the file ended at byte {0}")]
    Ended(u64),
}

impl PartError {
    /// Whether asking again may help.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_temporary(),
            Self::BrokeOff(_) | Self::Later { .. } | Self::TooShort { .. } => true,
            Self::Source(_)
            | Self::LengthChanged { .. }
            | Self::VersionChanged
            | Self::WholeFile
            | Self::Status(_)
            | Self::TooLong
            | Self::Ended(_) => false,
        }
    }
}

fn joined<T: ToString>(errors: &[T]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}
