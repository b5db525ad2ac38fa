//! Why a registry gives no image.

use thiserror::Error;

use super::manifest::ManifestError;
use super::reference::ReferenceError;
use crate::system::fetch::FetchError;

/// Why a registry gives no image.
#[derive(Debug, Error)]
pub(super) enum RegistryError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the registry sends {sent} bytes for an image of {size} bytes")]
    Length { sent: u64, size: u64 },
    #[error("the registry's answer does not have the digest it was asked for")]
    Digest,
    #[error("the registry wants a user and a password (image_server_user)")]
    NoPassword,
    #[error("the registry wants a proof that is not known here")]
    UnknownScheme,
    #[error("the registry does not say where tokens are to be had")]
    NoRealm,
    #[error("the registry's token service does not use https")]
    Insecure,
    #[error("the token service's answer is not JSON")]
    NoJson,
    #[error("the token service's answer holds no token")]
    NoToken,
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the registry answered {status}: {body}")]
    Status { status: u16, body: String },
}

impl RegistryError {
    /// The same as the error of a request to `url`.
    pub(super) fn at(self, url: &str) -> FetchError {
        let url = url.to_owned();
        match self {
            Self::Status { status, .. } if status >= 500 || status == 429 => {
                let source = self.into();
                FetchError::Broken { url, source }
            }
            _ => {
                let source = self.into();
                FetchError::Request { url, source }
            }
        }
    }
}
