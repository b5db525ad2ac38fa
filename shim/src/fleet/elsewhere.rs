//! Shows which nodes are attached to other gateways that share them.

use tokio::sync::broadcast::error::RecvError;

use super::handle::Fleet;
use crate::peers::Peers;

/// Keeps up with where nodes are. Ends with the other gateways.
pub(super) async fn follow(fleet: Fleet, peers: Peers) {
    let mut moves = peers.moves();
    look_at_all(&fleet, &peers);
    // Goal: each node is shown where it is. Exit: nothing moves any more.
    loop {
        match moves.recv().await {
            Ok(node) => look(&fleet, &peers, &node),
            Err(RecvError::Lagged(_)) => look_at_all(&fleet, &peers),
            Err(RecvError::Closed) => return,
        }
    }
}

fn look(fleet: &Fleet, peers: &Peers, node_uuid: &str) {
    fleet.elsewhere(node_uuid, peers.gateway_of(node_uuid).as_deref());
}

fn look_at_all(fleet: &Fleet, peers: &Peers) {
    let shown = fleet.nodes_elsewhere();
    for node in peers.nodes_elsewhere().iter().chain(&shown) {
        look(fleet, peers, node);
    }
}
