//! Many heartbeat sessions through a gateway, of which Ironic is away for a while: what arrives
//! at Ironic afterwards, and what the agents hear. The sessions are those of the protocol,
//! without agents around them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_agent_protocol::v1::{self, HeartbeatVerdict};
use tokio::task::JoinSet;

use crate::support::gateway::gateway_config;
use crate::support::ironic::{FakeIronic, Reply};
use crate::support::shim::{Session, Shim, found, hello};

const HEARTBEAT: &str = "/v1/heartbeat/";
const NODES: u32 = 300;

fn node(index: u32) -> String {
    format!("00000000-0000-4000-8000-{index:012}")
}

/// What one agent heard until a beat was accepted.
#[derive(Debug, Default)]
struct Heard {
    deferred: u32,
    failed: Vec<v1::HeartbeatResponse>,
}

/// Beats as an agent does: after DEFERRED again when the gateway says, up to a fifth later.
async fn beat_until_accepted(mut session: Session, index: u32) -> Heard {
    let mut heard = Heard::default();
    loop {
        let answer = session.beat().await.unwrap();
        match answer.verdict() {
            HeartbeatVerdict::Accepted => return heard,
            HeartbeatVerdict::Deferred => {
                heard.deferred += 1;
                let wait = Duration::try_from(answer.retry_after.unwrap()).unwrap();
                assert!(wait >= Duration::from_secs(1), "{answer:?}");
                let jitter = 1.0 + 0.2 * f64::from(index) / f64::from(NODES);
                tokio::time::sleep(wait.mul_f64(jitter)).await;
            }
            _ => heard.failed.push(answer),
        }
    }
}

/// All beat at once; answers what they heard.
async fn all_beat(shim: &Shim) -> Vec<Heard> {
    let mut sessions = Vec::new();
    let mut conductor = None;
    for index in 0..NODES {
        // A few agents of a proxy's on each connection.
        let mut client = match conductor.take() {
            Some(client) if index % 10 != 0 => client,
            _ => ConductorServiceClient::connect(shim.url.clone())
                .await
                .unwrap(),
        };
        let mut session = Session::open(&mut client).await.unwrap();
        conductor = Some(client);
        let greeting = v1::Hello {
            node_uuid: node(index),
            ..hello()
        };
        session.say(Message::Hello(greeting)).await;
        sessions.push(session);
    }
    let mut agents = JoinSet::new();
    for (index, session) in (0..NODES).zip(sessions) {
        agents.spawn(beat_until_accepted(session, index));
    }
    let all = tokio::time::timeout(Duration::from_secs(60), agents.join_all());
    all.await.expect("all are accepted")
}

/// The most of these in any window, and how many there are in the mean.
fn peak_and_mean(times: &[Instant], width: Duration) -> (f64, f64) {
    let count = |within: usize| f64::from(u32::try_from(within).unwrap());
    let within = |index: usize| {
        let window = times[index..].iter();
        window.take_while(|at| **at < times[index] + width).count()
    };
    let peak = (0..times.len()).map(within).max().unwrap();
    let span = times[times.len() - 1] - times[0];
    let mean = count(times.len()) * width.as_secs_f64() / span.as_secs_f64();
    (count(peak), mean)
}

#[tokio::test]
async fn agents_that_lose_ironic_at_once_come_back_as_a_flat_line() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    // Ironic says that it has no worker, and then hangs up.
    let busy = std::iter::repeat_n(Reply::error(503, "No free conductor workers"), 3);
    ironic.script(HEARTBEAT, busy.chain(std::iter::repeat_n(Reply::HangUp, 4)));
    ironic.accept_beats_of_all();
    let shim = Shim::start(gateway_config(&ironic, &state)).await;
    let heard = all_beat(&shim).await;

    assert!(
        heard.iter().all(|heard| heard.failed.is_empty()),
        "{heard:?}"
    );
    let deferred: u32 = heard.iter().map(|heard| heard.deferred).sum();
    assert!(deferred >= NODES / 2, "{deferred}");
    let accepted: Vec<_> = ironic.accepted_beats();
    let mut beats: HashMap<_, u32> = HashMap::new();
    for (_, path) in &accepted {
        *beats.entry(path.clone()).or_default() += 1;
    }
    assert_eq!(
        beats.len(),
        usize::try_from(NODES).unwrap(),
        "each node is heard"
    );
    assert!(beats.values().all(|count| *count == 1), "{beats:?}");
    assert_eq!(ironic.most_of_one_node(), 1);
    let times: Vec<_> = accepted.into_iter().map(|(at, _)| at).collect();
    let (peak, mean) = peak_and_mean(&times, Duration::from_millis(100));
    println!("{NODES} nodes: peak {peak}, mean {mean:.1} in 100 ms");
    // Without a pace it is all of them. A machine that is busy hands some over late.
    assert!(
        peak <= 4.0 * mean,
        "{peak} in 100 ms, {mean:.1} in the mean"
    );
}

#[tokio::test]
async fn a_lookup_that_ironic_is_too_busy_for_is_deferred() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    ironic.script("/v1/lookup", [Reply::error(503, "Service Unavailable")]);
    let mut shim = Shim::start(gateway_config(&ironic, &state)).await;
    let retry = crate::support::shim::retry(shim.lookup().await);
    let wait = Duration::try_from(retry.retry_after.unwrap()).unwrap();
    assert!((5..=10).contains(&wait.as_secs()), "{retry:?}");
    assert!(retry.reason.contains("503"), "{retry:?}");
    // An unknown machine is not Ironic's lack of time.
    ironic.script("/v1/lookup", [Reply::error(404, "Node not found")]);
    let retry = crate::support::shim::retry(shim.lookup_for(&["52:54:00:00:00:01"], "").await);
    assert_eq!(retry.retry_after, None, "{retry:?}");
    // The machine that was deferred is early, and nobody else waits.
    found(shim.lookup().await);
}

#[tokio::test]
async fn two_sessions_of_a_node_have_one_beat_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let late = std::sync::Arc::new(tokio::sync::Notify::new());
    ironic.script(HEARTBEAT, [Reply::Late(late.clone())]);
    let mut shim = Shim::start(gateway_config(&ironic, &state)).await;
    let mut first = shim.session(hello()).await.unwrap();
    first.send_beat().await;
    ironic.wait_for(HEARTBEAT, 1).await;
    let mut second = shim.session(hello()).await.unwrap();
    second.send_beat().await;
    // The second waits for the first, and is not heard in the meantime.
    let early = tokio::time::timeout(Duration::from_millis(300), second.hear()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(ironic.seen(HEARTBEAT).len(), 1);
    late.notify_one();
    for session in [&mut first, &mut second] {
        let verdict = session.hear().await.unwrap().verdict();
        assert_eq!(verdict, HeartbeatVerdict::Accepted);
    }
}
