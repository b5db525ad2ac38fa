//! A caller's cancellation and deadline reach the agent, through one gateway and through two.

use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::fleet::{channel_at, config_without_ironic, of_node, sync};
use super::fleet_elsewhere::without_ironic;
use crate::support::ironic::NODE;
use crate::support::replicas::Site;
use crate::support::shim::Shim;
use crate::support::watched_agent::{Seen, WatchedAgent};

const MAC: &str = "52:54:00:e2:e0:01";
const LIMIT: Duration = Duration::from_secs(30);

/// Calls of `CommandService`: an order, which the gateway reads; one that it passes unread; and
/// streams.
const METHODS: [&str; 4] = ["ExecuteCommand", "GetCommand", "WatchCommand", "FollowLogs"];

/// A call that is open. Dropping it cancels the call.
enum OpenCall {
    Unary(tokio::task::JoinHandle<Status>),
    Watch(#[expect(dead_code, reason = "it is dropped")] Streaming<v1::WatchCommandResponse>),
    Logs(#[expect(dead_code, reason = "it is dropped")] Streaming<v1::FollowLogsResponse>),
}

fn request<T>(message: T, timeout: Option<Duration>) -> Request<T> {
    let mut request = of_node(NODE, message);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}

/// The answer of a call that is not answered.
async fn unary(
    mut calls: CommandServiceClient<Channel>,
    method: &str,
    timeout: Option<Duration>,
) -> Status {
    let id = || "1".to_owned();
    let answered = if method == "ExecuteCommand" {
        let answer = calls.execute_command(request(sync(), timeout)).await;
        answer.map(|_| ())
    } else {
        let get = v1::GetCommandRequest {
            id: id(),
            wait: true,
        };
        calls.get_command(request(get, timeout)).await.map(|_| ())
    };
    answered.expect_err("the agent answers nothing")
}

/// Makes a call that goes on until it is dropped.
async fn open(mut calls: CommandServiceClient<Channel>, method: &'static str) -> OpenCall {
    match method {
        "WatchCommand" => {
            let watch = v1::WatchCommandRequest::default();
            let stream = calls.watch_command(request(watch, None)).await.unwrap();
            let mut stream = stream.into_inner();
            stream.message().await.unwrap().unwrap();
            OpenCall::Watch(stream)
        }
        "FollowLogs" => {
            let follow = v1::FollowLogsRequest::default();
            let stream = calls.follow_logs(request(follow, None)).await.unwrap();
            let mut stream = stream.into_inner();
            stream.message().await.unwrap().unwrap();
            OpenCall::Logs(stream)
        }
        _ => OpenCall::Unary(tokio::spawn(unary(calls, method, None))),
    }
}

/// Cancels an open call of each method, and lets the deadline of others pass.
async fn endings_reach(agent: &mut WatchedAgent, gateway: &Shim) {
    let calls = || CommandServiceClient::new(channel_at(&gateway.config.state_dir));
    for method in METHODS {
        let begun = Seen::Begun(method.to_owned(), None);
        let call = open(calls(), method).await;
        assert_eq!(agent.next().await, begun);
        if let OpenCall::Unary(task) = &call {
            task.abort();
        }
        drop(call);
        assert_eq!(agent.next().await, Seen::Ended(method.to_owned()));
    }
    let timeout = Duration::from_millis(700);
    for method in ["ExecuteCommand", "GetCommand"] {
        let status = tokio::time::timeout(LIMIT, unary(calls(), method, Some(timeout))).await;
        let code = status.unwrap().code();
        assert!(
            matches!(code, Code::DeadlineExceeded | Code::Cancelled),
            "{code:?}"
        );
        let Seen::Begun(begun, Some(left)) = agent.next().await else {
            panic!("the agent is given the deadline");
        };
        assert_eq!(begun, method);
        let micros: u64 = left.strip_suffix('u').unwrap().parse().unwrap();
        assert!((1..=700_000).contains(&micros), "{left}");
        assert_eq!(agent.next().await, Seen::Ended(method.to_owned()));
    }
}

#[tokio::test]
async fn cancellation_and_deadline_reach_the_agent() {
    let state = tempfile::tempdir().unwrap();
    let mut gateway = Shim::start(config_without_ironic(&state)).await;
    let mut agent = WatchedAgent::attach(&mut gateway, MAC).await;
    endings_reach(&mut agent, &gateway).await;
}

#[tokio::test]
async fn cancellation_and_deadline_reach_the_agent_through_two_gateways() {
    let Some(site) = Site::new().await else {
        return;
    };
    let mut holder = Shim::start(without_ironic(site.config())).await;
    let other = Shim::start(without_ironic(site.config())).await;
    let mut agent = WatchedAgent::attach(&mut holder, MAC).await;
    endings_reach(&mut agent, &other).await;
}

/// A caller that dies takes its calls with it.
#[tokio::test]
async fn a_broken_connection_of_the_caller_ends_its_calls_at_the_agent() {
    let state = tempfile::tempdir().unwrap();
    let mut gateway = Shim::start(config_without_ironic(&state)).await;
    let mut agent = WatchedAgent::attach(&mut gateway, MAC).await;
    let caller = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let socket = gateway.config.state_dir.clone();
    let opening = caller.spawn(async move {
        let calls = CommandServiceClient::new(channel_at(&socket));
        let mut open_calls = Vec::new();
        for method in METHODS {
            open_calls.push(open(calls.clone(), method).await);
        }
        open_calls
    });
    let _open = tokio::time::timeout(LIMIT, opening).await.unwrap().unwrap();
    for _ in METHODS {
        assert!(matches!(agent.next().await, Seen::Begun(..)));
    }
    caller.shutdown_background();
    for _ in METHODS {
        assert!(matches!(agent.next().await, Seen::Ended(_)));
    }
}
