//! A hardware manager that is a program of its own: what a vendor would write, in Rust.
//!
//! It offers two steps and touches nothing: `example_check_memory` looks whether the machine
//! has as much memory as it should, `example_update_firmware` pretends to flash a card block
//! by block and tells where it stands. A disk that is called `example-disk` it erases itself,
//! or says so. docs/hardware-managers.md explains the rules;
//! `manager.py` beside this file is the same in Python.

use std::pin::Pin;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::execute_step_response::Event;
use ironic_agent_protocol::v1::hardware_manager_service_server::{
    HardwareManagerService, HardwareManagerServiceServer,
};
use prost_types::value::Kind;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status};

/// What a block of the pretended firmware takes.
const BLOCK_TIME: Duration = Duration::from_millis(10);

struct ExampleManager;

type Events = Pin<Box<dyn Stream<Item = Result<v1::ExecuteStepResponse, Status>> + Send>>;

#[tonic::async_trait]
impl HardwareManagerService for ExampleManager {
    type ExecuteStepStream = Events;

    async fn describe(
        &self,
        _request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let offer = |phase: v1::StepPhase, priority| v1::StepOffer {
            phase: phase.into(),
            priority,
            abortable: Some(false),
        };
        let check = v1::StepDescription {
            name: "example_check_memory".to_owned(),
            arguments: vec![v1::StepArgument {
                name: "minimum_mib".to_owned(),
                description: "How much memory there must be at least.".to_owned(),
                required: true,
                ..Default::default()
            }],
            offers: vec![
                offer(v1::StepPhase::Clean, 0),
                offer(v1::StepPhase::Deploy, 0),
            ],
            ..Default::default()
        };
        let update = v1::StepDescription {
            name: "example_update_firmware".to_owned(),
            interface: "deploy".to_owned(),
            reboot_requested: true,
            arguments: vec![
                v1::StepArgument {
                    name: "version".to_owned(),
                    description: "The version to install.".to_owned(),
                    required: true,
                    kind: v1::ArgumentKind::Text.into(),
                },
                v1::StepArgument {
                    name: "blocks".to_owned(),
                    description: "How many blocks it has; 10 when not given.".to_owned(),
                    ..Default::default()
                },
            ],
            offers: vec![
                offer(v1::StepPhase::Clean, 20),
                offer(v1::StepPhase::Service, 0),
            ],
            deadline: Some(prost_types::Duration {
                seconds: 600,
                nanos: 0,
            }),
        };
        // Part of the agent's erase_devices: Ironic does not hear of it.
        let erase = v1::StepDescription {
            name: "erase_block_device".to_owned(),
            ..Default::default()
        };
        Ok(Response::new(v1::DescribeResponse {
            class_name: "ExampleHardwareManager".to_owned(),
            name: "example_hardware_manager".to_owned(),
            version: "1.0".to_owned(),
            support: 3,
            steps: vec![check, update, erase],
        }))
    }

    async fn plan_step(
        &self,
        request: Request<v1::PlanStepRequest>,
    ) -> Result<Response<v1::PlanStepResponse>, Status> {
        let order = request.into_inner().order.unwrap_or_default();
        let description = match order.name.as_str() {
            "example_check_memory" => "Compare the machine's memory with the minimum".to_owned(),
            "example_update_firmware" => {
                let version = text(&order, "version").unwrap_or_default();
                format!("Install firmware {version} on the example card")
            }
            "erase_block_device" if is_own(&order) => "Forget the key".to_owned(),
            "erase_block_device" => {
                return Ok(Response::new(v1::PlanStepResponse {
                    plan: None,
                    failure: Some(v1::Failure {
                        kind: "IncompatibleHardwareMethodError".to_owned(),
                        details: "another vendor's disk".to_owned(),
                        ..Default::default()
                    }),
                }));
            }
            other => return Err(Status::not_found(format!("there is no step {other}"))),
        };
        let action = v1::PlannedAction {
            description,
            ..Default::default()
        };
        Ok(Response::new(v1::PlanStepResponse {
            plan: Some(v1::Plan {
                actions: vec![action],
            }),
            failure: None,
        }))
    }

    async fn execute_step(
        &self,
        request: Request<v1::ExecuteStepRequest>,
    ) -> Result<Response<Events>, Status> {
        let order = request.into_inner().order.unwrap_or_default();
        let (events, received) = mpsc::channel(4);
        tokio::spawn(async move {
            let last = match order.name.as_str() {
                "example_check_memory" => check_memory(&order),
                "example_update_firmware" => update_firmware(&order, &events).await,
                "erase_block_device" if is_own(&order) => {
                    Event::Result(Kind::StringValue("the key is forgotten".to_owned()).into())
                }
                "erase_block_device" => Event::Incompatible("another vendor's disk".to_owned()),
                other => failed("", &format!("there is no step {other}")),
            };
            // When the agent has cancelled the call there is nobody to tell.
            let _ = send(&events, last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(received))))
    }
}

/// Done, or a failure of the class that the phase has.
fn check_memory(order: &v1::StepOrder) -> Event {
    let Some(minimum) = number(order, "minimum_mib") else {
        return failed(
            "InvalidCommandParamsError",
            "'minimum_mib' must be a number",
        );
    };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    match total.map(|kib| kib / 1024.0) {
        None => Event::Incompatible("this kernel does not tell its memory".to_owned()),
        Some(mib) if mib < minimum => failed(
            "",
            &format!("{mib:.0} MiB of memory are less than {minimum} MiB"),
        ),
        Some(mib) => Event::Result(Kind::NumberValue(mib.floor()).into()),
    }
}

/// Block by block. It stops when nobody listens any longer: then the call was cancelled.
async fn update_firmware(
    order: &v1::StepOrder,
    events: &mpsc::Sender<Result<v1::ExecuteStepResponse, Status>>,
) -> Event {
    let version = text(order, "version").unwrap_or_default();
    let blocks = number(order, "blocks").unwrap_or(10.0);
    let mut block = 0.0;
    let mut done = 0;
    while block < blocks {
        tokio::time::sleep(BLOCK_TIME).await;
        block += 1.0;
        done += 1;
        let progress = v1::Progress {
            phase: "flash".to_owned(),
            done,
            unit: "blocks".to_owned(),
            subject: "example card".to_owned(),
            ..Default::default()
        };
        if send(events, Event::Progress(progress)).await.is_err() {
            eprintln!("cancelled after {done} blocks");
            return failed("", "cancelled");
        }
    }
    let _ = send(events, Event::PhaseEnded(format!("{done} blocks written"))).await;
    Event::Result(Kind::StringValue(format!("firmware {version} is installed")).into())
}

async fn send(
    events: &mpsc::Sender<Result<v1::ExecuteStepResponse, Status>>,
    event: Event,
) -> Result<(), ()> {
    let response = v1::ExecuteStepResponse { event: Some(event) };
    events.send(Ok(response)).await.map_err(drop)
}

fn failed(kind: &str, details: &str) -> Event {
    Event::Failure(v1::Failure {
        kind: kind.to_owned(),
        details: details.to_owned(),
        ..Default::default()
    })
}

/// Whether the disk is one of ours, by what the agent tells of it.
fn is_own(order: &v1::StepOrder) -> bool {
    let Some(Kind::StructValue(disk)) = argument(order, "device") else {
        return false;
    };
    let name = disk.fields.get("name").and_then(|name| name.kind.as_ref());
    matches!(name, Some(Kind::StringValue(name)) if name.ends_with("/example-disk"))
}

fn argument<'a>(order: &'a v1::StepOrder, name: &str) -> Option<&'a Kind> {
    order.arguments.as_ref()?.fields.get(name)?.kind.as_ref()
}

fn text(order: &v1::StepOrder, name: &str) -> Option<String> {
    match argument(order, name)? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(order: &v1::StepOrder, name: &str) -> Option<f64> {
    match argument(order, name)? {
        Kind::NumberValue(number) => Some(*number),
        _ => None,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, option, socket] = arguments.as_slice() else {
        return Err("usage: hardware_manager --socket PATH".into());
    };
    if option != "--socket" {
        return Err("usage: hardware_manager --socket PATH".into());
    }
    let socket = UnixListener::bind(socket)?;
    // The agent holds standard input open: its end is the agent's end.
    let agent_gone = async {
        let read = || std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tokio::task::spawn_blocking(read).await;
    };
    tonic::transport::Server::builder()
        .add_service(HardwareManagerServiceServer::new(ExampleManager))
        .serve_with_incoming_shutdown(UnixListenerStream::new(socket), agent_gone)
        .await?;
    Ok(())
}
