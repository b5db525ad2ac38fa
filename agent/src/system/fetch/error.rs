//! Why a URL gives nothing, or not all of it.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ironic_text::{error_chain, with_causes};
use ironic_transport::redirect::RefusedRedirect;
use ironic_transport::tls::TlsSettingsError;
use reqwest::Url;
use reqwest::header::InvalidHeaderValue;
use thiserror::Error;

use super::zone::InvalidZone;

/// Why there is no answer, or not all of it. The texts name the URL without its query,
/// which may hold a signature.
///
/// A cause is an error of this module, or one of another [`Fetch`](super::Fetch).
#[derive(Debug, Error)]
pub enum FetchError {
    /// The request cannot be made at all.
    #[error("{url} cannot be requested: {source}")]
    Request {
        /// The URL.
        url: String,
        /// What is wrong with it, or with the settings.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No connection.
    #[error("could not connect to {url}: {source}")]
    Connect {
        /// The URL.
        url: String,
        /// What the network said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server's certificate or TLS version is not acceptable.
    #[error(
        "the TLS handshake with {url} failed: {source} (see the options cafile, insecure and tls_min_version, and the clock)"
    )]
    Tls {
        /// The URL.
        url: String,
        /// What TLS said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Nothing came for too long.
    #[error("{url} sent nothing for {} s", timeout.as_secs_f64())]
    Stalled {
        /// The URL.
        url: String,
        /// The limit.
        timeout: Duration,
    },
    /// The connection broke, or the body was shorter than announced.
    #[error("the answer of {url} broke off: {source}")]
    Broken {
        /// The URL.
        url: String,
        /// What the network said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl FetchError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Tls { .. } => false,
            Self::Connect { .. } | Self::Stalled { .. } | Self::Broken { .. } => true,
        }
    }
}

/// What is wrong with a request, or with the settings that it needs.
#[derive(Debug, Error)]
pub(super) enum UnusableRequest {
    #[error(transparent)]
    Url(<Url as FromStr>::Err),
    #[error(transparent)]
    Zone(#[from] InvalidZone),
    #[error("the scheme {0} is not supported, use http or https")]
    Scheme(String),
    #[error("{name} holds characters no header can")]
    Header {
        name: &'static str,
        source: InvalidHeaderValue,
    },
    #[error("Range: the part is empty, or its end is beyond the largest number")]
    Range,
    #[error("{}", error_chain(.0))]
    TlsSettings(#[from] TlsSettingsError),
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    #[error(transparent)]
    Client(#[from] HttpError),
    #[error(transparent)]
    Redirect(#[from] RefusedRedirect),
    #[error("the server encodes the body (Content-Encoding: {0}) although it was asked not to")]
    Encoded(String),
    #[error("a local file is named file:///path")]
    NotLocal,
    #[error("it is not a regular file")]
    NotRegular,
    #[error(transparent)]
    File(#[from] std::io::Error),
}

impl UnusableRequest {
    /// The same as the error of a request to `url`.
    pub(super) fn at(self, url: &str) -> FetchError {
        FetchError::Request {
            url: url.to_owned(),
            source: self.into(),
        }
    }
}

/// A proxy's URL cannot be used. It may hold a password and is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the proxy ({setting}) must be a URL like http://host:port; SOCKS is not supported")]
pub(super) struct InvalidProxy {
    /// The variable of the environment that the setting stands for, in lower case.
    pub(super) setting: &'static str,
}

/// A local file became shorter while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the file is shorter than it was")]
pub(super) struct Shortened;

/// An error of the HTTP library as its causes: its own text stops at the first. The URL stays
/// out: it may hold secrets and is named beside this text.
#[derive(Debug)]
pub(super) struct HttpError {
    error: reqwest::Error,
    hint: &'static str,
}

impl HttpError {
    /// With an empty `hint`, or one that is appended to the text.
    pub(super) fn new(error: reqwest::Error, hint: &'static str) -> Self {
        Self {
            error: error.without_url(),
            hint,
        }
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::new(error, "")
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = with_causes(String::new(), self.error.source());
        if text.is_empty() {
            f.write_str("the request failed")?;
        } else {
            f.write_str(&text)?;
        }
        f.write_str(self.hint)
    }
}

impl StdError for HttpError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}
