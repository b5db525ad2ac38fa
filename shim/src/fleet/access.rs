//! Whether a request to the fleet is admitted: the one place where that is decided.

use std::net::SocketAddr;
use std::sync::Arc;

use ironic_agent_protocol::v1;
use ironic_transport::grpc::bounds::Caller;
use rustls_pki_types::CertificateDer;
use tonic::Status;
use tonic::transport::server::TlsConnectInfo;

/// Who calls.
#[derive(Debug, Clone, Default)]
pub struct FleetCaller {
    /// The caller's certificate and its chain, already verified against `fleet_tls_ca_file`.
    /// Empty where the listener demands none.
    pub certificates: Arc<Vec<CertificateDer<'static>>>,
    /// The address; `None` over a socket in the file system.
    pub peer: Option<SocketAddr>,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct FleetRequest<'a> {
    /// Who asks.
    pub caller: &'a FleetCaller,
    /// The path of the method, `/ironic.agent.v1.FleetService/ListNodes`.
    pub method: &'a str,
    /// The node that is meant; `None` if the request is about the nodes in general.
    pub node: Option<&'a v1::Node>,
}

/// Decides which requests are admitted. Cheap to clone.
///
/// It admits every caller that the listener lets in.
#[derive(Debug, Clone, Default)]
pub struct FleetAccess {}

impl FleetAccess {
    /// Admits a request.
    ///
    /// # Errors
    /// The status that the caller hears.
    pub fn admit(&self, request: FleetRequest<'_>) -> Result<(), Status> {
        tracing::debug!(
            method = request.method,
            node = request.node.map(|node| node.uuid.as_str()),
            peer = ?request.caller.peer,
            "fleet request"
        );
        Ok(())
    }
}

impl FleetCaller {
    /// Who has shown these certificates, which are verified, and calls from there.
    #[must_use]
    pub fn new(certificates: Vec<CertificateDer<'static>>, peer: Option<SocketAddr>) -> Self {
        Self {
            certificates: Arc::new(certificates),
            peer,
        }
    }

    /// The caller of a request, of its extensions. The listener lets nobody in without a
    /// certificate unless that is wanted, so its connection makes way for nobody.
    #[must_use]
    pub fn in_extensions(extensions: &http::Extensions) -> Self {
        let caller = Caller::in_extensions(extensions);
        if let Some(caller) = &caller {
            caller.authenticated();
        }
        let tls = extensions.get::<TlsConnectInfo<Caller>>();
        Self {
            certificates: tls.and_then(TlsConnectInfo::peer_certs).unwrap_or_default(),
            peer: caller.and_then(|caller| caller.peer),
        }
    }
}
