//! Whom HTTPS clients trust, and the versions and cipher suites of both ends: rustls with
//! ring, authorities from a file or built in.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem;
use thiserror::Error;

mod authorities;
mod authority_pin;
mod client;
mod client_certificate;
mod insecure;
mod pinned;
mod server_clock;
mod suites;

pub(crate) use authority_pin::PinnedAuthority;
pub use authority_pin::{AuthorityPin, InvalidAuthorityPin};
pub use client::client_config;
pub use client_certificate::ClientCertificate;
pub use server_clock::ServerClock;
pub use suites::{cipher_suites, provider};

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

ironic_options::choice!(TlsVersion, "1.2|1.3", "1.2 or 1.3", { V1_2 = "1.2", V1_3 = "1.3" });

/// One of two options is set that need each other: a certificate and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("option {given} needs option {missing} beside it")]
pub struct HalfPair {
    /// The option that is set.
    pub given: &'static str,
    /// The option that is not set.
    pub missing: &'static str,
}

/// The files of a certificate and of its key, each with the option that names it: both files,
/// or `None` when neither option is set.
///
/// # Errors
/// Only one of the options is set.
pub fn certificate_and_key<'a>(
    certificate: (&'static str, Option<&'a Path>),
    key: (&'static str, Option<&'a Path>),
) -> Result<Option<(&'a Path, &'a Path)>, HalfPair> {
    let half = |given, missing| Err(HalfPair { given, missing });
    match (certificate, key) {
        ((_, Some(certificate)), (_, Some(key))) => Ok(Some((certificate, key))),
        ((given, Some(_)), (missing, None)) => half(given, missing),
        ((missing, None), (given, Some(_))) => half(given, missing),
        ((_, None), (_, None)) => Ok(None),
    }
}

/// Whom a client trusts and how it proves who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Accept every certificate.
    pub insecure: bool,
    /// PEM file of trusted authorities; else the system's bundle, else Mozilla's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Refuse everything below TLS 1.3.
    pub only_1_3: bool,
    /// IANA or OpenSSL names of the accepted TLS 1.2 cipher suites; empty means the default.
    pub cipher_suites: Vec<String>,
}

/// What is wrong with TLS settings.
#[derive(Debug, Error)]
pub enum TlsSettingsError {
    /// The file of authorities cannot be used.
    #[error("cafile {}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnusableFile,
    },
    /// Our certificate or its key cannot be used.
    #[error("certfile {} or keyfile {}", certificate.display(), key.display())]
    Identity {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: UnusableFile,
    },
    /// No TLS 1.2 suite is left.
    #[error("tls_cipher_suites: {0} names no TLS 1.2 suite that is known here")]
    CipherSuites(String),
    /// The library refuses the combination.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
}

/// Why a PEM file cannot be used.
#[derive(Debug, Error)]
pub enum UnusableFile {
    /// It cannot be read, or is not PEM.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// It holds nothing that helps.
    #[error("it holds no usable certificate")]
    Empty,
    /// The library refuses what it holds.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
    /// The library refuses the authorities.
    #[error(transparent)]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}
