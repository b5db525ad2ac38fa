//! Sends one other replica what is new here: which tokens were proved and which agents attached.
//! Directly, over mutual TLS: a message of the directory proves nothing. A replica that appears
//! gets everything.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Peers;
use super::connection::{Unreachable, full_body};
use super::wire::{LINES, MAX_UPDATE_BYTES, UPDATE_PATH, Update};

/// How long one update may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses after a failure, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Why a replica did not take an update.
#[derive(Debug, Error)]
enum PushError {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("the connection broke")]
    Lost(#[from] hyper::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("it did not answer in time")]
    TimedOut,
    #[error("the update cannot be written")]
    Unwritable(#[from] serde_json::Error),
}

/// How far a replica knows what happened here.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Acknowledged {
    claims: u64,
    proofs: u64,
}

/// Keeps a replica up to date until `stop`.
pub(super) async fn run(peers: Peers, url: Arc<str>, stop: CancellationToken) {
    let mut acknowledged = Acknowledged::default();
    let (mut claims, mut proofs) = peers.revisions();
    let mut pause = FIRST_PAUSE;
    // Goal: the replica knows what is known here. Exit: the replica is gone, or this one stops.
    while !stop.is_cancelled() {
        // What changes from here on is seen by `changed`.
        claims.borrow_and_update();
        proofs.borrow_and_update();
        let Some(update) = next(&peers, acknowledged, MAX_UPDATE_BYTES) else {
            let news = changed(&mut claims, &mut proofs);
            stop.run_until_cancelled(news).await;
            continue;
        };
        let pushed = match update.body {
            Ok(body) => push(&peers, &url, body).await,
            Err(error) => Err(error.into()),
        };
        match pushed {
            Ok(()) => {
                if pause > FIRST_PAUSE {
                    info!(gateway = %url, "the gateway can be reached again");
                }
                pause = FIRST_PAUSE;
                acknowledged = update.reached;
            }
            Err(error) => {
                if pause == FIRST_PAUSE {
                    warn!(gateway = %url, error = &error as &dyn std::error::Error,
                        "a gateway does not hear what is new here: it is tried again");
                }
                stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

async fn changed(claims: &mut watch::Receiver<u64>, proofs: &mut watch::Receiver<u64>) {
    // The senders live as long as this replica.
    tokio::select! {
        _ = claims.changed() => {}
        _ = proofs.changed() => {}
    }
}

/// An update as it is sent.
struct WrittenUpdate {
    body: Result<Vec<u8>, serde_json::Error>,
    /// How far the replica knows what happened here when it has taken this.
    reached: Acknowledged,
}

/// What the replica does not know yet, in at most `most` bytes; nothing if there is nothing. Who
/// attaches chooses how long a line is: a replica that refused one for its length would hear nothing of the
/// other nodes either.
fn next(peers: &Peers, acknowledged: Acknowledged, most: usize) -> Option<WrittenUpdate> {
    let mut lines = LINES;
    // Goal: as many lines as fit. Exit: they do, or it is one of each kind, which fits: what an
    // agent says of itself is short.
    loop {
        let (claims, claims_reached) = peers.claims_since(acknowledged.claims, lines);
        let (proofs, proofs_reached) = peers.proofs().since(acknowledged.proofs, lines);
        if claims.is_empty() && proofs.is_empty() {
            return None;
        }
        let update = Update {
            peer_url: peers.url().to_owned(),
            claims,
            proofs,
        };
        let body = serde_json::to_vec(&update);
        let fits = body.as_ref().is_ok_and(|body| body.len() <= most);
        if fits || body.is_err() || lines == 1 {
            let reached = Acknowledged {
                claims: claims_reached,
                proofs: proofs_reached,
            };
            return Some(WrittenUpdate { body, reached });
        }
        lines /= 2;
    }
}

async fn push(peers: &Peers, url: &str, body: Vec<u8>) -> Result<(), PushError> {
    let mut request = Request::new(full_body(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(UPDATE_PATH);
    let sending = async {
        let sender = peers.connections().to(url).await?;
        let response = sender.send(request).await?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(()),
            status => Err(PushError::Refused(status)),
        }
    };
    let sent = tokio::time::timeout(TIMEOUT, sending).await;
    sent.unwrap_or(Err(PushError::TimedOut))
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::agents::{AgentRegistry, AttachmentId, Proofs};
    use crate::metrics::Metrics;
    use crate::peers::tls::{PeerTls, testing};
    use crate::peers::wire::Presence;

    fn peers(files: &tempfile::TempDir) -> Peers {
        let presence = Presence {
            replica: "r".into(),
            peer_url: "https://r".into(),
            gateway_url: "https://gw".into(),
            verify_ca_sha256: None,
        };
        let agents = AgentRegistry::of_gateway(Proofs::default(), Metrics::new(), None);
        let tls = PeerTls::load(testing::files(files.path()), None).unwrap();
        Peers::new(presence, agents, tls, CancellationToken::new())
    }

    #[test]
    fn long_lines_come_in_more_updates_and_none_is_left_out() {
        let files = tempfile::tempdir().unwrap();
        let peers = peers(&files);
        let node = |number: usize| format!("node-{number}");
        for number in 0..100 {
            // Each of these characters is written as six.
            let boot_id = if number % 10 == 0 {
                "\u{1}".repeat(255)
            } else {
                "b".into()
            };
            peers.attached(
                &node(number),
                &AttachmentId {
                    boot_id,
                    counter: 1,
                },
            );
            peers.proofs().prove(&node(number), "token");
        }
        let (mut acknowledged, mut updates) = (Acknowledged::default(), 0);
        let (mut claims, mut proofs) = (Vec::new(), Vec::new());
        while let Some(update) = next(&peers, acknowledged, 4096) {
            let body = update.body.unwrap();
            assert!(body.len() <= 4096, "{}", body.len());
            let read: Update = serde_json::from_slice(&body).unwrap();
            claims.extend(read.claims.into_iter().map(|line| line.node_uuid));
            proofs.extend(read.proofs.into_iter().map(|line| line.node_uuid));
            acknowledged = update.reached;
            updates += 1;
        }
        let all: Vec<_> = (0..100).map(node).collect();
        assert_eq!((&claims, &proofs), (&all, &all));
        assert!((5..50).contains(&updates), "{updates}");
        let whole = next(&peers, Acknowledged::default(), MAX_UPDATE_BYTES).unwrap();
        assert!(next(&peers, whole.reached, MAX_UPDATE_BYTES).is_none());
    }
}
