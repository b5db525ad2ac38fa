//! Answers agents where there is no Ironic: which node a machine is, its token, its heartbeats
//! and its inspection reports.
//!
//! Nodes are described by files ([`node_file`]) in a directory ([`node_directory`]), which is
//! read again when it changes; [`node_index`] knows which of them a machine is. With `--admit
//! open` any other machine is taken, too, under the UUID that its firmware says
//! ([`enrolments`]). In front of Ironic the files only name and label the nodes.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ironic_program::MASKED_TOKEN;
use ironic_text::error_chain;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::agents::Proofs;
use crate::fleet::{Fleet, Inspections};
use crate::ironic::{BeatAnswer, Found, InspectionAnswer, LookupAnswer, LookupConfig};

pub mod enrolments;
pub mod node_directory;
pub mod node_file;
pub mod node_index;

use enrolments::{AdmissionError, Enrolments};
use node_directory::NodeDirectory;
use node_index::{NodeIndex, NodeMatch};

pub use node_index::MachineIdentity;

/// How often the directory is looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// The longest time between two heartbeats, as in Ironic.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(300);

/// Why nodes cannot be described.
#[derive(Debug, Error)]
pub enum RegistrarError {
    /// The directory of node files cannot be read.
    #[error("option node_dir: {path} cannot be read")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The machines that were taken before are not known.
    #[error("option state_dir: enrolled-nodes.jsonl in {path} cannot be read")]
    Enrolments {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Why a machine is no node.
#[derive(Debug, Error)]
enum UnknownMachine {
    #[error("the machine with {machine} could be any of the nodes {nodes}: mend their files")]
    Ambiguous {
        machine: MachineIdentity,
        nodes: String,
    },
    #[error(
        "no file in {directory} describes the machine with {machine}: add one that has any of these"
    )]
    NotDescribed {
        machine: MachineIdentity,
        directory: PathBuf,
    },
    #[error("the machine with {0} has no system UUID to be its node's: describe it in node_dir")]
    NoSystemUuid(MachineIdentity),
    #[error("the machine cannot be taken")]
    Enrolment(#[from] AdmissionError),
}

/// What a registrar needs.
#[derive(Debug)]
pub struct RegistrarSettings {
    /// The directory of node files.
    pub node_dir: Option<PathBuf>,
    /// Where machines are noted that are taken without a description; `None` takes none.
    pub open_state: Option<PathBuf>,
}

/// Knows which node a machine is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registrar(Arc<RegistrarState>);

#[derive(Debug)]
struct RegistrarState {
    index: RwLock<NodeIndex>,
    enrolments: Option<Enrolments>,
    node_dir: Option<PathBuf>,
    proofs: Proofs,
    fleet: Fleet,
    inspections: Inspections,
}

/// The node that a machine is.
struct RegisteredNode {
    uuid: String,
    name: String,
    properties: Map<String, Value>,
}

impl Registrar {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read; a file that is wrong is logged and left out.
    pub fn open(
        settings: RegistrarSettings,
        proofs: Proofs,
        fleet: Fleet,
        inspections: Inspections,
    ) -> Result<(Self, Option<NodeDirectory>), RegistrarError> {
        let enrolments = match settings.open_state {
            Some(state) => {
                Some(
                    Enrolments::open(&state).map_err(|source| RegistrarError::Enrolments {
                        path: state,
                        source,
                    })?,
                )
            }
            None => None,
        };
        for (uuid, name) in enrolments.iter().flat_map(Enrolments::all) {
            fleet.describe(&uuid, &name, &std::collections::HashMap::new());
        }
        let registrar = Self(Arc::new(RegistrarState {
            index: RwLock::default(),
            enrolments,
            node_dir: settings.node_dir.clone(),
            proofs,
            fleet,
            inspections,
        }));
        let mut directory = settings.node_dir.as_deref().map(NodeDirectory::new);
        if let Some(directory) = &mut directory {
            let path = || settings.node_dir.clone().unwrap_or_default();
            registrar
                .refresh(directory)
                .map_err(|source| RegistrarError::Directory {
                    path: path(),
                    source,
                })?;
        }
        Ok((registrar, directory))
    }

    /// Reads files again when they change. Never ends.
    pub async fn keep_up(self, directory: NodeDirectory) {
        let mut directory = directory;
        let mut is_readable = true;
        loop {
            tokio::time::sleep(PERIOD).await;
            let registrar = self.clone();
            let refreshing = tokio::task::spawn_blocking(move || {
                let refreshed = registrar.refresh(&mut directory);
                (directory, refreshed)
            });
            let Ok((same, refreshed)) = refreshing.await else {
                // The task panicked, or the runtime ends.
                error!("the node files are not read again: restart the gateway");
                return std::future::pending().await;
            };
            directory = same;
            if let Err(error) = &refreshed
                && is_readable
            {
                warn!(%error, "option node_dir cannot be read: the nodes stay as they were");
            }
            is_readable = refreshed.is_ok();
        }
    }

    fn refresh(&self, directory: &mut NodeDirectory) -> std::io::Result<()> {
        let found = directory.refresh()?;
        for error in &found.errors {
            warn!(error = %error_chain(error), "a node file is wrong: its nodes stay as they were");
        }
        if found.is_changed {
            self.replace(NodeIndex::new(directory.nodes()));
        }
        Ok(())
    }

    fn replace(&self, (index, shared): (NodeIndex, Vec<node_index::SharedIdentity>)) {
        for shared in shared {
            warn!(%shared, "node files contradict each other");
        }
        let fleet = &self.0.fleet;
        for node in index.nodes() {
            fleet.describe(&node.uuid, &node.name, &node.labels);
        }
        info!(nodes = index.nodes().count(), "node files");
        let before = std::mem::replace(
            &mut *self.0.index.write().unwrap_or_else(PoisonError::into_inner),
            index,
        );
        let index = self.0.index.read().unwrap_or_else(PoisonError::into_inner);
        for gone in before
            .nodes()
            .filter(|node| index.get(&node.uuid).is_none())
        {
            fleet.undescribe(&gone.uuid);
        }
    }

    /// Which node a machine is. `node_uuid` is what an agent says that has its token already,
    /// and wants to know the node again.
    #[must_use]
    pub fn lookup(&self, machine: &MachineIdentity, node_uuid: Option<&str>) -> LookupAnswer {
        let node = match self.find(machine) {
            Ok(node) => node,
            Err(reason) => {
                return LookupAnswer::Retry {
                    status: None,
                    reason: error_chain(&reason),
                };
            }
        };
        let token = if node_uuid == Some(node.uuid.as_str()) {
            MASKED_TOKEN.to_owned()
        } else if self.0.fleet.is_attached(&node.uuid) {
            // Another machine, or this one before its old connection was given up.
            let uuid = &node.uuid;
            let reason = format!(
                "node {uuid} is attached: it gets a new token when that connection has ended"
            );
            return LookupAnswer::Retry {
                status: None,
                reason,
            };
        } else {
            new_token()
        };
        LookupAnswer::Found(Box::new(Found {
            without_ironic: true,
            node_uuid: node.uuid.clone(),
            node: document(node),
            heartbeat_timeout: HEARTBEAT_TIMEOUT,
            config: LookupConfig {
                agent_token: Some(token),
                ..LookupConfig::default()
            },
        }))
    }

    /// The node of a machine, or why there is none.
    fn find(&self, machine: &MachineIdentity) -> Result<RegisteredNode, UnknownMachine> {
        let found = {
            let index = self.0.index.read();
            index.unwrap_or_else(PoisonError::into_inner).find(machine)
        };
        match found {
            NodeMatch::One(node) => Ok(RegisteredNode {
                uuid: node.uuid.clone(),
                name: node.name.clone(),
                properties: node.properties.clone(),
            }),
            NodeMatch::Several(nodes) => {
                let nodes: Vec<_> = nodes
                    .iter()
                    .map(|node| format!("{} ({})", node.uuid, node.location))
                    .collect();
                Err(UnknownMachine::Ambiguous {
                    machine: machine.clone(),
                    nodes: nodes.join(", "),
                })
            }
            NodeMatch::Unknown => self.enrol(machine),
        }
    }

    fn enrol(&self, machine: &MachineIdentity) -> Result<RegisteredNode, UnknownMachine> {
        let Some(enrolments) = &self.0.enrolments else {
            let directory = self.0.node_dir.clone();
            return Err(UnknownMachine::NotDescribed {
                machine: machine.clone(),
                directory: directory.unwrap_or_default(),
            });
        };
        let uuid = Uuid::try_parse(&machine.system_uuid)
            .map_err(|_| UnknownMachine::NoSystemUuid(machine.clone()))?;
        let uuid = uuid.hyphenated().to_string();
        let name = enrolments.enrol(&uuid)?;
        let no_labels = std::collections::HashMap::new();
        self.0.fleet.describe(&uuid, &name, &no_labels);
        Ok(RegisteredNode {
            uuid,
            name,
            properties: Map::new(),
        })
    }

    /// Answers a heartbeat: it counts if this program has handed its token out.
    #[must_use]
    pub fn beat(&self, node_uuid: &str, token: &str) -> BeatAnswer {
        if self.0.proofs.is_proved(node_uuid, token) {
            return BeatAnswer::Accepted;
        }
        BeatAnswer::Refused {
            status: 401,
            reason: "this gateway has not handed out the token of the session: restart the agent \
                     without its state directory, and it looks its node up again"
                .to_owned(),
        }
    }

    /// Keeps the inspection report of the machine with this UUID of SMBIOS. `certified` is the node of
    /// its certificate, if it has one: it must not overwrite the report of another. Blocks.
    #[must_use]
    pub fn inspect(
        &self,
        report: Map<String, Value>,
        system_uuid: String,
        certified: Option<&str>,
    ) -> InspectionAnswer {
        let node = match self.find(&machine_of(&report, system_uuid)) {
            Ok(node) => node,
            Err(reason) => return InspectionAnswer::Refused(error_chain(&reason)),
        };
        if let Some(certified) = certified.filter(|certified| *certified != node.uuid) {
            return InspectionAnswer::Refused(format!(
                "the certificate is that of node {certified}, and the report that of node {}",
                node.uuid
            ));
        }
        match self.0.inspections.keep(&node.uuid, report) {
            Ok(()) => {
                self.0.fleet.inspected(&node.uuid);
                InspectionAnswer::Accepted(None)
            }
            Err(error) => InspectionAnswer::Retry(error_chain(&error)),
        }
    }
}

/// The node as an agent is told it.
fn document(node: RegisteredNode) -> Map<String, Value> {
    let document = json!({
        "uuid": node.uuid,
        "name": node.name,
        "properties": node.properties,
        "instance_info": {},
        "driver_internal_info": {},
    });
    match document {
        Value::Object(document) => document,
        _ => Map::new(),
    }
}

/// 64 characters of which 244 bits are random.
fn new_token() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// What an inspection report, and what came with it, says about its machine.
fn machine_of(report: &Map<String, Value>, system_uuid: String) -> MachineIdentity {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let inventory = report.get("inventory");
    let interfaces = inventory.and_then(|inventory| inventory.get("interfaces"));
    let interfaces = interfaces.and_then(Value::as_array);
    let vendor = inventory.and_then(|inventory| inventory.get("system_vendor"));
    MachineIdentity {
        macs: interfaces
            .into_iter()
            .flatten()
            .map(|interface| text(interface.get("mac_address")))
            .filter(|mac| !mac.is_empty())
            .collect(),
        system_uuid,
        serial_number: text(vendor.and_then(|vendor| vendor.get("serial_number"))),
    }
}

#[cfg(test)]
mod tests;
