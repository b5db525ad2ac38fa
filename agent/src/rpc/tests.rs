//! Every call, over a real socket, with a scripted agent behind it. Time is virtual.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::watch_command_response::Event;
use ironic_program::CommonSettings;
use ironic_text::Secret;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::*;
use crate::commands::testing::{Script, context, id};

/// Puts the token on every call.
#[derive(Clone)]
struct Token(Option<&'static str>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.0 {
            let token = AsciiMetadataValue::from_static(token);
            request.metadata_mut().insert(access::TOKEN, token);
        }
        Ok(request)
    }
}

type Client = CommandServiceClient<InterceptedService<Channel, Token>>;

/// A certificate authority, and what it signs.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        }
    }

    /// Certificate and key of `agent`, in PEM.
    fn sign(&self) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["agent".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// An agent that serves a socket in a directory of its own.
struct Agent {
    directory: tempfile::TempDir,
    stop: CancellationToken,
    server: JoinHandle<Result<(), ServeError>>,
}

impl Agent {
    async fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), AgentConfig::default()).await
    }

    async fn start_with(directory: tempfile::TempDir, config: AgentConfig) -> Self {
        let config = AgentConfig {
            common: CommonSettings {
                agent_token: Some(Secret::new("T")),
                ..config.common.clone()
            },
            grpc_listen: GrpcListen::At(Listen::Unix(directory.path().join("agent.sock"))),
            ..config
        };
        let (engine, work) =
            Engine::new(context(config.clone()), Arc::new(Script), directory.path());
        tokio::spawn(work.run());
        let stop = CancellationToken::new();
        let server = bind(engine, &config, stop.clone()).await.unwrap();
        Self {
            directory,
            stop,
            server: tokio::spawn(server.run()),
        }
    }

    async fn channel(&self) -> Channel {
        self.connect(Endpoint::from_static("http://agent"))
            .await
            .unwrap()
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<Channel, tonic::transport::Error> {
        let socket = self.directory.path().join("agent.sock");
        let connect = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connect).await
    }

    async fn client(&self) -> Client {
        self.client_with(Token(Some("T"))).await
    }

    async fn client_with(&self, token: Token) -> Client {
        CommandServiceClient::with_interceptor(self.channel().await, token)
    }
}

fn document(json: Value) -> prost_types::Struct {
    ironic_document::to_struct(json.as_object().unwrap().clone(), "x").unwrap()
}

fn background(script: Value) -> v1::ExecuteCommandRequest {
    order(v1::command::Verb::ExecuteStep(v1::ExecuteStepCommand {
        phase: v1::StepPhase::Clean.into(),
        step: Some(document(script)),
        node: Some(document(json!({"uuid": "u"}))),
        ..Default::default()
    }))
}

fn immediate(script: Value) -> v1::ExecuteCommandRequest {
    order(v1::command::Verb::GetSteps(v1::GetStepsCommand {
        phase: v1::StepPhase::Clean.into(),
        node: Some(document(script)),
        ports: Vec::new(),
    }))
}

fn order(verb: v1::command::Verb) -> v1::ExecuteCommandRequest {
    v1::ExecuteCommandRequest {
        command: Some(v1::Command {
            verb: Some(verb),
            unexpected_arguments: Vec::new(),
        }),
        ..Default::default()
    }
}

fn get(id: &str, wait: bool) -> v1::GetCommandRequest {
    v1::GetCommandRequest {
        id: id.to_owned(),
        wait,
    }
}

async fn execute(
    client: &mut Client,
    request: v1::ExecuteCommandRequest,
) -> Result<v1::CommandRecord, Status> {
    let response = client.execute_command(request).await?.into_inner();
    Ok(response.command.unwrap())
}

async fn wait(client: &mut Client, id: &str) -> v1::CommandRecord {
    let response = client.get_command(get(id, true)).await.unwrap();
    response.into_inner().command.unwrap()
}

fn result(record: &v1::CommandRecord) -> Value {
    ironic_document::value(record.result.clone().unwrap(), "result").unwrap()
}

fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "ironic.agent.v1");
    (status.code(), info.reason)
}

#[tokio::test(start_paused = true)]
async fn only_the_status_is_open() {
    let agent = Agent::start().await;
    for token in [None, Some("wrong")] {
        let mut client = agent.client_with(Token(token)).await;
        let status = client.get_status(v1::GetStatusRequest {}).await.unwrap();
        let status = status.into_inner();
        assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
        assert!(status.started_at.is_some() && status.running.is_none());
        let refused = [
            client.execute_command(background(json!({}))).await.err(),
            client.get_command(get("x", false)).await.err(),
            client.list_commands(v1::ListCommandsRequest {}).await.err(),
            client
                .watch_command(v1::WatchCommandRequest::default())
                .await
                .err(),
            client
                .cancel_command(v1::CancelCommandRequest::default())
                .await
                .err(),
            client.get_inventory(v1::GetInventoryRequest {}).await.err(),
            client.collect_logs(v1::CollectLogsRequest {}).await.err(),
            client.follow_logs(logs_request("")).await.err(),
        ];
        for status in refused {
            let status = status.expect("nothing passes");
            assert_eq!(
                reason(&status),
                (Code::Unauthenticated, "TOKEN_INVALID".to_owned())
            );
        }
    }
    let mut client = agent.client().await;
    let list = client.list_commands(v1::ListCommandsRequest {}).await;
    assert_eq!(list.unwrap().into_inner().commands, []);
}

#[tokio::test(start_paused = true)]
async fn commands_run_and_are_listed() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let first = execute(
        &mut client,
        immediate(json!({"do": "answer", "value": "hello"})),
    )
    .await
    .unwrap();
    assert_eq!(first.name, "clean.get_clean_steps");
    assert_eq!(first.state(), v1::CommandState::Succeeded);
    assert!(!first.background && first.finished_at.is_some());
    assert_eq!(result(&first), json!({"result": "hello"}));

    let running = execute(&mut client, background(json!({"do": "work", "phases": 3})))
        .await
        .unwrap();
    assert_eq!(running.state(), v1::CommandState::Running);
    assert!(running.background && running.finished_at.is_none() && running.result.is_none());
    let status = client.get_status(v1::GetStatusRequest {}).await.unwrap();
    let shown = status.into_inner().running.unwrap();
    assert_eq!(
        (shown.id.as_str(), shown.name.as_str(), shown.background),
        (running.id.as_str(), "clean.execute_clean_step", true)
    );
    let busy = execute(&mut client, immediate(json!({})))
        .await
        .unwrap_err();
    assert_eq!(
        reason(&busy),
        (Code::FailedPrecondition, "AGENT_BUSY".to_owned())
    );
    assert_eq!(
        busy.message(),
        "Agent is busy: executing command execute_clean_step"
    );
    let ended = wait(&mut client, &running.id).await;
    assert_eq!(ended.state(), v1::CommandState::Succeeded);
    assert_eq!(ended.last_sequence, 5);
    assert_eq!(result(&ended), Value::Null);
    let list = client.list_commands(v1::ListCommandsRequest {}).await;
    assert_eq!(list.unwrap().into_inner().commands, [first, ended]);
}

#[tokio::test(start_paused = true)]
async fn failures_are_results() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    for (kind, state, code, message) in [
        (
            "ImageDownloadError",
            v1::CommandState::Failed,
            500,
            "Error downloading image",
        ),
        (
            "VersionMismatch",
            v1::CommandState::VersionMismatch,
            409,
            "Hardware managers version mismatch, reload agent with correct version",
        ),
        (
            "ProtectedDeviceError",
            v1::CommandState::Failed,
            500,
            "as the script says",
        ),
    ] {
        let request = background(json!({"do": "fail", "kind": kind}));
        let record = execute(&mut client, request).await.unwrap();
        let record = wait(&mut client, &record.id).await;
        assert_eq!(record.state(), state);
        assert!(record.result.is_none());
        let failure = record.failure.unwrap();
        assert_eq!(
            (
                failure.kind.as_str(),
                failure.code,
                failure.message.as_str()
            ),
            (kind, code, message)
        );
        assert_eq!(failure.details, "as the script says");
    }
    let refused = immediate(json!({"do": "fail", "kind": "InvalidCommandParamsError"}));
    let status = execute(&mut client, refused).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (
            Code::InvalidArgument,
            "InvalidCommandParamsError".to_owned()
        )
    );
    assert_eq!(
        status.message(),
        "Invalid command parameters: as the script says"
    );
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused_by_name() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let too_large = {
        let mut request = background(json!({}));
        let Some(v1::command::Verb::ExecuteStep(step)) =
            request.command.as_mut().unwrap().verb.as_mut()
        else {
            unreachable!()
        };
        let size = prost_types::Value {
            kind: Some(prost_types::value::Kind::NumberValue(2_f64.powi(60))),
        };
        let node = step.node.as_mut().unwrap();
        node.fields.insert("size".to_owned(), size);
        request
    };
    let edited = |edit: fn(&mut v1::ExecuteCommandRequest)| {
        let mut request = background(json!({}));
        edit(&mut request);
        request
    };
    for (request, reason_expected, text) in [
        (
            v1::ExecuteCommandRequest::default(),
            "InvalidCommandError",
            "Invalid command: 'command' is missing",
        ),
        (
            edited(|request| request.id = "7".to_owned()),
            "InvalidCommandParamsError",
            "'id' must be a UUID",
        ),
        (
            edited(|request| request.deadline = Some(prost_types::Duration::default())),
            "InvalidCommandParamsError",
            "'deadline' must be",
        ),
        (
            too_large,
            "InvalidCommandParamsError",
            "node.size is 1152921504606847000: an integer beyond 2^53",
        ),
    ] {
        let status = execute(&mut client, request).await.unwrap_err();
        assert_eq!(
            reason(&status),
            (Code::InvalidArgument, reason_expected.to_owned())
        );
        assert!(status.message().contains(text), "{}", status.message());
    }
    let unknown = edited(|request| request.command = Some(v1::Command::default()));
    let status = execute(&mut client, unknown).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (Code::Unimplemented, "COMMAND_NOT_BUILT".to_owned())
    );
    assert_eq!(
        status.message(),
        "the command holds no verb that this agent knows"
    );
    let list = client.list_commands(v1::ListCommandsRequest {}).await;
    assert_eq!(list.unwrap().into_inner().commands, []);
}

#[tokio::test(start_paused = true)]
async fn identifiers_make_orders_repeatable() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = || v1::ExecuteCommandRequest {
        id: id(1).to_string().to_uppercase(),
        ..background(json!({"do": "work", "phases": 2}))
    };
    let first = execute(&mut client, request()).await.unwrap();
    assert_eq!(first.id, id(1).to_string());
    let again = execute(&mut client, request()).await.unwrap();
    assert_eq!(again, first);
    let ended = wait(&mut client, &first.id).await;
    assert_eq!(execute(&mut client, request()).await.unwrap(), ended);
    let other = v1::ExecuteCommandRequest {
        id: first.id.clone(),
        ..background(json!({}))
    };
    let status = execute(&mut client, other).await.unwrap_err();
    assert_eq!(
        reason(&status),
        (Code::AlreadyExists, "COMMAND_ID_REUSED".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_identifiers_are_not_found() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let long = "\u{1f4be}".repeat(50_000);
    for id in ["", "abc", "6dd11111-2222-4333-8444-555555555555", &long] {
        let calls = [
            client.get_command(get(id, false)).await.err(),
            client.get_command(get(id, true)).await.err(),
            client
                .watch_command(v1::WatchCommandRequest {
                    id: id.to_owned(),
                    after_sequence: 0,
                })
                .await
                .err(),
            client
                .cancel_command(v1::CancelCommandRequest {
                    id: id.to_owned(),
                    reason: String::new(),
                })
                .await
                .err(),
        ];
        for status in calls {
            let status = status.expect("there is no such command");
            assert_eq!(
                reason(&status),
                (Code::NotFound, "COMMAND_NOT_FOUND".to_owned())
            );
            let text = format!("Not found: Command Result with id {id} not found.");
            let same = status
                .message()
                .trim_end_matches('.')
                .len()
                .min(text.len() - 1);
            assert_eq!(status.message()[..same], text[..same]);
        }
    }
}

/// What a stream of events says, in short.
async fn follow(client: &mut Client, id: &str, after_sequence: u64) -> Vec<String> {
    follow_lines(client, id, after_sequence).await.0
}

/// The same, and the lines of the log in it.
async fn follow_lines(
    client: &mut Client,
    id: &str,
    after_sequence: u64,
) -> (Vec<String>, Vec<String>) {
    let mut lines = Vec::new();
    let request = v1::WatchCommandRequest {
        id: id.to_owned(),
        after_sequence,
    };
    let mut stream = client.watch_command(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        seen.push(match response.event.unwrap() {
            Event::Record(record) => record.state().as_str_name()["COMMAND_STATE_".len()..].into(),
            Event::Milestone(milestone) => format!("{} {}", milestone.sequence, milestone.text),
            Event::Progress(progress) => format!("{} of {:?}", progress.done, progress.total),
            Event::Log(line) => {
                lines.push(format!("{}: {}", line.level, line.text));
                continue;
            }
        });
    }
    (seen, lines)
}

#[tokio::test(start_paused = true)]
async fn followers_receive_the_output_of_a_command() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = background(json!({"do": "work", "phases": 2, "end": "fail"}));
    let record = execute(&mut client, request).await.unwrap();
    let (_, lines) = follow_lines(&mut client, &record.id, 0).await;
    assert_eq!(
        lines,
        [
            "info: phase 1",
            "info: phase 2",
            "error: Command execution failed: as the script says"
        ]
    );
    // They are not kept.
    let (_, lines) = follow_lines(&mut client, &record.id, 0).await;
    assert_eq!(lines, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_command_is_followed_to_its_end_and_resumed() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = background(json!({"do": "work", "phases": 3}));
    let record = execute(&mut client, request).await.unwrap();
    let all = follow(&mut client, &record.id, 0).await;
    let milestones: Vec<&str> = all
        .iter()
        .filter(|event| event.contains(' ') && !event.contains(" of "))
        .map(String::as_str)
        .collect();
    assert_eq!(
        milestones,
        [
            "1 Admitted.",
            "2 phase 1",
            "3 phase 2",
            "4 phase 3",
            "5 Succeeded."
        ]
    );
    assert_eq!(all.first().unwrap(), "RUNNING");
    assert_eq!(all.last().unwrap(), "SUCCEEDED");
    let progress = all.iter().filter(|event| event.ends_with("of Some(3)"));
    assert!(progress.count() >= 2);
    assert_eq!(
        follow(&mut client, &record.id, 3).await,
        ["SUCCEEDED", "4 phase 3", "5 Succeeded.", "SUCCEEDED"]
    );
    assert_eq!(
        follow(&mut client, &record.id, 99).await,
        ["SUCCEEDED", "SUCCEEDED"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_watched_can_be_cancelled() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = background(json!({"do": "work", "phases": 100}));
    let record = execute(&mut client, request).await.unwrap();
    let watcher = tokio::spawn({
        let mut client = client.clone();
        let id = record.id.clone();
        async move { follow(&mut client, &id, 0).await }
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let response = client.cancel_command(v1::CancelCommandRequest {
        id: record.id.clone(),
        reason: "ticket 7".to_owned(),
    });
    let noted = response.await.unwrap().into_inner().command.unwrap();
    assert_eq!(noted.state(), v1::CommandState::Running);
    assert_eq!(noted.progress.unwrap().done, 1);
    let seen = watcher.await.unwrap();
    assert_eq!(seen.last().unwrap(), "CANCELLED");
    let ended = wait(&mut client, &record.id).await;
    assert_eq!(
        ended.failure.unwrap().details,
        "The command was cancelled: ticket 7"
    );
    assert!(ended.progress.is_none());
}

#[tokio::test(start_paused = true)]
async fn callers_that_time_out_stop_nothing() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let mut impatient = Request::new(v1::ExecuteCommandRequest {
        id: id(1).to_string(),
        ..immediate(json!({"do": "work", "phases": 5}))
    });
    impatient.set_timeout(Duration::from_secs(1));
    client.execute_command(impatient).await.unwrap_err();
    let mut impatient = Request::new(get(&id(1).to_string(), true));
    impatient.set_timeout(Duration::from_secs(1));
    client.get_command(impatient).await.unwrap_err();
    // A connection that is gone does not stop it either.
    drop(client);
    let mut client = agent.client().await;
    let ended = wait(&mut client, &id(1).to_string()).await;
    assert_eq!(ended.state(), v1::CommandState::Succeeded);
    assert_eq!(ended.last_sequence, 7);
}

#[tokio::test(start_paused = true)]
async fn deadlines_cancel() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = v1::ExecuteCommandRequest {
        deadline: Some(prost_types::Duration {
            seconds: 2,
            nanos: 500_000_000,
        }),
        ..background(json!({"do": "work", "phases": 100}))
    };
    let record = execute(&mut client, request).await.unwrap();
    assert!(record.deadline.is_some());
    let ended = wait(&mut client, &record.id).await;
    assert_eq!(ended.state(), v1::CommandState::Cancelled);
    assert_eq!(
        ended.failure.unwrap().details,
        "The command was cancelled: its deadline of 2.5 s has passed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_changes_nothing() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = v1::ExecuteCommandRequest {
        validate_only: true,
        ..order(v1::command::Verb::PowerOff(v1::PowerOffCommand {}))
    };
    let response = client.execute_command(request).await.unwrap().into_inner();
    assert!(response.command.is_none());
    let actions = response.plan.unwrap().actions;
    assert_eq!(actions.len(), 1);
    assert!(actions[0].description.contains("power the machine off"));
    assert!(!actions[0].destructive);
    let unusable = v1::ExecuteCommandRequest {
        validate_only: true,
        ..order(v1::command::Verb::InstallBootloader(
            v1::InstallBootloaderCommand::default(),
        ))
    };
    let status = client.execute_command(unusable).await.unwrap_err();
    assert!(status.message().contains("'root_uuid'"), "{status}");
    let list = client.list_commands(v1::ListCommandsRequest {}).await;
    assert_eq!(list.unwrap().into_inner().commands, []);
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_reaches_a_caller_that_takes_it() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let big = execute(
        &mut client,
        background(json!({"do": "fill", "bytes": 6_000_000})),
    )
    .await
    .unwrap();
    // Tonic's default limit for an answer is 4 MiB: a caller has to raise it for large ones.
    let mut patient = client.clone().max_decoding_message_size(256 * 1024 * 1024);
    let ended = wait(&mut patient, &big.id).await;
    let text = result(&ended)["result"].as_str().unwrap().len();
    assert_eq!(text, 6_000_000 + "execute_clean_step: ".len());
    let status = client.get_command(get(&big.id, true)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test(start_paused = true)]
async fn the_largest_config_drive_passes() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let drive = "x".repeat(64 * 1024 * 1024);
    let request = order(v1::command::Verb::PrepareImage(v1::PrepareImageCommand {
        image_info: Some(document(json!({
            "id": "i", "urls": ["http://127.0.0.1/i"], "os_hash_algo": "sha256",
            "os_hash_value": "0".repeat(64)
        }))),
        configdrive: Some(drive),
    }));
    let record = execute(&mut client, request).await.unwrap();
    let ended = wait(&mut client, &record.id).await;
    assert_eq!(ended.state(), v1::CommandState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn health_and_reflection_need_no_token() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    let agent = Agent::start().await;
    let channel = agent.channel().await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "ironic.agent.v1.CommandService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let response = health.check(request).await.unwrap().into_inner();
        assert_eq!(response.status(), ServingStatus::Serving);
    }

    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let mut answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<String> = list.service.into_iter().map(|entry| entry.name).collect();
    for name in [
        "ironic.agent.v1.CommandService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(names.iter().any(|listed| listed == name), "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_waiting_calls_and_the_server() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let request = background(json!({"do": "sleep", "seconds": 1000}));
    let record = execute(&mut client, request).await.unwrap();
    let waiting = tokio::spawn({
        let mut client = client.clone();
        let request = get(&record.id, true);
        async move { client.get_command(request).await }
    });
    let request = v1::WatchCommandRequest {
        id: record.id.clone(),
        after_sequence: 9,
    };
    let mut stream = client.watch_command(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    agent.stop.cancel();
    for status in [
        waiting.await.unwrap().unwrap_err(),
        stream.message().await.unwrap_err(),
    ] {
        assert_eq!(
            reason(&status),
            (Code::Unavailable, "SHUTTING_DOWN".to_owned())
        );
    }
    agent.server.await.unwrap().unwrap();
    assert!(!agent.directory.path().join("agent.sock").exists());
}

#[tokio::test]
async fn with_a_certificate_authority_only_its_certificates_are_served() {
    use tonic::transport::ClientTlsConfig;

    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new();
    let (certificate, key) = ours.sign();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        Some(path)
    };
    let config = AgentConfig {
        common: CommonSettings {
            grpc_tls_cert_file: file("cert.pem", &certificate),
            grpc_tls_key_file: file("key.pem", &key),
            grpc_tls_ca_file: file("ca.pem", &ours.pem),
            ..CommonSettings::default()
        },
        ..AgentConfig::default()
    };
    let agent = Agent::start_with(directory, config).await;
    let trusting = || {
        ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(&ours.pem))
            .domain_name("agent")
    };
    let identity = |authority: &Authority| {
        let (certificate, key) = authority.sign();
        tonic::transport::Identity::from_pem(certificate, key)
    };
    let status = |tls: ClientTlsConfig| {
        let endpoint = Endpoint::from_static("https://agent")
            .tls_config(tls)
            .unwrap();
        let agent = &agent;
        async move {
            let channel = agent
                .connect(endpoint)
                .await
                .map_err(|error| error.to_string())?;
            let mut client = CommandServiceClient::new(channel);
            let status = client.get_status(v1::GetStatusRequest {}).await;
            status.map_err(|status| status.to_string())
        }
    };
    status(trusting().identity(identity(&ours))).await.unwrap();
    status(trusting()).await.unwrap_err();
    status(trusting().identity(identity(&Authority::new())))
        .await
        .unwrap_err();
    // Nor does the agent speak without TLS.
    let plain = agent.connect(Endpoint::from_static("http://agent")).await;
    let mut client = CommandServiceClient::new(plain.unwrap());
    client
        .get_status(v1::GetStatusRequest {})
        .await
        .unwrap_err();
}

/// All of the agent's log from there on, and what comes.
fn logs_request(cursor: &str) -> v1::FollowLogsRequest {
    v1::FollowLogsRequest {
        sources: vec![v1::LogSource::Agent.into()],
        follow: true,
        tail: None,
        cursor: cursor.to_owned(),
    }
}

/// Reads until a record with this text, or the end. Answers how many records have the mark, the
/// last cursor, and the reason of the end.
async fn read_logs(
    mut events: tonic::Streaming<v1::FollowLogsResponse>,
    mark: &str,
    last: &str,
) -> (usize, String, Option<(Code, String)>) {
    use v1::follow_logs_response::Event;
    let (mut found, mut cursor) = (0, String::new());
    loop {
        let message = match events.message().await {
            Ok(message) => message.unwrap(),
            Err(status) => return (found, cursor, Some(reason(&status))),
        };
        cursor = message.cursor;
        match message.event.unwrap() {
            Event::Record(record) if record.text.contains(mark) => {
                found += 1;
                if record.text.ends_with(last) {
                    return (found, cursor, None);
                }
            }
            Event::Record(_) | Event::Opening(_) => {}
            Event::Gap(gap) => panic!("{gap:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_logs_that_does_not_read_is_cut_off_and_goes_on() {
    let agent = Agent::start().await;
    let endpoint = Endpoint::from_static("http://agent").initial_stream_window_size(16 * 1024);
    let channel = agent.connect(endpoint).await.unwrap();
    let mut client = CommandServiceClient::with_interceptor(channel, Token(Some("T")));
    let log = ironic_program::log::KeptLog::of_this_process();
    let filling = "x".repeat(1000);
    let mark = "of a_reader_of_logs";
    let write = |number: usize| {
        let at = std::time::SystemTime::now();
        let text = format!("{filling} {mark} line {number}.");
        log.write(at, tracing::Level::INFO, &text);
    };
    let events = client
        .follow_logs(logs_request(""))
        .await
        .unwrap()
        .into_inner();
    (1..=400).for_each(write);
    tokio::time::sleep(Duration::from_secs(35)).await;
    let (first, cursor, end) = read_logs(events, mark, "line 400.").await;
    let slow = (Code::ResourceExhausted, "LOG_READER_SLOW".to_owned());
    assert_eq!(end, Some(slow));
    assert!((1..400).contains(&first), "{first}");

    let events = client.follow_logs(logs_request(&cursor)).await.unwrap();
    let (rest, _, end) = read_logs(events.into_inner(), mark, "line 400.").await;
    assert_eq!((first + rest, end), (400, None));
}

#[tokio::test(start_paused = true)]
async fn readers_of_logs_are_bounded_and_refused_by_reason() {
    let agent = Agent::start().await;
    let mut client = agent.client().await;
    let mut refused = async |request| reason(&client.follow_logs(request).await.unwrap_err());
    let wrong = v1::FollowLogsRequest {
        tail: Some(1),
        ..logs_request("x")
    };
    let expected = (Code::InvalidArgument, "LOG_REQUEST_INVALID".to_owned());
    assert_eq!(refused(wrong).await, expected);
    let kernel = v1::FollowLogsRequest {
        sources: vec![v1::LogSource::Kernel.into()],
        ..logs_request("")
    };
    let expected = (
        Code::FailedPrecondition,
        "LOG_SOURCE_UNAVAILABLE".to_owned(),
    );
    assert_eq!(refused(kernel).await, expected);

    let mut readers = Vec::new();
    for _ in 0..16 {
        readers.push(client.follow_logs(logs_request("")).await.unwrap());
    }
    let status = client.follow_logs(logs_request("")).await.unwrap_err();
    let many = (Code::ResourceExhausted, "TOO_MANY_LOG_READERS".to_owned());
    assert_eq!(reason(&status), many);
    readers.pop();
    while client.follow_logs(logs_request("")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.stop.cancel();
    let mut events = readers.pop().unwrap().into_inner();
    let ended = loop {
        if let Err(status) = events.message().await {
            break reason(&status);
        }
    };
    assert_eq!(ended, (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
}
