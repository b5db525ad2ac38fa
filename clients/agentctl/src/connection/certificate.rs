//! Whether the caller's certificate is valid today: a server that refuses it does not say why.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::exit_kind::ExitKind;

/// Why a certificate cannot be shown today.
#[derive(Debug, Error)]
pub(crate) enum CertificateDatesError {
    /// The file cannot be read.
    #[error("option certificate_file: {path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// It holds no certificate.
    #[error("option certificate_file: {0} holds no X.509 certificate")]
    NoCertificate(PathBuf),
    /// It has ended.
    #[error("the client certificate {path} expired at {at}")]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        at: String,
    },
    /// It begins later.
    #[error("the client certificate {path} is not valid before {at}")]
    NotYet {
        /// The file.
        path: PathBuf,
        /// When.
        at: String,
    },
}

impl CertificateDatesError {
    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        match self {
            Self::File { .. } | Self::NoCertificate(_) => ExitKind::Configuration,
            Self::Expired { .. } | Self::NotYet { .. } => ExitKind::NotTrusted,
        }
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> String {
        let text = match self {
            Self::File { .. } | Self::NoCertificate(_) => {
                "`agentctl login` writes a context anew, with other files"
            }
            Self::Expired { .. } => {
                "have a new one signed by the operators' CA and put it in its place"
            }
            Self::NotYet { .. } => "look at the clock of this machine",
        };
        text.to_owned()
    }
}

/// Looks at the dates of the first certificate of a file.
///
/// # Errors
/// The file holds no certificate, or one that is not valid now.
pub(crate) fn check_dates(path: &Path) -> Result<(), CertificateDatesError> {
    let owned = || path.to_owned();
    let der =
        CertificateDer::from_pem_file(path).map_err(|source| CertificateDatesError::File {
            path: owned(),
            source,
        })?;
    let (_, certificate) = X509Certificate::from_der(&der)
        .map_err(|_| CertificateDatesError::NoCertificate(owned()))?;
    let (validity, now) = (certificate.validity(), x509_parser::time::ASN1Time::now());
    if validity.not_after < now {
        return Err(CertificateDatesError::Expired {
            path: owned(),
            at: validity.not_after.to_string(),
        });
    }
    if now < validity.not_before {
        return Err(CertificateDatesError::NotYet {
            path: owned(),
            at: validity.not_before.to_string(),
        });
    }
    Ok(())
}
