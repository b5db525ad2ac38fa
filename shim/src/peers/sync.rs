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
use super::wire::{LINES, UPDATE_PATH, Update};

/// How long one update may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses after a failure, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
        let (update, reached) = next(&peers, acknowledged);
        if update.claims.is_empty() && update.proofs.is_empty() {
            let news = changed(&mut claims, &mut proofs);
            stop.run_until_cancelled(news).await;
            continue;
        }
        match push(&peers, &url, &update).await {
            Ok(()) => {
                if pause > FIRST_PAUSE {
                    info!(gateway = %url, "the gateway can be reached again");
                }
                pause = FIRST_PAUSE;
                acknowledged = reached;
            }
            Err(error) => {
                if pause == FIRST_PAUSE {
                    warn!(gateway = %url, error = &error as &dyn std::error::Error,
                        "a gateway does not hear what is new here: it is tried again");
                }
                stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
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

fn next(peers: &Peers, acknowledged: Acknowledged) -> (Update, Acknowledged) {
    let (claims, claims_reached) = peers.claims_since(acknowledged.claims, LINES);
    let (proofs, proofs_reached) = peers.proofs().since(acknowledged.proofs, LINES);
    let update = Update {
        peer_url: peers.url().to_owned(),
        claims,
        proofs,
    };
    let reached = Acknowledged {
        claims: claims_reached,
        proofs: proofs_reached,
    };
    (update, reached)
}

async fn push(peers: &Peers, url: &str, update: &Update) -> Result<(), PushError> {
    let body = full_body(serde_json::to_vec(update)?);
    let mut request = Request::new(body);
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
