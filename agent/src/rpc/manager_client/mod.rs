//! The client of `HardwareManagerService`: speaks with a hardware manager that is a program
//! of its own, over its unix socket.
//!
//! What a program says is untrusted input: names are checked, sizes limited, and anything
//! that is missing or not understood is an error that says what.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::hardware_manager_service_client::HardwareManagerServiceClient;
use ironic_document::JsonObject;
use ironic_document::{to_struct, value};
use ironic_program::version;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::failure::FailureKind;
use crate::hardware::PlannedAction;
use crate::hardware::external::{
    ConnectPeer, ExternalStepRequest, ManagerDescription, ManagerPeer, PeerError, ReportedFailure,
    StepAnswer, StepEvent,
};
use crate::rpc::call_status::CallStatus;
use crate::task::Progress;

mod description;
mod event_filter;

use event_filter::EventFilter;

/// The largest answer: a step's result goes into the node's record in Ironic.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Steps of one manager, and letters of a name: far beyond what any manager has.
const MAX_STEPS: usize = 1000;
const MAX_NAME_LENGTH: usize = 255;

/// Letters of a text that goes to Ironic or into a command's record.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The largest description or plan. Small parts of it take many times their size in memory.
const MAX_DESCRIPTION_BYTES: usize = 1024 * 1024;

/// Makes clients.
#[must_use]
pub fn dial() -> ConnectPeer {
    Arc::new(|socket: &Path| Arc::new(ManagerClient::new(socket)) as Arc<dyn ManagerPeer>)
}

/// A client of one program.
struct ManagerClient {
    socket: PathBuf,
    client: Result<HardwareManagerServiceClient<Channel>, Arc<tonic::transport::Error>>,
}

impl fmt::Debug for ManagerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerClient")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl ManagerClient {
    fn new(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // HTTP needs some authority; the socket is what is dialled, when it is needed.
        let client = tonic::transport::Endpoint::from_shared("http://localhost")
            .map(|endpoint| endpoint.connect_with_connector_lazy(connector))
            .map(|channel| {
                HardwareManagerServiceClient::new(channel)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
                    .max_encoding_message_size(MAX_MESSAGE_BYTES)
            })
            .map_err(Arc::new);
        Self {
            socket: socket.to_owned(),
            client,
        }
    }

    fn client(&self) -> Result<HardwareManagerServiceClient<Channel>, PeerError> {
        self.client.clone().map_err(misunderstood)
    }
}

impl ManagerPeer for ManagerClient {
    fn describe(&self) -> BoxFuture<'_, Result<ManagerDescription, PeerError>> {
        Box::pin(async move {
            let request = v1::DescribeRequest {
                agent_version: version().to_owned(),
            };
            let client = self.client()?;
            let mut client = client.max_decoding_message_size(MAX_DESCRIPTION_BYTES);
            let response = client.describe(request).await;
            let response = response.map_err(|status| lost("Describe", status))?;
            description::described(response.into_inner()).map_err(misunderstood)
        })
    }

    fn plan(
        &self,
        order: ExternalStepRequest,
    ) -> BoxFuture<'_, Result<StepAnswer<Option<Vec<PlannedAction>>>, PeerError>> {
        Box::pin(async move {
            let order = Some(step_order(&order)?);
            let request = v1::PlanStepRequest { order };
            let client = self.client()?;
            let mut client = client.max_decoding_message_size(MAX_DESCRIPTION_BYTES);
            let response = match client.plan_step(request).await {
                Ok(response) => response.into_inner(),
                Err(status) if status.code() == Code::Unimplemented => {
                    return Ok(StepAnswer::Done(None));
                }
                Err(status) => return Err(lost("PlanStep", status)),
            };
            if let Some(message) = response.failure {
                return Ok(failed(message));
            }
            let actions = response.plan.unwrap_or_default().actions;
            let actions = actions
                .into_iter()
                .take(MAX_STEPS)
                .map(|action| PlannedAction {
                    description: beginning(action.description),
                    device: word(&action.device),
                    destructive: action.destructive,
                });
            Ok(StepAnswer::Done(Some(actions.collect())))
        })
    }

    fn execute<'a>(
        &'a self,
        order: ExternalStepRequest,
        heard: &'a mut (dyn FnMut(StepEvent) + Send),
    ) -> BoxFuture<'a, Result<StepAnswer<Value>, PeerError>> {
        Box::pin(async move {
            let order = Some(step_order(&order)?);
            let request = v1::ExecuteStepRequest { order };
            let status = |status: Status| lost("ExecuteStep", status);
            let response = self.client()?.execute_step(request).await;
            let mut messages = response.map_err(status)?.into_inner();
            let mut filter = EventFilter::new(Instant::now());
            // Goal: the step's answer. Exit: it comes, or the stream ends or breaks before.
            let answer = loop {
                let message = tokio::select! {
                    message = messages.message() => message,
                    () = until(filter.due()) => {
                        if let Some(progress) = filter.take_progress() {
                            heard(progress);
                        }
                        continue;
                    }
                };
                filter.pause().await;
                match message.map(|message| message.map(step_message)) {
                    Ok(Some(StepMessage::Event(event))) => {
                        if let Some(event) = filter.admit(event, Instant::now()) {
                            heard(event);
                        }
                    }
                    Ok(Some(StepMessage::Answer(answer))) => break answer,
                    Ok(Some(StepMessage::Unknown)) => {}
                    Ok(None) => break Err(misunderstood(NoOutcome)),
                    Err(error) => break Err(status(error)),
                }
            };
            filter.finish().for_each(heard);
            answer
        })
    }
}

/// A message of a step.
enum StepMessage {
    Event(StepEvent),
    /// The step has ended.
    Answer(Result<StepAnswer<Value>, PeerError>),
    /// A message of a newer protocol, which does not end the step.
    Unknown,
}

fn step_message(message: v1::ExecuteStepResponse) -> StepMessage {
    use v1::execute_step_response::Event as Message;
    match message.event {
        Some(Message::Progress(message)) => {
            StepMessage::Event(StepEvent::Progress(progress(message)))
        }
        Some(Message::PhaseEnded(text)) => StepMessage::Event(StepEvent::PhaseEnded(word(&text))),
        Some(Message::Warning(text)) => StepMessage::Event(StepEvent::Warning(word(&text))),
        Some(Message::Result(result)) => {
            let result = value(result, "result").map(StepAnswer::Done);
            StepMessage::Answer(result.map_err(misunderstood))
        }
        Some(Message::Failure(message)) => StepMessage::Answer(Ok(failed(message))),
        Some(Message::Incompatible(reason)) => {
            StepMessage::Answer(Ok(StepAnswer::Incompatible(beginning(reason))))
        }
        None => StepMessage::Unknown,
    }
}

/// Completes at a time; never, without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The beginning of a text that may be as long as a message.
fn beginning(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}

/// A call that was not answered as agreed.
#[derive(Debug, thiserror::Error)]
#[error("{call}")]
struct LostCall {
    call: &'static str,
    source: CallStatus,
}

fn lost(call: &'static str, status: Status) -> PeerError {
    let cause = std::error::Error::source(&status);
    let mut causes = std::iter::successors(cause, |error| error.source());
    let unreachable = causes.any(nobody_listens);
    let source = CallStatus(status);
    PeerError {
        source: Box::new(LostCall { call, source }),
        unreachable,
    }
}

/// Whether no process is behind the socket.
fn nobody_listens(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| matches!(error.kind(), ConnectionRefused | NotFound))
}

/// A step's stream ended too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ExecuteStep ended without a result, a failure or 'incompatible'")]
struct NoOutcome;

fn misunderstood(error: impl std::error::Error + Send + Sync + 'static) -> PeerError {
    PeerError {
        source: Box::new(error),
        unreachable: false,
    }
}

fn step_order(order: &ExternalStepRequest) -> Result<v1::StepOrder, PeerError> {
    let document = |document: &JsonObject, name: &str| {
        to_struct(document.clone(), name).map_err(misunderstood)
    };
    Ok(v1::StepOrder {
        name: order.name.clone(),
        node: Some(document(&order.node, "node")?),
        ports: order
            .ports
            .iter()
            .map(|port| document(port, "ports"))
            .collect::<Result<_, _>>()?,
        arguments: Some(document(&order.arguments, "arguments")?),
    })
}

/// A failure: of a class that Ironic knows, or of the manager's own.
fn failed<T>(message: v1::Failure) -> StepAnswer<T> {
    let text = if message.details.is_empty() {
        message.message
    } else {
        message.details
    };
    let text = beginning(text);
    if FailureKind::from_name(&message.kind) == Some(FailureKind::IncompatibleHardwareMethod) {
        return StepAnswer::Incompatible(text);
    }
    StepAnswer::Failed(ReportedFailure {
        kind: word(&message.kind),
        details: text,
        program: (!message.program.is_empty()).then_some(word(&message.program)),
        exit_status: message.exit_status,
        stderr_tail: beginning(message.stderr_tail),
    })
}

/// Progress from an untrusted program: its words are kept, as far as they are words.
fn progress(message: v1::Progress) -> Progress {
    let phase = word(&message.phase);
    Progress {
        phase: if phase.is_empty() {
            "manager".into()
        } else {
            phase.into()
        },
        done: message.done,
        total: message.total,
        rate: message.rate,
        remaining: message.remaining.and_then(|time| time.try_into().ok()),
        unit: word(&message.unit).into(),
        subject: word(&message.subject),
        written: message.written,
    }
}

/// What fits into one line of the log and says one thing.
fn word(text: &str) -> String {
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(MAX_NAME_LENGTH).collect()
}

#[cfg(test)]
mod tests;
