//! Why firmware of network cards was not updated.

use std::fmt;

use thiserror::Error;

/// Why firmware of network cards was not updated. The rows are classes of errors that the
/// Python agent knows.
#[derive(Debug, Error)]
pub enum NicFirmwareError {
    /// The list of images is invalid.
    #[error(transparent)]
    ImageConfig(InvalidField),
    /// The algorithm of a checksum is unknown or not allowed.
    #[error(
        "checksumType must be sha256 or sha512, not {algorithm}{}",
        hint(algorithm)
    )]
    ChecksumAlgorithm {
        /// The algorithm.
        algorithm: String,
    },
    /// Two images are for the same cards.
    #[error("two images for cards with PSID {psid}")]
    DuplicateImage {
        /// The cards.
        psid: String,
    },
    /// An image is neither a file nor on a web server.
    #[error("{url} does not begin with file://, http:// or https://")]
    UrlScheme {
        /// The image.
        url: String,
    },
    /// An image was not downloaded.
    #[error(transparent)]
    Download(#[from] FirmwareDownloadError),
    /// An image is not what the operator says it is.
    #[error("{url}: {property} is {found}, not {wanted}")]
    Mismatch {
        /// The image.
        url: String,
        /// What differs.
        property: ImageProperty,
        /// What the operator says.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The list of settings is invalid.
    #[error(transparent)]
    SettingConfig(InvalidField),
    /// Two settings are for the same cards.
    #[error("two settings for device {id}")]
    DuplicateSetting {
        /// The cards.
        id: String,
    },
    /// The tools do not know a parameter.
    #[error("{card}: mstconfig does not know {parameter}")]
    UnknownParameter {
        /// The card's address.
        card: String,
        /// The parameter.
        parameter: String,
    },
    /// The firmware does not take a parameter.
    #[error("{card}: parameter {parameter}: {source}")]
    UnsupportedParameter {
        /// The card's address.
        card: String,
        /// The parameter.
        parameter: String,
        /// Why not.
        source: UnsupportedParameter,
    },
}

fn hint(algorithm: &str) -> &'static str {
    if algorithm == "md5" {
        " (md5_enabled allows it)"
    } else {
        ""
    }
}

/// What is wrong with a list of images or settings.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum InvalidField {
    /// It is not a list.
    #[error("'{0}' must be a list")]
    NotAList(&'static str),
    /// An image lacks a text.
    #[error("each image needs the text '{0}'")]
    ImageText(String),
    /// A setting names no cards.
    #[error("each item of settings needs the text 'deviceID'")]
    DeviceId,
    /// Parameters are not an object.
    #[error("'{0}' must be an object")]
    NotAnObject(String),
}

/// Why an image was not downloaded.
#[derive(Debug, Error)]
pub enum FirmwareDownloadError {
    /// The server was not reached, or the transfer broke.
    #[error(transparent)]
    Fetch(#[from] crate::system::fetch::FetchError),
    /// The server does not give it.
    #[error("{url} answers {status}")]
    Status {
        /// The image.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// It is larger than any firmware.
    #[error("{url} is larger than {largest} bytes")]
    TooLarge {
        /// The image.
        url: String,
        /// The limit.
        largest: usize,
    },
}

/// A property of an image that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageProperty {
    /// Which cards it is for.
    Psid,
    /// Its version.
    Version,
    /// Its bytes.
    Checksum,
}

impl fmt::Display for ImageProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Psid => "the PSID",
            Self::Version => "the version",
            Self::Checksum => "the checksum",
        })
    }
}

/// Why a card's firmware does not take a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnsupportedParameter {
    /// It has no such parameter.
    #[error("the firmware does not have it")]
    Missing,
    /// Elements are named of what has none.
    #[error("it is not an array")]
    NotAnArray,
    /// The array has other elements.
    #[error("it has elements {first} to {last}")]
    Elements {
        /// The first one.
        first: u32,
        /// The last one.
        last: u32,
    },
}
