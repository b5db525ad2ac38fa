//! Getting a document or an image from a URL, as a stream.
//!
//! One request, no retries: the caller knows whether trying again makes sense, and has
//! [`FetchError::is_temporary`] to tell.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use ironic_transport::tls::TlsSettings;

mod error;
mod file;
mod http;
mod proxy;
mod redirect;
mod zone;

pub use error::FetchError;
pub use http::HttpFetch;

/// Gets `http:`, `https:` and `file:`.
#[derive(Debug, Default)]
pub struct UrlFetch {
    http: HttpFetch,
}

impl Fetch for UrlFetch {
    fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>> {
        let scheme = request.url.split(':').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("file") {
            Box::pin(file::open(request))
        } else {
            self.http.open(request)
        }
    }
}

/// Gets URLs.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// Sends one GET and waits for the head of the answer, whatever its status is.
    fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>>;
}

/// One GET.
#[derive(Debug, Clone, Default)]
pub struct FetchRequest {
    /// `http://`, `https://` or `file:///`. A link-local IPv6 address may name its interface:
    /// `http://[fe80::1%25eth0]/` or `http://[fe80::1%eth0]/`.
    pub url: String,
    /// The media types that the answer may have.
    pub accept: Option<&'static str>,
    /// The credentials for the server.
    pub credentials: Option<Credentials>,
    /// The proxies to use.
    pub proxies: Proxies,
    /// Which servers to trust.
    pub tls: TlsSettings,
    /// How long connecting, the head of the answer and each piece of the body may take.
    /// Zero means no limit.
    pub timeout: Duration,
    /// Ask for a part only.
    pub part: Option<RangeRequest>,
    /// Take the body as it comes even if the server names a content coding: the caller knows
    /// its digest, which tells whether these are the bytes that were meant.
    pub is_verified: bool,
}

/// A part of a body: `Range`, and `If-Range` when there is something to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRequest {
    /// The first byte wanted.
    pub offset: u64,
    /// How many bytes, at least one; everything that follows when absent.
    pub length: Option<u64>,
    /// The validator of the first answer, so that pieces of two documents never mix.
    pub validator: Option<String>,
}

/// What goes into `Authorization`. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User and password.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// The whole value of the header, for example `Bearer ...`.
    Header(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Proxies; what is not given comes from the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// URL of the proxy for `http://`.
    pub http: Option<String>,
    /// URL of the proxy for `https://`.
    pub https: Option<String>,
    /// Comma-separated hosts, domains, addresses and networks (`192.0.2.0/24`) that are
    /// reached directly.
    pub except: Option<String>,
}

/// The head of an answer, and its body to come.
pub struct FetchResponse {
    /// HTTP status.
    pub status: u16,
    /// Length of this body in bytes, if the server says.
    pub length: Option<u64>,
    /// A strong `ETag`, else a strong `Last-Modified`: what identifies this version of the
    /// document byte for byte.
    pub validator: Option<String>,
    /// Of a partial answer: the first byte, and the length of the whole if known.
    pub part: Option<(u64, Option<u64>)>,
    /// How a server asks for authentication: `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// The content coding that the server named, which may change the bytes.
    pub coding: Option<String>,
    /// How long the server wants to be left alone: `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The headers as text, for error messages.
    pub headers: String,
    /// The body. A stall or a broken connection is an error item, and the last one.
    pub body: BoxStream<'static, Result<Bytes, FetchError>>,
}

impl fmt::Debug for FetchResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("length", &self.length)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
