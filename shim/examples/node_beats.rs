//! Sends heartbeats of many nodes to a gateway, as many as it answers:
//! `node_beats URL NODES AUTHORITIES CERTIFICATE KEY`, where URL is its `conductor_listen` with TLS,
//! `https://HOST:PORT`, and the last three are PEM files.
//!
//! Each node has a connection and a heartbeat session of its own. It sends the next beat when the last
//! one is answered, or after the time for which that one was deferred, until this program is ended. The
//! nodes are those of the example `fleet`, whose stand-in for Ironic counts the beats.
//! `tests/bench/gateway` runs it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{Dialer, TlsFiles};
use ironic_tunnel::Pings;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name: &'static str| arguments.next().context(format!("{name} is missing"));
    let endpoint = Endpoint::Https(argument("URL")?);
    let nodes: u32 = argument("NODES")?
        .parse()
        .context("NODES is not a number")?;
    let files = TlsFiles {
        authorities: Some(PathBuf::from(argument("AUTHORITIES")?)),
        certificate: Some(PathBuf::from(argument("CERTIFICATE")?)),
        key: Some(PathBuf::from(argument("KEY")?)),
    };
    let dialer = Arc::new(Dialer::new(&endpoint, &files)?);
    let mut sessions = JoinSet::new();
    for number in 0..nodes {
        sessions.spawn(beat(Arc::clone(&dialer), number));
    }
    while let Some(ended) = sessions.join_next().await {
        ended??;
    }
    Ok(())
}

/// Sends the beats of one node. Ends only by an error.
async fn beat(dialer: Arc<Dialer>, number: u32) -> anyhow::Result<()> {
    let socket = dialer.dial(DIAL_TIMEOUT, |_| {}).await?;
    let (channel, driver) = ironic_tunnel::connect(socket, Pings::Never).await?;
    tokio::spawn(driver);
    let mut conductor = ConductorServiceClient::with_origin(channel, dialer.authority());
    let (requests, received) = mpsc::channel(1);
    let send = async |message| {
        let message = Some(message);
        requests.send(v1::HeartbeatRequest { message }).await
    };
    send(Message::Hello(v1::Hello {
        node_uuid: format!("00000000-0000-4000-8000-0000{number:08x}"),
        agent_token: format!("token-of-the-simulated-machine-{number:08x}"),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        ..v1::Hello::default()
    }))
    .await?;
    let answers = conductor.heartbeat(ReceiverStream::new(received)).await?;
    let mut answers = answers.into_inner();
    for sequence in 1.. {
        send(Message::Beat(v1::Beat {
            sequence,
            ..v1::Beat::default()
        }))
        .await?;
        let answer = loop {
            let answer = answers.message().await?.context("the session has ended")?;
            // Sequence 0 keeps the session alive.
            if answer.sequence == sequence {
                break answer;
            }
        };
        match answer.verdict() {
            v1::HeartbeatVerdict::Accepted => {}
            v1::HeartbeatVerdict::Deferred => {
                let retry_after = answer.retry_after.unwrap_or_default();
                tokio::time::sleep(retry_after.try_into()?).await;
            }
            _ => anyhow::bail!("beat {sequence} of node {number}: {answer:?}"),
        }
    }
    Ok(())
}
