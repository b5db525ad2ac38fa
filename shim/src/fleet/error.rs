//! Why a request to the fleet fails, and the status that says so.

use std::collections::HashMap;
use std::error::Error as StdError;

use ironic_text::error_chain;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::agents::attachment::Away;

/// The domain of the reasons.
const DOMAIN: &str = "ironic.agent.v1";

/// Why a request to the fleet fails. The reasons are those that `fleet_service.proto` documents.
#[derive(Debug, Error)]
pub enum FleetError {
    /// No node has this UUID or name.
    #[error("no node of this gateway has the UUID or name {0:?}: ListNodes names them")]
    NodeNotFound(String),
    /// Several nodes have this name.
    #[error("{name:?} is the name of several nodes ({}): say the UUID", .nodes.join(", "))]
    NameAmbiguous {
        /// The name.
        name: String,
        /// The first of them by UUID.
        nodes: Vec<String>,
    },
    /// A call of `CommandService` does not say which node is meant.
    #[error("the metadata key node-uuid is missing: it says which node is meant, by UUID or name")]
    NodeUuidMissing,
    /// A page token is not one of this service.
    #[error("page_token is not what a ListNodes answered as next_page_token")]
    PageToken,
    /// No inspection report is kept of the node.
    #[error("the gateway has taken no inspection report of node {0}")]
    NoInspection(String),
    /// The changes after a resume token are not kept, or it is not of this process.
    #[error("the changes since resume_token are not known any more: watch again without a token")]
    WatchExpired,
    /// A watcher does not read what it is sent.
    #[error("the watcher is too slow: watch again from the last resume_token that was answered")]
    WatcherSlow,
    /// Another policy counts, so that the caller may see other nodes.
    #[error("another policy says who may see which nodes: watch again without a token")]
    PolicyChanged,
    /// The gateway ends.
    #[error("the gateway stops: watch again at another one, or here when it is back")]
    GatewayStopping,
    /// The caller does not have the role that the request needs.
    #[error(
        "{} does not have the role {role}{}, which {wanted} needs: fleet_policy_file says who has it",
        named(.caller), for_node(.node.as_deref())
    )]
    RoleMissing {
        /// The caller; empty without a certificate.
        caller: String,
        /// The role.
        role: &'static str,
        /// What is asked for: a verb's name, or the path of a method.
        wanted: String,
        /// The node that is meant; `None` if the request is about none.
        node: Option<String>,
    },
    /// An order is not what it must be.
    #[error(
        "the request is not a single message of {method}, uncompressed and of at most {largest} MiB"
    )]
    OrderUnreadable {
        /// The path of the method.
        method: String,
        /// What it may have at most.
        largest: usize,
    },
    /// There are as many watchers as there may be.
    #[error("too many callers watch the nodes: try later")]
    TooManyWatchers,
    /// The agent is not attached.
    #[error("node {node}: {away}; nothing was done")]
    Away {
        /// The node.
        node: String,
        /// Why nobody waits any longer.
        #[source]
        away: Away,
    },
    /// The machine was handed over or locked down.
    #[error("node {0} was handed over or locked down: it is served again after its next boot")]
    Closed(String),
    /// The connection to the agent was lost during a call.
    #[error("the connection to node {node} was lost, and its agent may have done what was asked")]
    Lost {
        /// The node.
        node: String,
        /// What the transport says.
        source: Box<dyn StdError + Send + Sync>,
    },
}

fn named(caller: &str) -> &str {
    if caller.is_empty() {
        "a caller without a certificate"
    } else {
        caller
    }
}

fn for_node(node: Option<&str>) -> String {
    node.map(|node| format!(" for node {node}"))
        .unwrap_or_default()
}

impl FleetError {
    /// The code of its status, and the reason.
    pub(super) fn code(&self) -> (Code, &'static str) {
        match self {
            Self::NodeNotFound(_) => (Code::NotFound, "NODE_NOT_FOUND"),
            Self::NameAmbiguous { .. } => (Code::FailedPrecondition, "NODE_NAME_AMBIGUOUS"),
            Self::NodeUuidMissing => (Code::InvalidArgument, "NODE_UUID_MISSING"),
            Self::PageToken => (Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            Self::NoInspection(_) => (Code::NotFound, "NO_INSPECTION"),
            Self::WatchExpired => (Code::OutOfRange, "WATCH_EXPIRED"),
            Self::WatcherSlow => (Code::ResourceExhausted, "WATCHER_SLOW"),
            Self::PolicyChanged => (Code::Aborted, "POLICY_CHANGED"),
            Self::GatewayStopping => (Code::Unavailable, "GATEWAY_STOPPING"),
            Self::RoleMissing { .. } => (Code::PermissionDenied, "ROLE_MISSING"),
            Self::OrderUnreadable { .. } => (Code::InvalidArgument, "ORDER_UNREADABLE"),
            Self::TooManyWatchers => (Code::ResourceExhausted, "TOO_MANY_WATCHERS"),
            Self::Away {
                away: Away::TimedOut,
                ..
            } => (Code::Unavailable, "NODE_AWAY"),
            Self::Away {
                away: Away::Elsewhere,
                ..
            } => (Code::Unavailable, "NODE_ELSEWHERE"),
            Self::Away {
                away: Away::TooMany,
                ..
            } => (Code::ResourceExhausted, "TOO_MANY_WAITING"),
            Self::Closed(_) => (Code::FailedPrecondition, "NODE_CLOSED"),
            Self::Lost { .. } => (Code::Unavailable, "NODE_LOST"),
        }
    }

    fn node(&self) -> Option<&str> {
        match self {
            Self::NodeNotFound(node)
            | Self::NameAmbiguous { name: node, .. }
            | Self::NoInspection(node)
            | Self::Away { node, .. }
            | Self::Closed(node)
            | Self::Lost { node, .. } => Some(node),
            Self::RoleMissing { node, .. } => node.as_deref(),
            _ => None,
        }
    }
}

/// A status with a reason, and nothing else that programs read.
pub(super) fn status(code: Code, reason: &str, text: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    Status::with_error_details(code, text, details)
}

impl From<FleetError> for Status {
    fn from(error: FleetError) -> Self {
        let (code, reason) = error.code();
        let node = error
            .node()
            .map(|node| ("node".to_owned(), node.to_owned()));
        let mut metadata: HashMap<String, String> = node.into_iter().collect();
        if let FleetError::RoleMissing { caller, role, .. } = &error {
            metadata.insert("role".to_owned(), (*role).to_owned());
            metadata.insert("caller".to_owned(), caller.clone());
        }
        let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        Self::with_error_details(code, error_chain(&error), details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_documented_reason() {
        let proto = include_str!("../../../proto/ironic/agent/v1/fleet_service.proto");
        let node = || "n".to_owned();
        for error in [
            FleetError::NodeNotFound(node()),
            FleetError::NameAmbiguous {
                name: node(),
                nodes: vec!["a".into(), "b".into()],
            },
            FleetError::NodeUuidMissing,
            FleetError::PageToken,
            FleetError::NoInspection(node()),
            FleetError::WatchExpired,
            FleetError::WatcherSlow,
            FleetError::TooManyWatchers,
            FleetError::PolicyChanged,
            FleetError::GatewayStopping,
            FleetError::RoleMissing {
                caller: String::new(),
                role: "observer",
                wanted: String::new(),
                node: None,
            },
            FleetError::OrderUnreadable {
                method: String::new(),
                largest: 1,
            },
            FleetError::Away {
                node: node(),
                away: Away::TimedOut,
            },
            FleetError::Away {
                node: node(),
                away: Away::TooMany,
            },
            FleetError::Away {
                node: node(),
                away: Away::Elsewhere,
            },
            FleetError::Closed(node()),
            FleetError::Lost {
                node: node(),
                source: "reset".into(),
            },
        ] {
            let status = Status::from(error);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.domain, DOMAIN);
            let documented = format!("`{}`", info.reason);
            assert!(proto.contains(&documented), "{documented}");
        }
    }
}
