//! Calls one agent's `CommandService`.

use std::fmt;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_text::Secret;
use ironic_transport::Endpoint;
use ironic_transport::grpc::TlsFiles;
use tokio::sync::Semaphore;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use uuid::Uuid;

use super::connect::{self, InvalidEndpoint};
use super::error::CallError;
use super::record::{Record, bare};
use super::status::{Remembered, Status};

/// The metadata key of the token.
const TOKEN: &str = "agent-token";

/// The largest answer: the list of commands, in which a step may echo a config drive of
/// 64 MiB base64.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// How long an answer may take that needs no work.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a status may take: somebody waits who only wants to know whether we live.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// Calls at once that wait for a command's end, and orders that wait for their turn. An agent
/// takes 256 streams on a connection: neither may take them all from the other, or from the
/// short calls.
const WAITING: usize = 128;
const ORDERS: usize = 64;

/// How long after a broken connection the one repetition of a call comes.
const REPEAT_AFTER: Duration = Duration::from_millis(200);

/// A connection to one agent.
pub struct Client {
    calls: CommandServiceClient<Channel>,
    endpoint: String,
    waiting: Semaphore,
    orders: Semaphore,
    status: Remembered,
}

impl Client {
    /// A client that connects when it is used. Must be called within a runtime.
    ///
    /// # Errors
    /// The address or the files make no sense.
    pub fn new(endpoint: &Endpoint, files: &TlsFiles) -> Result<Self, InvalidEndpoint> {
        let channel = connect::channel(endpoint, files)?;
        Ok(Self::over(channel, endpoint.to_string()))
    }

    /// A client over a channel that exists; `endpoint` is for logs and errors.
    #[must_use]
    pub fn over(channel: Channel, endpoint: String) -> Self {
        let calls = CommandServiceClient::new(channel)
            .max_decoding_message_size(LARGEST_ANSWER)
            .max_encoding_message_size(usize::MAX);
        Self {
            calls,
            endpoint,
            waiting: Semaphore::new(WAITING),
            orders: Semaphore::new(ORDERS),
            status: Remembered::default(),
        }
    }

    /// The agent's status, at most a second old.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self) -> Result<Status, CallError> {
        self.status.get(async || self.status_now().await).await
    }

    /// The agent's status as it is now.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status_now(&self) -> Result<Status, CallError> {
        let request = within(STATUS_PATIENCE, v1::GetStatusRequest {});
        let answer = self.calls.clone().get_status(request).await;
        let status = answer.map_err(|status| self.error(&status))?.into_inner();
        let started = status.started_at.unwrap_or_default();
        #[expect(
            clippy::cast_precision_loss,
            reason = "the REST interface gives a double, exact to the microsecond until 2255"
        )]
        let seconds = started.seconds as f64;
        Ok(Status {
            started_at: seconds + f64::from(started.nanos) / 1e9,
            version: status.version,
            busy: status
                .running
                .filter(|running| running.background)
                .map(|running| bare(&running.name).to_owned()),
        })
    }

    /// Has a command executed. A background command is answered at once, the others when
    /// they have ended.
    ///
    /// The identifier is chosen here, so a call whose connection breaks is repeated once
    /// without the danger that the command runs twice.
    ///
    /// # Errors
    /// Why the agent did not take it.
    pub async fn execute(&self, token: &Secret, command: v1::Command) -> Result<Record, CallError> {
        let _turn = self.orders.acquire().await;
        let request = v1::ExecuteCommandRequest {
            command: Some(command),
            id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let spare = (prost::Message::encoded_len(&request) < LARGE).then(|| request.clone());
        let mut calls = self.calls.clone();
        let first = calls.execute_command(with_token(token, request)?).await;
        let answer = match (first, spare) {
            (Err(status), Some(spare)) if self.error(&status).is_broken_connection() => {
                tokio::time::sleep(REPEAT_AFTER).await;
                calls.execute_command(with_token(token, spare)?).await
            }
            (first, _) => first,
        };
        let answer = answer.map_err(|status| self.error(&status))?;
        Ok(Record::try_from(answer.into_inner().command)?)
    }

    /// Whether the agent takes a token, by a question that costs it nothing. `None` when it
    /// does not answer.
    pub async fn takes(&self, token: &Secret) -> Option<bool> {
        let Ok(mut request) = with_token(token, record_request(&Uuid::nil().to_string(), false))
        else {
            return Some(false);
        };
        request.set_timeout(STATUS_PATIENCE);
        match self.fetch(request).await {
            Ok(_) | Err(CallError::NotFound { .. }) => Some(true),
            Err(CallError::Unauthenticated) => Some(false),
            Err(_) => None,
        }
    }

    /// One record as it is.
    ///
    /// # Errors
    /// There is none, or the agent does not answer.
    pub async fn get(&self, token: &Secret, id: &str) -> Result<Record, CallError> {
        let mut request = with_token(token, record_request(id, false))?;
        request.set_timeout(PATIENCE);
        self.fetch(request).await
    }

    /// One record when the command has ended, however long that takes.
    ///
    /// # Errors
    /// There is none, or the agent does not answer.
    pub async fn wait(&self, token: &Secret, id: &str) -> Result<Record, CallError> {
        let _turn = self.waiting.acquire().await;
        match self
            .fetch(with_token(token, record_request(id, true))?)
            .await
        {
            Err(error) if error.is_broken_connection() => {
                tokio::time::sleep(REPEAT_AFTER).await;
                self.fetch(with_token(token, record_request(id, true))?)
                    .await
            }
            outcome => outcome,
        }
    }

    /// All records in the order of execution.
    ///
    /// # Errors
    /// The agent does not answer.
    pub async fn list(&self, token: &Secret) -> Result<Vec<Record>, CallError> {
        let mut request = with_token(token, v1::ListCommandsRequest {})?;
        request.set_timeout(PATIENCE);
        let answer = self.calls.clone().list_commands(request).await;
        let commands = answer
            .map_err(|status| self.error(&status))?
            .into_inner()
            .commands;
        commands
            .into_iter()
            .map(|record| Ok(Record::try_from(Some(record))?))
            .collect()
    }

    async fn fetch(&self, request: Request<v1::GetCommandRequest>) -> Result<Record, CallError> {
        let answer = self.calls.clone().get_command(request).await;
        let answer = answer.map_err(|status| self.error(&status))?;
        Ok(Record::try_from(answer.into_inner().command)?)
    }

    fn error(&self, status: &tonic::Status) -> CallError {
        CallError::from_status(status, &self.endpoint)
    }
}

/// Above this, a command is not kept for a repetition: memory is scarce in a ramdisk.
const LARGE: usize = 1024 * 1024;

fn record_request(id: &str, wait: bool) -> v1::GetCommandRequest {
    v1::GetCommandRequest {
        id: id.to_owned(),
        wait,
    }
}

fn within<M>(patience: Duration, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    request
}

/// # Errors
/// A token that is no ASCII text never was an agent's token.
fn with_token<M>(token: &Secret, message: M) -> Result<Request<M>, CallError> {
    let mut value =
        AsciiMetadataValue::try_from(token.reveal()).map_err(|_| CallError::Unauthenticated)?;
    value.set_sensitive(true);
    let mut request = Request::new(message);
    request.metadata_mut().insert(TOKEN, value);
    Ok(request)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
