//! What TLS said when a connection failed.
//!
//! A gateway refuses a certificate after the handshake has ended for its client (TLS 1.3): the alert
//! comes with the first read, and HTTP/2 keeps no more of it than a text. The socket notes it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ironic_transport::grpc::Socket;
use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::exit_kind::ExitKind;

/// What TLS could not agree on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TransportProblem {
    /// The dates of the other end's certificate.
    ServerExpired,
    /// Its certificate is not signed by an authority that we know.
    ServerUnknown,
    /// Its certificate is for another name.
    ServerName,
    /// Anything else about its certificate.
    ServerCertificate(CertificateError),
    /// The other end refuses ours.
    Refused(AlertDescription),
    /// It wants a certificate, and we have shown none.
    CertificateRequired,
    /// It closed the connection before it said anything: its alert was lost on the way.
    ClosedAtOnce,
    /// It speaks something else.
    NoTls,
}

impl TransportProblem {
    fn of(error: &io::Error) -> Option<Self> {
        use rustls::Error;
        let tls = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match tls {
            Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::ServerExpired
                }
                // Of an authority that has the name of ours, and another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::ServerUnknown
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::ServerName,
                other => Self::ServerCertificate(other.clone()),
            },
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                Self::CertificateRequired
            }
            Error::AlertReceived(alert) => Self::Refused(*alert),
            _ => Self::NoTls,
        })
    }

    /// The kind of failure.
    pub(crate) fn kind(&self) -> ExitKind {
        match self {
            Self::NoTls => ExitKind::Unreachable,
            _ => ExitKind::NotTrusted,
        }
    }

    /// What to do next.
    pub(crate) fn advice(&self) -> String {
        let text = match self {
            Self::ServerExpired => {
                "renew the certificate of the server; if it is valid, look at the clock of this machine"
            }
            Self::ServerUnknown => "the context's ca_file must hold the CA of the server",
            Self::ServerName => "use a name or address that the server's certificate has",
            Self::ServerCertificate(_) => "give the server another certificate",
            Self::CertificateRequired => {
                "give the context a certificate_file and a key_file: agentctl login"
            }
            Self::Refused(_) => {
                "the context's certificate_file must be valid and signed by the CA that the server \
                 has as fleet_tls_ca_file"
            }
            Self::ClosedAtOnce => {
                "the context needs a certificate_file and a key_file, signed by the CA that the \
                 server has as fleet_tls_ca_file"
            }
            Self::NoTls => "if the server has no TLS, its address begins with http://",
        };
        text.to_owned()
    }
}

impl fmt::Display for TransportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerExpired => f.write_str("the certificate of the server has expired"),
            Self::ServerUnknown => {
                f.write_str("the certificate of the server is of an unknown authority")
            }
            Self::ServerName => f.write_str("the certificate of the server is for another name"),
            Self::ServerCertificate(error) => {
                write!(f, "the certificate of the server cannot be used: {error}")
            }
            Self::CertificateRequired => f.write_str("the server requires a client certificate"),
            Self::Refused(alert) => {
                write!(f, "the server refuses our certificate ({alert:?})")
            }
            Self::ClosedAtOnce => f.write_str(
                "the server closed the connection after the handshake: it requires a client \
                 certificate, or refuses our certificate",
            ),
            Self::NoTls => f.write_str("the server does not speak TLS"),
        }
    }
}

/// The last problem of a channel. All clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct ObservedFailure(Arc<Mutex<Option<TransportProblem>>>);

impl ObservedFailure {
    /// Keeps what TLS said, if it said something.
    pub(super) fn note(&self, error: &io::Error) {
        if let Some(problem) = TransportProblem::of(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
        }
    }

    /// The other end of a TLS connection has gone away without a word. What it said counts more.
    fn note_closed(&self) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get_or_insert(TransportProblem::ClosedAtOnce);
    }

    /// What was noted since it was last asked.
    pub(super) fn take(&self) -> Option<TransportProblem> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.take()
    }
}

/// A socket whose failures are noted.
pub(super) struct ObservedSocket {
    socket: Box<dyn Socket>,
    observed: ObservedFailure,
    /// A TLS connection whose other end has said nothing yet.
    is_unheard: bool,
}

impl ObservedSocket {
    /// Notes what fails at `socket`.
    pub(super) fn new(socket: Box<dyn Socket>, is_tls: bool, observed: ObservedFailure) -> Self {
        Self {
            socket,
            observed,
            is_unheard: is_tls,
        }
    }

    fn noted<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.observed.note(error);
            if self.is_unheard {
                self.observed.note_closed();
            }
        }
        polled
    }
}

impl AsyncRead for ObservedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = &polled {
            if self.is_unheard && buffer.filled().len() == before {
                self.observed.note_closed();
            }
            self.is_unheard = false;
        }
        self.noted(polled)
    }
}

impl AsyncWrite for ObservedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
