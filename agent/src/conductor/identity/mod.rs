//! How the agent proves which node it is: by a short-lived certificate that its gateway signs.
//!
//! The [keeper](IdentityKeeper) makes a key, which never leaves the machine, has it
//! [certified](CertificateIssuer), [remembers](CertificateMemory) both for this boot, and renews
//! the certificate at two thirds of its life. What proves the first time which node the machine
//! is comes from a [`NodeAttestor`].

use std::fmt;

use futures_util::future::BoxFuture;
use ironic_text::Secret;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use thiserror::Error;

use super::ConnectionError;

mod attestor;
mod held;
mod keeper;
mod memory;

pub use attestor::{AgentTokenAttestor, JoinTokenAttestor, NodeAttestor, NodeEvidence};
pub use held::{HeldCertificate, KeyError, NewKey};
pub use keeper::{IdentityKeeper, IdentitySettings};
pub use memory::CertificateMemory;

/// A gateway that signs certificates. Each call is one attempt.
pub trait CertificateIssuer: fmt::Debug + Send + Sync {
    /// Asks for its time, and for what it takes as a proof.
    fn info(&self) -> BoxFuture<'_, Result<IssuerInfo, IssuerError>>;

    /// Asks for the first certificate, for a key whose request (PKCS #10 in DER) this is.
    fn enroll(
        &self,
        evidence: NodeEvidence,
        csr: Vec<u8>,
    ) -> BoxFuture<'_, Result<SignedCertificate, IssuerError>>;

    /// Asks for the next one, by the one that is shown.
    fn renew(&self, csr: Vec<u8>) -> BoxFuture<'_, Result<SignedCertificate, IssuerError>>;

    /// From the next connection on, shows this certificate; without one, none. Calls that run go on.
    ///
    /// # Errors
    /// Key and certificate do not fit.
    fn show(
        &self,
        certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> BoxFuture<'_, Result<(), rustls::Error>>;
}

/// What a gateway says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerInfo {
    /// Its time.
    pub time: UnixTime,
    /// Whether a join token is a proof.
    pub takes_join_token: bool,
    /// Whether the agent token is one.
    pub takes_agent_token: bool,
}

/// What a gateway has signed.
#[derive(Debug, Clone)]
pub struct SignedCertificate {
    /// The node's certificate, then the authority's.
    pub chain: Vec<CertificateDer<'static>>,
    /// The node that it names.
    pub node_uuid: String,
    /// When it ends.
    pub not_after: UnixTime,
    /// The gateway's time of the answer.
    pub now: UnixTime,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IssuerError {
    /// The conductor issues no certificates.
    #[error("the conductor issues no certificates")]
    NotOffered,
    /// The proof, or something else that does not change by itself, was refused.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// What the machine knows about which node it is.
#[derive(Debug, Clone, Default)]
pub struct KnownNode {
    /// The node's UUID, from a lookup or an earlier certificate.
    pub node_uuid: Option<String>,
    /// The token that the conductor has given it.
    pub agent_token: Option<Secret>,
}
