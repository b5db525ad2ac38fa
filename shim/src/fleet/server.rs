//! The listener of the fleet: `FleetService`, `CommandService` of every node, health and
//! reflection, for orchestrators and operators.

use std::path::Path;
use std::time::Duration;

use ironic_agent_protocol::v1::fleet_service_server::{FleetServiceServer, SERVICE_NAME};
use ironic_agent_protocol::v1::join_token_service_server::{
    JoinTokenServiceServer, SERVICE_NAME as JOIN_TOKENS,
};
use ironic_transport::Listen;
use ironic_transport::grpc::bounds::Bounds;
use ironic_transport::grpc::{self, BindError, ServerTlsError};
use ironic_transport::listener::ConnectionLimits;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tracing::{info, warn};

use super::access::FleetAccess;
use super::join_tokens::JoinTokenApi;
use super::policy::file::PolicyFileError;
use super::proxy::NodeProxy;
use super::service::FleetApi;
use super::tls::{FleetTls, demands_certificates};
use crate::config::ShimConfig;
use crate::descriptors;

/// Calls on one connection: an orchestrator follows many nodes over one.
const STREAMS: u32 = 1024;
const PING_PERIOD: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections of orchestrators and operators.
const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 1024,
    unauthenticated: 128,
    per_peer: 32,
    ..grpc::LIMITS
};

/// Why the fleet is not served.
#[derive(Debug, Error)]
pub enum FleetServerError {
    /// The address cannot be used.
    #[error("option fleet_listen cannot be used")]
    Listen(#[from] BindError),
    /// Anybody could give orders.
    #[error(
        "option fleet_listen = {0} can be reached from other machines, and callers need no \
         certificate: any of them could write disks. Listen at a unix: socket or a loopback \
         address, demand client certificates by fleet_tls_cert_file, fleet_tls_key_file and \
         fleet_tls_ca_file, or accept it by --insecure_fleet_listen"
    )]
    Open(Listen),
    /// The TLS options are unusable.
    #[error(transparent)]
    Tls(#[from] ServerTlsError),
    /// Nobody would be known.
    #[error(
        "option fleet_policy_file says what the holders of certificates may do, and callers of \
         fleet_listen need none: set fleet_tls_ca_file, or remove it"
    )]
    PolicyWithoutCertificates,
    /// The policy is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// The description of the services is unusable.
    #[error("cannot offer reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed, or certificate and key are unusable.
    #[error(
        "cannot serve the fleet: check fleet_tls_cert_file, fleet_tls_key_file, fleet_tls_ca_file"
    )]
    Transport(#[from] tonic::transport::Error),
}

/// What is served.
#[derive(Debug)]
pub struct FleetServices {
    /// The nodes.
    pub api: FleetApi,
    /// Their `CommandService`.
    pub proxy: NodeProxy,
    /// The join tokens.
    pub join_tokens: JoinTokenApi,
}

/// A listener for the fleet.
#[derive(Debug)]
pub struct FleetServer {
    bound: grpc::Bound,
    /// Where it listens; the port is the real one.
    pub listen: Listen,
    tls: Option<FleetTls>,
    services: FleetServices,
}

/// The access at the listener. Blocks.
///
/// # Errors
/// The policy is wrong, or would know nobody.
pub fn access(config: &ShimConfig) -> Result<FleetAccess, FleetServerError> {
    match config.fleet_policy_file.as_deref() {
        Some(_) if !demands_certificates(config) => {
            Err(FleetServerError::PolicyWithoutCertificates)
        }
        Some(file) => Ok(by_policy(file)?),
        None if config.fleet_listen.is_none() => Ok(FleetAccess::default()),
        None => {
            info!(
                "every caller of fleet_listen may give every order: option fleet_policy_file says who may do what"
            );
            Ok(FleetAccess::default())
        }
    }
}

fn by_policy(file: &Path) -> Result<FleetAccess, PolicyFileError> {
    let access = FleetAccess::by_policy(file)?;
    info!(file = %file.display(), "a policy says what callers of fleet_listen may do");
    Ok(access)
}

impl FleetServer {
    /// Opens the listener at `listen`.
    ///
    /// # Errors
    /// The address is taken or not ours, or a certificate is missing.
    pub async fn bind(
        listen: &Listen,
        config: &ShimConfig,
        services: FleetServices,
    ) -> Result<Self, FleetServerError> {
        let tls = FleetTls::load(config)?;
        if listen.is_open_to_other_machines() && !demands_certificates(config) {
            if !config.insecure_fleet_listen {
                return Err(FleetServerError::Open(listen.clone()));
            }
            warn!(%listen, "any machine that reaches this address may write the disks of every node: insecure_fleet_listen");
        }
        // The listeners of agents and of conductors have connections, too.
        let limits = LIMITS.within_descriptors(descriptors::FLEET);
        let (bound, listen) = grpc::bind(listen, "FleetService", limits).await?;
        info!(%listen, "the fleet is served");
        Ok(Self {
            bound,
            listen,
            tls,
            services,
        })
    }

    /// TLS of the listener, if it has any.
    #[must_use]
    pub fn tls(&self) -> Option<&FleetTls> {
        self.tls.as_ref()
    }

    /// Serves until `stop` is cancelled.
    ///
    /// # Errors
    /// The certificate is unusable, or the transport failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), FleetServerError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<FleetServiceServer<FleetApi>>().await;
        health.set_serving::<NodeProxy>().await;
        health
            .set_serving::<JoinTokenServiceServer<JoinTokenApi>>()
            .await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(ironic_agent_protocol::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE_NAME)
            .with_service_name(NodeProxy::NAME)
            .with_service_name(JOIN_TOKENS)
            .with_service_name("grpc.health.v1.Health")
            .build_v1()?;
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(ironic_tunnel::STREAM_WINDOW)
            .initial_connection_window_size(ironic_tunnel::CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(PING_PERIOD))
            .http2_keepalive_timeout(Some(PING_TIMEOUT));
        let router = server
            .layer(Bounds::new(&[]))
            .add_service(health_service)
            .add_service(reflection)
            .add_service(FleetServiceServer::new(self.services.api))
            .add_service(JoinTokenServiceServer::new(self.services.join_tokens))
            .add_service(self.services.proxy);
        let stopped = stop.cancelled_owned();
        let tls = self.tls.map(|tls| tls.server_tls());
        self.bound.serve(router, tls, stopped).await?;
        Ok(())
    }
}
