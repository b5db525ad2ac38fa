//! Agents that listen nowhere, behind a gateway: the real agent and the real shim, with an
//! Ironic that remembers what it heard.

use std::time::{Duration, Instant};

use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_agent_protocol::v1::{self, FarewellReason, HeartbeatVerdict};
use ironic_shim::config::ShimConfig;
use ironic_shim::metrics::Observation;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::support::gateway::{Cable, Machine, SYNC, ask, ask_node, gateway_config};
use crate::support::http::Line;
use crate::support::ironic::{FakeIronic, NODE, Reply, TOKEN, recorded};
use crate::support::shim::{Shim, hello};

const HEARTBEAT: &str = "/v1/heartbeat/";

/// How long an agent that is gone without a word may count as attached: two time-outs of a ping, and
/// what timers of a busy machine add.
const NOTICED: Duration = Duration::from_secs(32);

/// A gateway in front of one agent that has sent its first heartbeat.
struct House {
    ironic: FakeIronic,
    state: tempfile::TempDir,
    shim: Shim,
    machine: Machine,
}

impl House {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let ironic = FakeIronic::start().await;
        let shim = Shim::start(gateway_config(&ironic, &state)).await;
        Self {
            ironic,
            state,
            shim,
            machine: Machine::new(),
        }
    }
}

#[tokio::test]
async fn ironic_reaches_an_agent_that_listens_nowhere() {
    let house = House::new().await;
    let _agent = house.machine.start_agent(&house.shim.url);
    let beats = house.ironic.wait_for(HEARTBEAT, 1).await;
    let beat = beats[0].json();
    let url = format!("http://{}/nodes/{NODE}", house.shim.rest);
    assert_eq!(beat["callback_url"], url);
    assert_eq!(beat.get("agent_verify_ca"), None);

    let answer = ask(&house.shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    let list = ask(&house.shim, "GET", "/v1/commands/", b"").await.json();
    assert_eq!(list["commands"].as_array().unwrap().len(), 1, "{list}");
    let status = ask(&house.shim, "GET", "/v1/status", b"").await;
    assert_eq!(status.status, 200);
}

#[tokio::test]
async fn only_the_token_of_the_node_passes_and_only_for_that_node() {
    let house = House::new().await;
    let _agent = house.machine.start_agent(&house.shim.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    let other = "00000000-0000-4000-8000-000000000001";
    let cases = [
        (NODE, TOKEN, 200),
        (NODE, "", 401),
        (NODE, "wrong-wrong-wrong-wrong-wrong-wrong", 401),
        (other, TOKEN, 404),
        ("no-uuid", TOKEN, 404),
    ];
    for (node, token, status) in cases {
        let answer = ask_node(house.shim.rest, node, token, "GET", "/v1/commands/", b"").await;
        assert_eq!(answer.status, status, "{node} {token}: {answer:?}");
        if status != 200 {
            answer.fault();
        }
    }
}

#[tokio::test]
async fn a_request_is_held_while_the_agent_is_away_and_answered_when_it_is_back() {
    let house = House::new().await;
    let agent = house.machine.start_agent(&house.shim.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    let first = ask(&house.shim, "POST", "/v1/commands/", SYNC).await.json();
    drop(agent);

    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
    let mut held = Line::open(house.shim.rest).await;
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    held.send(head).await;
    // It is held until the agent is back.
    let soon = tokio::time::timeout(Duration::from_millis(500), held.has_ended()).await;
    assert!(soon.is_err(), "answered while nobody was there");
    let _agent = house.machine.start_agent(&house.shim.url);
    let list = held.answer().await.json();
    assert_eq!(list["commands"][0]["id"], first["id"], "{list}");
}

/// The conductor asks again, and must not find that the first order was executed, too.
#[tokio::test]
async fn an_order_whose_caller_has_hung_up_does_not_wait_for_the_agent() {
    let house = House::new().await;
    let agent = house.machine.start_agent(&house.shim.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&house.shim, "GET", "/v1/commands/", b"").await;
    let gateway = house.shim.gateway.as_ref().unwrap();
    let counted = async |gauge: &str, count: usize| {
        let line = format!("\n{gauge} {count}\n");
        let metrics = gateway.agents().metrics();
        let counting = async {
            while !metrics.text(&Observation::default()).contains(&line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let counted = tokio::time::timeout(Duration::from_secs(10), counting).await;
        assert!(counted.is_ok(), "{gauge} is never {count}");
    };
    drop(agent);
    counted("ironic_shim_attachments", 0).await;
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
    let mut order = Line::open(house.shim.rest).await;
    let (length, body) = (SYNC.len(), String::from_utf8_lossy(SYNC));
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}");
    order.send(format!("{head}\r\n\r\n{body}")).await;
    counted("ironic_shim_commands_in_flight", 1).await;
    drop(order);
    counted("ironic_shim_commands_in_flight", 0).await;
    let _agent = house.machine.start_agent(&house.shim.url);
    let list = ask(&house.shim, "GET", "/v1/commands/", b"").await.json();
    assert_eq!(list["commands"].as_array().unwrap().len(), 0, "{list}");
}

#[tokio::test]
async fn a_command_whose_connection_is_cut_is_neither_lost_nor_executed_twice() {
    let house = House::new().await;
    let cable = Cable::to(&house.shim).await;
    let _agent = house.machine.start_agent(&cable.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    for round in 1..=5 {
        let running = ask(&house.shim, "POST", "/v1/commands/", SYNC);
        tokio::pin!(running);
        // Somewhere on its way.
        let cut = Duration::from_micros(300 * round);
        let answer = match tokio::time::timeout(cut, &mut running).await {
            Ok(answer) => answer,
            Err(_) => {
                cable.cut();
                running.await
            }
        };
        assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
        let list = ask(&house.shim, "GET", "/v1/commands/", b"").await.json();
        let count = list["commands"].as_array().unwrap().len();
        assert_eq!(count as u64, round, "{list}");
    }
}

#[tokio::test]
async fn an_agent_that_is_gone_without_a_word_is_noticed_within_half_a_minute() {
    let house = House::new().await;
    let cable = Cable::to(&house.shim).await;
    let _agent = house.machine.start_agent(&cable.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&house.shim, "POST", "/v1/commands/", SYNC).await;
    let gateway = house.shim.gateway.as_ref().unwrap();
    let is_attached = || {
        let text = gateway.agents().metrics().text(&Observation::default());
        text.contains("\nironic_shim_attachments 1\n")
    };
    assert!(is_attached());
    cable.stall();
    let noticing = async {
        while is_attached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(NOTICED, noticing).await.unwrap();
}

#[tokio::test]
async fn a_large_request_over_a_slow_link_ends_and_heartbeats_and_other_nodes_go_on() {
    const RATE: usize = 100 * 1024;
    const SIZE: usize = 2 * 1024 * 1024;
    let house = House::new().await;
    let others = (
        "00000000-0000-4000-8000-000000000001",
        "token-of-the-other-node-0123456789",
    );
    house.ironic.accept_beats_of_all();
    for (node, token) in [(NODE, TOKEN), others] {
        let mut found = recorded("lookup")["response"].clone();
        found["node"]["uuid"] = json!(node);
        found["config"]["agent_token"] = json!(token);
        found["config"]["heartbeat_timeout"] = json!(10);
        house.ironic.script("/v1/lookup", [Reply::Json(200, found)]);
    }
    let cable = Cable::slow(&house.shim, RATE).await;
    let _agent = house.machine.start_agent(&cable.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    let other = Machine::with_address("52:54:00:e2:e0:02");
    let _other = other.start_agent(&house.shim.url);
    let (node, token) = others;
    house
        .ironic
        .wait_for(&format!("{HEARTBEAT}{node}"), 1)
        .await;

    let rest = house.shim.rest;
    let stop = CancellationToken::new();
    let calls = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut slowest = Duration::ZERO;
            while !stop.is_cancelled() {
                let begin = Instant::now();
                let answer = ask_node(rest, node, token, "GET", "/v1/commands/", b"").await;
                assert_eq!(answer.status, 200, "{answer:?}");
                slowest = slowest.max(begin.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            slowest
        }
    });
    let beats = || house.ironic.seen(&format!("{HEARTBEAT}{NODE}")).len();
    let (begin, before) = (Instant::now(), beats());
    let parameters = json!({"node": {"uuid": NODE, "extra": "x".repeat(SIZE)}, "ports": []});
    let order = json!({"name": "clean.get_clean_steps", "params": parameters}).to_string();
    let answer = ask(&house.shim, "POST", "/v1/commands/", order.as_bytes()).await;
    let (taken, beats) = (begin.elapsed(), beats() - before);
    stop.cancel();
    let slowest = calls.await.unwrap();
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");
    assert!(
        taken.as_secs_f64() > 0.9 * SIZE as f64 / RATE as f64,
        "{taken:?} is no slow link"
    );
    assert!(beats >= 1, "no heartbeat in {taken:?}");
    // One that waits for the large request takes nearly as long as that.
    assert!(
        slowest < taken / 2,
        "{slowest:?} for a call of another node, {taken:?} for the large request"
    );
}

#[tokio::test]
async fn a_gateway_that_was_killed_knows_its_agents_again() {
    let House {
        ironic,
        state,
        shim,
        machine,
    } = House::new().await;
    // The address stays.
    let listen = shim.url.trim_start_matches("http://").parse().unwrap();
    let _agent = machine.start_agent(&shim.url);
    ironic.wait_for(HEARTBEAT, 1).await;
    let first = ask(&shim, "POST", "/v1/commands/", SYNC).await.json();
    let config = shim.die().await;
    let config = ShimConfig {
        conductor_listen: listen,
        ..config
    };
    let shim = Shim::start(config).await;
    // Held until the agent has dialled again. Its token was proved before.
    let list = ask(&shim, "GET", "/v1/commands/", b"").await.json();
    assert_eq!(list["commands"][0]["id"], first["id"], "{list}");
    drop(state);
}

/// An attachment as anybody could open it.
async fn attach(
    conductor: &mut ConductorServiceClient<Channel>,
    token: &str,
    boot_id: &str,
    counter: u64,
) -> Result<
    (
        mpsc::Sender<v1::AttachRequest>,
        Streaming<v1::AttachResponse>,
    ),
    Status,
> {
    let (sender, requests) = mpsc::channel(4);
    let hello = v1::AttachHello {
        node_uuid: NODE.into(),
        agent_token: token.into(),
        agent_version: "0".into(),
        boot_id: boot_id.into(),
        counter,
    };
    let first = v1::AttachRequest {
        hello: Some(hello),
        ..v1::AttachRequest::default()
    };
    sender.send(first).await.unwrap();
    let answers = conductor.attach(ReceiverStream::new(requests)).await?;
    Ok((sender, answers.into_inner()))
}

#[tokio::test]
async fn an_agent_without_proof_cannot_attach_or_displace() {
    let mut house = House::new().await;
    let _agent = house.machine.start_agent(&house.shim.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&house.shim, "POST", "/v1/commands/", SYNC).await;

    let wrong = "wrong-wrong-wrong-wrong-wrong-wrong";
    let (_open, mut answers) = attach(&mut house.shim.conductor, wrong, "b", 9)
        .await
        .unwrap();
    let heard = tokio::time::timeout(Duration::from_millis(300), answers.message()).await;
    assert!(heard.is_err(), "it hears nothing: {heard:?}");
    // The wrong token is that of a session, too, which says farewell.
    let mut session = house
        .shim
        .session(v1::Hello {
            agent_token: wrong.into(),
            ..hello()
        })
        .await
        .unwrap();
    let beat = session.beat().await.unwrap();
    assert_eq!(beat.verdict(), HeartbeatVerdict::Refused);
    let farewell = v1::Farewell {
        reason: FarewellReason::LockedDown.into(),
    };
    session.say(Message::Farewell(farewell)).await;
    assert_eq!(
        session.hear().await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let answer = ask(&house.shim, "POST", "/v1/commands/", SYNC).await;
    assert_eq!(answer.json()["command_status"], "SUCCEEDED", "{answer:?}");

    for (hello, code) in [
        (None, Code::FailedPrecondition),
        (Some(("", NODE)), Code::InvalidArgument),
        (Some((TOKEN, "no uuid")), Code::InvalidArgument),
        (Some((TOKEN, "")), Code::InvalidArgument),
    ] {
        let hello = hello.map(|(token, node)| v1::AttachHello {
            agent_token: token.into(),
            node_uuid: node.into(),
            ..v1::AttachHello::default()
        });
        let first = v1::AttachRequest {
            hello,
            ..v1::AttachRequest::default()
        };
        let requests = tokio_stream::iter([first]);
        let mut answers = house.shim.conductor.attach(requests).await.unwrap();
        let refused = answers.get_mut().message().await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
}

/// The 99th percentile of how long a small call of an honest conductor takes, over so many calls.
async fn p99(shim: &Shim, calls: usize) -> Duration {
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
    let mut line = Line::open(shim.rest).await;
    let mut times = Vec::new();
    for _ in 0..calls {
        let start = Instant::now();
        assert_eq!(line.ask("GET", &target, "", b"").await.status, 200);
        times.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    times[calls * 99 / 100]
}

/// Threads that come after all others: the work of strangers on their own machines delays nobody.
fn machines_of_strangers() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(|| rustix::process::setpriority_process(None, 19).unwrap())
        .build()
        .unwrap()
}

/// Ten thousand attempts to attach, 1,000 in a second, without a token or with a guess. Run it with
/// `--ignored --nocapture` on an idle machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn ten_thousand_strangers_get_nothing_and_slow_nobody() {
    let house = House::new().await;
    let _agent = house.machine.start_agent(&house.shim.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    ask(&house.shim, "POST", "/v1/commands/", SYNC).await;
    let quiet = p99(&house.shim, 2000).await;

    let machines = machines_of_strangers();
    let strangers: Vec<_> = (0..10_u64)
        .map(|stranger| {
            let mut conductor = house.shim.conductor.clone();
            let url = house.shim.url.clone();
            machines.spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                for attempt in 0..1000 {
                    pace.tick().await;
                    // h2 closes a connection on which a thousand calls were broken off.
                    if attempt % 100 == 0 {
                        conductor = ConductorServiceClient::connect(url.clone()).await.unwrap();
                    }
                    let is_guess = attempt % 2 == 0;
                    let token = if is_guess {
                        "a-guess-that-is-wrong"
                    } else {
                        ""
                    };
                    let (_open, mut answers) =
                        attach(&mut conductor, token, "stranger", stranger * 1000 + attempt)
                            .await
                            .unwrap();
                    let heard = answers.message();
                    let heard = tokio::time::timeout(Duration::from_millis(2), heard).await;
                    assert!(!matches!(heard, Ok(Ok(_))), "{heard:?}");
                }
            })
        })
        .collect();
    let attacked = p99(&house.shim, 2000).await;
    for stranger in strangers {
        stranger.await.unwrap();
    }
    machines.shutdown_background();
    eprintln!("p99 of an honest call: quiet {quiet:?}, among strangers {attacked:?}");
    let gateway = house.shim.gateway.as_ref().unwrap();
    let text = gateway.agents().metrics().text(&Observation::default());
    for line in [
        "\nironic_shim_attachments 1\n",
        "\nironic_shim_attaches_total{outcome=\"accepted\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(attacked <= 2 * quiet, "{quiet:?} became {attacked:?}");
}

#[tokio::test]
async fn a_later_attachment_takes_the_place_of_an_earlier_one() {
    let mut house = House::new().await;
    house.shim.lookup().await;
    let accepted = async |answers: &mut Streaming<v1::AttachResponse>| {
        let first = answers.message().await.unwrap().unwrap();
        assert!(first.accepted.is_some(), "{first:?}");
    };
    let (_first_open, mut first) = attach(&mut house.shim.conductor, TOKEN, "b", 1)
        .await
        .unwrap();
    accepted(&mut first).await;
    let (_second_open, mut second) = attach(&mut house.shim.conductor, TOKEN, "b", 3)
        .await
        .unwrap();
    accepted(&mut second).await;
    let ended = loop {
        // What the gateway's client had written comes before the end.
        match first.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Aborted, "{ended:?}");
    // One that was overtaken on its way.
    let (_late_open, mut late) = attach(&mut house.shim.conductor, TOKEN, "b", 2)
        .await
        .unwrap();
    let refused = late.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
}

#[tokio::test]
async fn calls_that_wait_for_a_machine_that_has_booted_again_hear_that_it_is_gone() {
    let mut house = House::new().await;
    let agent = house.machine.start_agent(&house.shim.url);
    house.ironic.wait_for(HEARTBEAT, 1).await;
    drop(agent);
    // It takes what it is sent and never answers, nor does it hang up.
    let (_open, mut silent) = attach(&mut house.shim.conductor, TOKEN, "b", 1)
        .await
        .unwrap();
    let first = silent.message().await.unwrap().unwrap();
    assert!(first.accepted.is_some(), "{first:?}");
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
    let mut reading = Line::open(house.shim.rest).await;
    reading
        .send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    let mut order = Line::open(house.shim.rest).await;
    let length = SYNC.len();
    order
        .send(format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{}",
            String::from_utf8_lossy(SYNC)
        ))
        .await;
    let soon = tokio::time::timeout(Duration::from_millis(300), reading.has_ended()).await;
    assert!(soon.is_err(), "nobody was there to answer");

    let _agent = house.machine.start_agent(&house.shim.url);
    let list = reading.answer().await;
    assert_eq!(list.status, 200, "a question is asked again: {list:?}");
    assert!(order.has_ended().await, "an order of another boot is not");
}

#[tokio::test]
async fn an_attachment_waits_for_the_heartbeat_that_proves_it() {
    let mut house = House::new().await;
    // No lookup was made here: the gateway has no state.
    let (_open, mut answers) = attach(&mut house.shim.conductor, TOKEN, "b", 1)
        .await
        .unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(200), answers.message()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    let mut session = house.shim.session(hello()).await.unwrap();
    let beat = session.beat().await.unwrap();
    assert_eq!(beat.verdict(), HeartbeatVerdict::Accepted);
    let first = answers.message().await.unwrap().unwrap();
    assert!(first.accepted.is_some(), "{first:?}");
}

#[tokio::test]
async fn an_attachment_that_is_not_proved_may_only_say_that_it_lives() {
    let mut house = House::new().await;
    let (patient, mut accepted) = attach(&mut house.shim.conductor, TOKEN, "b", 1)
        .await
        .unwrap();
    for _ in 0..3 {
        patient.send(v1::AttachRequest::default()).await.unwrap();
    }
    let (hasty, mut refused) = attach(&mut house.shim.conductor, TOKEN, "b", 2)
        .await
        .unwrap();
    let data = v1::AttachRequest {
        data: b"unread".as_slice().into(),
        ..v1::AttachRequest::default()
    };
    hasty.send(data).await.unwrap();
    let soon = Duration::from_secs(10);
    let refused = tokio::time::timeout(soon, refused.message()).await;
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let mut session = house.shim.session(hello()).await.unwrap();
    session.beat().await.unwrap();
    let first = accepted.message().await.unwrap().unwrap();
    assert!(first.accepted.is_some(), "{first:?}");
}

#[tokio::test]
async fn a_rescued_machine_is_served_no_more_until_it_boots_again() {
    let house = House::new().await;
    let mut shim = house.shim;
    let mut session = shim.session(hello()).await.unwrap();
    session.beat().await.unwrap();
    let farewell = v1::Farewell {
        reason: FarewellReason::Rescued.into(),
    };
    session.say(Message::Farewell(farewell)).await;
    session.hear().await.unwrap_err();
    let mut line = Line::open(shim.rest).await;
    let target = format!("/nodes/{NODE}/v1/commands/?agent_token={TOKEN}");
    line.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert!(line.has_ended().await, "nobody answers");
    let _agent = house.machine.start_agent(&shim.url);
    let answered = async {
        loop {
            let mut line = Line::open(shim.rest).await;
            line.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
                .await;
            if let Some(answer) = line.head().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), answered).await;
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn a_shim_beside_its_agent_is_no_gateway() {
    let state = tempfile::tempdir().unwrap();
    let ironic = FakeIronic::start().await;
    let config = ShimConfig {
        enable_auto_tls: false,
        ..crate::support::shim::config(&[&ironic.url], &state)
    };
    let mut shim = Shim::start(config).await;
    let refused = attach(&mut shim.conductor, TOKEN, "b", 1)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("gateway_url"), "{refused:?}");
    // Its own agent is at the root and nowhere else, also when it is known.
    let mut session = shim.session(hello()).await.unwrap();
    let beat = session.beat().await.unwrap();
    assert_eq!(beat.verdict(), HeartbeatVerdict::Accepted);
    let answer = ask(&shim, "GET", "/v1/commands/", b"").await;
    assert_eq!(answer.status, 404, "{answer:?}");
}
