//! The status that a call of ours was answered by, as an error with causes.

use std::error::Error;
use std::fmt;

use tonic::Status;

/// A status, printed without its metadata; what the transport says under it is its cause.
#[derive(Debug)]
pub(super) struct CallStatus(pub(super) Status);

impl fmt::Display for CallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.code(), self.0.message())
    }
}

impl Error for CallStatus {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
