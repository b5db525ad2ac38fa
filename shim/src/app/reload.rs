//! Certificates, keys and the policy of a gateway, read again while it serves.

use anyhow::Context;
use ironic_transport::grpc::ServerTlsError;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::fleet::{FleetAccess, FleetTls};
use crate::gateway::Gateway;
use crate::relay::{self, ListenerTls};

/// Reads certificates again at each SIGHUP. Ends only if the signal cannot be waited for.
pub(super) async fn reload_on_hangup(
    certificates: Option<GatewayCertificates>,
) -> anyhow::Result<()> {
    let Some(certificates) = certificates else {
        return std::future::pending().await;
    };
    let mut hangups = signal(SignalKind::hangup()).context("SIGHUP cannot be waited for")?;
    // Goal: one reload for each signal. Exit: the program ends.
    while hangups.recv().await.is_some() {
        if let Err(error) = certificates.reload() {
            warn!(
                error = AsRef::<dyn std::error::Error>::as_ref(&error),
                "certificates cannot be read again: the earlier ones stay"
            );
        }
    }
    std::future::pending().await
}

/// The certificates of a gateway's listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GatewayCertificates {
    pub(super) gateway: Gateway,
    pub(super) agents: Option<ListenerTls>,
    pub(super) fleet: Vec<FleetTls>,
    pub(super) access: Option<FleetAccess>,
}

impl GatewayCertificates {
    /// Reads the files of every listener again: all of them count from now on, or none. The policy
    /// is read again on its own.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn reload(&self) -> anyhow::Result<()> {
        if let Some(access) = &self.access {
            access.refresh();
        }
        let fleet = self.fleet.iter();
        let fleet = fleet.map(|tls| Ok::<_, ServerTlsError>((tls, tls.read_again()?)));
        let fleet = fleet.collect::<Result<Vec<_>, _>>()?;
        let agents = self.agents.as_ref();
        let agents = agents.map(|tls| Ok::<_, relay::ListenerTlsError>((tls, tls.read_again()?)));
        let agents = agents.transpose()?;
        self.gateway.reload()?;
        if let Some((tls, loaded)) = agents {
            tls.apply(loaded);
        }
        for (tls, loaded) in fleet {
            tls.apply(loaded);
        }
        info!("certificates and keys were read again");
        Ok(())
    }
}
