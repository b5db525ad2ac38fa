//! Which end of the line a machine is.

/// The end of the line in the first run of a network burn-in; in the second they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FioRole {
    Writer,
    Reader,
}

impl FioRole {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Writer => Self::Reader,
            Self::Reader => Self::Writer,
        }
    }
}
