//! The upstream that answers for the nodes: Ironic, or this program if no Ironic is configured.

use std::sync::Arc;

use ironic_agent_protocol::v1;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::ironic::{Beat, BeatAnswer, InspectionAnswer, Ironic, LookupAnswer};
use crate::registrar::{MachineIdentity, Registrar};

/// The upstream that answers for the nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// The Ironic API.
    Ironic(Arc<Ironic>),
    /// This program, from node files.
    Registrar(Registrar),
}

impl Upstream {
    /// Which node a machine is. `certified` is the node of its certificate, if it has one.
    pub(super) async fn lookup(
        &self,
        certified: Option<&str>,
        request: v1::LookupRequest,
    ) -> LookupAnswer {
        let node_uuid = Some(request.node_uuid).filter(|uuid| !uuid.is_empty());
        match self {
            Self::Ironic(ironic) => {
                // A certificate says which node it is, whatever the addresses.
                let node_uuid = certified.or(node_uuid.as_deref());
                ironic.lookup(&request.addresses, node_uuid).await
            }
            Self::Registrar(registrar) => {
                let registrar = registrar.clone();
                let machine = MachineIdentity {
                    macs: request.addresses,
                    system_uuid: request.system_uuid,
                    serial_number: request.serial_number,
                };
                // It may note the machine in a file.
                let answer = tokio::task::spawn_blocking(move || {
                    registrar.lookup(&machine, node_uuid.as_deref())
                });
                answer.await.unwrap_or_else(|_| LookupAnswer::Retry {
                    status: None,
                    reason: "the gateway stops".to_owned(),
                })
            }
        }
    }

    /// What becomes of a heartbeat.
    pub(super) async fn heartbeat(&self, beat: Beat<'_>) -> BeatAnswer {
        match self {
            Self::Ironic(ironic) => ironic.heartbeat(beat).await,
            Self::Registrar(registrar) => {
                registrar.beat(beat.node_uuid, beat.agent_token.unwrap_or_default())
            }
        }
    }

    /// What becomes of an inspection report. `certified` is the node of its sender's certificate, if it
    /// has one. Ironic finds the node by itself.
    pub(super) async fn submit_inspection(
        &self,
        certified: Option<&str>,
        report: Map<String, Value>,
        system_uuid: String,
    ) -> InspectionAnswer {
        match self {
            Self::Ironic(ironic) => ironic.submit_inspection(&report.into()).await,
            Self::Registrar(registrar) => {
                let registrar = registrar.clone();
                let certified = certified.map(str::to_owned);
                let answer = tokio::task::spawn_blocking(move || {
                    registrar.inspect(report, system_uuid, certified.as_deref())
                });
                let stopping = |_| InspectionAnswer::Retry("the gateway stops".to_owned());
                answer.await.unwrap_or_else(stopping)
            }
        }
    }

    /// Whether Ironic answered the last time; `None` where there is no Ironic.
    pub(super) fn reachable(&self) -> Option<watch::Receiver<Option<bool>>> {
        match self {
            Self::Ironic(ironic) => Some(ironic.reachable()),
            Self::Registrar(_) => None,
        }
    }

    /// Whether Ironic answers.
    #[must_use]
    pub fn is_ironic(&self) -> bool {
        matches!(self, Self::Ironic(_))
    }
}
