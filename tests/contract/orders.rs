//! Typed commands and logs, from a generated client to the disks of a simulated agent; and that
//! REST reaches none of it.

use std::path::Path;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command::Verb;
use ironic_agent_protocol::v1::command_record::TypedResult;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::follow_logs_response::Event;
use ironic_transport::Endpoint;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use super::support::agents::{Agent, TOKEN};
use super::support::front::Front;

const MIB: u64 = 1 << 20;

/// A caller of an agent.
struct Caller(CommandServiceClient<Channel>);

impl Caller {
    fn of(agent: &Agent) -> Self {
        let Endpoint::Unix(socket) = &agent.endpoint else {
            panic!("agents of tests serve sockets");
        };
        let address = format!("unix:{}", socket.display());
        let endpoint = tonic::transport::Endpoint::from_shared(address).unwrap();
        Self(CommandServiceClient::new(endpoint.connect_lazy()))
    }

    fn request<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = TOKEN.parse().unwrap();
        request.metadata_mut().insert("agent-token", token);
        request
    }

    async fn execute(
        &mut self,
        verb: Verb,
        validate_only: bool,
    ) -> Result<v1::ExecuteCommandResponse, tonic::Status> {
        let message = v1::ExecuteCommandRequest {
            command: Some(v1::Command {
                verb: Some(verb),
                ..v1::Command::default()
            }),
            validate_only,
            ..v1::ExecuteCommandRequest::default()
        };
        let answer = self.0.execute_command(Self::request(message)).await?;
        Ok(answer.into_inner())
    }

    /// The record of an order when it has ended.
    async fn finish(&mut self, verb: Verb) -> v1::CommandRecord {
        let answer = self.execute(verb, false).await.unwrap();
        let id = answer.command.unwrap().id;
        let message = v1::GetCommandRequest { id, wait: true };
        let answer = self.0.get_command(Self::request(message)).await.unwrap();
        answer.into_inner().command.unwrap()
    }
}

/// An image of a whole disk in a directory, as an order names it.
fn image(directory: &Path) -> v1::Image {
    let mut image = vec![0_u8; 4 << 20];
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    image[1 << 20..].fill(7);
    let path = directory.join("image.raw");
    std::fs::write(&path, &image).unwrap();
    v1::Image {
        urls: vec![format!("file://{}", path.display())],
        digest: Some(v1::ImageDigest {
            algorithm: v1::DigestAlgorithm::Sha256.into(),
            value: hex(&Sha256::digest(&image)),
            list_url: String::new(),
        }),
        format: v1::ImageFormat::Raw.into(),
        size: Some(image.len() as u64),
        ..v1::Image::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn disk(agent: &Agent, name: &str) -> v1::DiskSelector {
    v1::DiskSelector {
        device: agent.disk(name).display().to_string(),
        ..v1::DiskSelector::default()
    }
}

fn write(agent: &Agent) -> v1::WriteImageCommand {
    v1::WriteImageCommand {
        image: Some(image(agent.directory.path())),
        target: Some(disk(agent, "sdb")),
        ..v1::WriteImageCommand::default()
    }
}

#[tokio::test]
async fn an_image_is_planned_written_and_answered_with_types() {
    let agent = Agent::simulated(&[("sda", 64 * MIB), ("sdb", 64 * MIB)], |_| {}).await;
    let mut caller = Caller::of(&agent);
    let device = agent.disk("sdb").display().to_string();
    let order = write(&agent);

    let answer = caller.execute(Verb::WriteImage(order.clone()), true).await;
    let plan = answer.unwrap().plan.unwrap();
    assert_eq!(plan.actions[0].device, device);
    assert!(plan.actions[0].destructive);

    let record = caller.finish(Verb::WriteImage(order)).await;
    assert_eq!(record.state(), v1::CommandState::Succeeded, "{record:?}");
    assert_eq!(record.name, "order.write_image");
    let Some(TypedResult::WriteImage(result)) = record.typed_result else {
        panic!("{record:?}");
    };
    assert_eq!(result.device, device);
    assert!(result.root_uuid.starts_with("0x"), "{result:?}");
    assert!(result.summary.contains("image.raw"), "{result:?}");
    let written = std::fs::read(agent.disk("sdb")).unwrap();
    assert!(written[2 << 20..3 << 20].iter().all(|byte| *byte == 7));
    let other = std::fs::read(agent.disk("sda")).unwrap();
    assert!(other.iter().all(|byte| *byte == 0));

    let policy = v1::ErasePolicy {
        scope: v1::EraseScope::Data.into(),
        ..v1::ErasePolicy::default()
    };
    let erase = v1::EraseCommand {
        policy: None,
        disks: vec![v1::DiskErase {
            disk: Some(disk(&agent, "sdb")),
            policy: Some(policy),
        }],
    };
    let record = caller.finish(Verb::Erase(erase)).await;
    let Some(TypedResult::Erase(result)) = record.typed_result else {
        panic!("{record:?}");
    };
    let erased = v1::ErasedDisk {
        device,
        outcome: v1::EraseOutcome::Erased.into(),
        reason: String::new(),
    };
    assert_eq!(result.disks, [erased]);
    let blank = std::fs::read(agent.disk("sdb")).unwrap();
    assert!(blank.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_field_and_failures_have_their_class() {
    let agent = Agent::simulated(&[("sda", 64 * MIB), ("sdb", 64 * MIB)], |_| {}).await;
    let mut caller = Caller::of(&agent);
    let mut wrong = write(&agent);
    wrong.image.as_mut().unwrap().urls.push("ftp://x".into());
    for validate_only in [true, false] {
        let order = Verb::WriteImage(wrong.clone());
        let refused = caller.execute(order, validate_only).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, "InvalidCommandParamsError");
        let text = "write_image.image.urls[1]: must be a URL";
        assert!(refused.message().contains(text), "{}", refused.message());
    }

    let mut changed = write(&agent);
    changed
        .image
        .as_mut()
        .unwrap()
        .digest
        .as_mut()
        .unwrap()
        .value = "0".repeat(64);
    let record = caller.finish(Verb::WriteImage(changed)).await;
    assert_eq!(record.state(), v1::CommandState::Failed);
    assert!(record.typed_result.is_none());
    let failure = record.failure.unwrap();
    assert_eq!(failure.failure_kind(), v1::FailureKind::ImageChecksum);
    assert_eq!(failure.kind, "ImageChecksumError");

    let raid = v1::RaidCommand {
        volumes: vec![v1::RaidVolume::default()],
        keep_existing: false,
    };
    let refused = caller.execute(Verb::Raid(raid), true).await.unwrap_err();
    let text = "raid.volumes[0].level: must be RAID_LEVEL_0";
    assert!(refused.message().contains(text), "{}", refused.message());
}

#[tokio::test]
async fn rest_reaches_no_typed_order() {
    let agent = Agent::simulated(&[("sda", 64 * MIB)], |_| {}).await;
    let front = Front::before(&agent.endpoint).await;
    let unknown = front.run("nonsense.write_image", json!({})).await;
    let order = front.run("order.write_image", json!({"image": {}})).await;
    assert_eq!(order.status, unknown.status);
    let (order, unknown) = (order.json().to_string(), unknown.json().to_string());
    assert_eq!(order.replace("order", "nonsense"), unknown);

    let flow = json!({"flow": [{"order.erase": {}}]});
    let answer = front.finish("flow.start_flow", flow).await;
    let text = answer.json().to_string();
    assert!(text.contains("Extension with id order not found"), "{text}");

    let reboot = front
        .finish("standby.run_image", json!({"kexec": true}))
        .await;
    let text = reboot.json().to_string();
    assert!(
        text.contains("unexpected keyword argument 'kexec'"),
        "{text}"
    );
}

#[tokio::test]
async fn the_agents_log_is_followed_and_its_kernels_is_not_there() {
    let agent = Agent::simulated(&[("sda", 64 * MIB)], |_| {}).await;
    let mut caller = Caller::of(&agent);
    let log = ironic_program::log::KeptLog::of_this_process();
    let write = |text: &str| log.write(std::time::SystemTime::now(), tracing::Level::INFO, text);
    let mark = "of the_agents_log_is_followed";
    write(&format!("first {mark}"));
    let ask = |cursor: &str| v1::FollowLogsRequest {
        cursor: cursor.to_owned(),
        ..v1::FollowLogsRequest::default()
    };
    let mut cursor = String::new();
    for expected in ["first", "second"] {
        let request = Caller::request(ask(&cursor));
        let mut events = caller.0.follow_logs(request).await.unwrap().into_inner();
        let mut found = Vec::new();
        let mut openings = Vec::new();
        while let Some(message) = events.message().await.unwrap() {
            cursor = message.cursor;
            match message.event.unwrap() {
                Event::Opening(opening) => openings.push(opening),
                Event::Record(record) if record.text.contains(mark) => found.push(record),
                Event::Record(_) => {}
                Event::Gap(gap) => panic!("{gap:?}"),
            }
        }
        let [opening] = openings.as_slice() else {
            panic!("{openings:?}");
        };
        assert_eq!(opening.sources, [v1::LogSource::Agent as i32]);
        let kernel = &opening.unavailable[0];
        assert_eq!(kernel.source(), v1::LogSource::Kernel);
        let [record] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(record.text, format!("{expected} {mark}"));
        assert_eq!(record.level(), v1::LogLevel::Info);
        write(&format!("second {mark}"));
    }
}
