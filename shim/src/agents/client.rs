//! Calls one agent's `CommandService`.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_text::Secret;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{InvalidEndpoint, TlsFiles};
use ironic_tunnel::ORIGIN;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Uri;
use tonic::{Request, Response};
use tracing::info;
use uuid::Uuid;

use super::attachment::{AttachmentSlot, HoldTerms};
use super::channel::{AgentChannel, AgentRoute};
use super::connect;
use super::error::CallError;
use super::handover::OrderMemory;
use super::record::{CommandResult, ExecutedCommand, State, bare};
use super::status::{Remembered, Status};
use crate::metrics::labels::{CommandVerdict, Label};

/// The metadata key of the agent token.
pub const TOKEN: &str = "agent-token";

/// The largest answer: the list of commands, in which a step may echo a config drive of
/// 64 MiB base64.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// How long an answer may take that needs no work.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a status may take: somebody waits who only wants to know whether we live.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls at once that wait for a command's end, and orders that wait for their turn. An agent
/// takes 256 streams on a connection: neither may take them all from the other, or from the
/// short calls.
const WAITING: usize = 128;
const ORDERS: usize = 64;

/// Orders that wait for their turn: each holds its message, of up to 160 MiB, and a conductor gives
/// a node one order after the other.
const WAITING_ORDERS: usize = 16;

/// How long after a broken connection the one repetition of a call comes.
const REPEAT_AFTER: Duration = Duration::from_millis(200);

/// Calls one agent.
pub struct Client {
    route: AgentRoute,
    /// For logs and errors.
    name: String,
    /// The receiver of the commands that the agent was given.
    executed: Option<CommandReport>,
    waiting: Semaphore,
    orders: Semaphore,
    waiting_orders: Semaphore,
    status: Remembered,
}

/// A command to execute, and what ends with it.
#[derive(Debug)]
pub struct AgentOrder {
    /// The command.
    pub command: v1::Command,
    /// Until when it may wait for its turn and for the agent: later its caller has given it up.
    pub until: Instant,
    /// What is held for it until it was handed to the agent.
    pub memory: Option<OrderMemory>,
    /// Cancelled when its caller has hung up: what the agent was not given until then, it is not
    /// given any more.
    pub caller: CancellationToken,
}

impl Client {
    /// A client of an agent that listens; it connects when it is used. Must be called within a
    /// runtime.
    ///
    /// # Errors
    /// The address or the files make no sense.
    pub fn new(endpoint: &Endpoint, files: &TlsFiles) -> Result<Self, InvalidEndpoint> {
        let channel = connect::channel(endpoint, files)?;
        Ok(Self::over(
            AgentRoute::Listening(channel),
            endpoint.to_string(),
        ))
    }

    /// A client of the agent that has this slot, or will have it.
    #[must_use]
    pub fn attached(
        slot: AttachmentSlot,
        node_uuid: &str,
        executed: Option<mpsc::Sender<ExecutedCommand>>,
    ) -> Self {
        let client = Self::over(AgentRoute::Attached(slot), format!("node {node_uuid}"));
        Self {
            executed: executed.map(|sender| CommandReport {
                node_uuid: node_uuid.to_owned(),
                sender,
            }),
            ..client
        }
    }

    fn over(route: AgentRoute, name: String) -> Self {
        Self {
            route,
            name,
            executed: None,
            waiting: Semaphore::new(WAITING),
            orders: Semaphore::new(ORDERS),
            waiting_orders: Semaphore::new(WAITING_ORDERS),
            status: Remembered::default(),
        }
    }

    /// Where the agent attaches, if it does not listen.
    #[must_use]
    pub fn slot(&self) -> Option<&AttachmentSlot> {
        match &self.route {
            AgentRoute::Listening(_) => None,
            AgentRoute::Attached(slot) => Some(slot),
        }
    }

    /// The agent's status, at most a second old, for anybody.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self) -> Result<Status, CallError> {
        self.status.get(async || self.ask_status(false).await).await
    }

    /// The agent's status as it is now, for a caller that may call it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status_now(&self) -> Result<Status, CallError> {
        self.ask_status(true).await
    }

    async fn ask_status(&self, is_proved: bool) -> Result<Status, CallError> {
        let ask = |mut calls: Calls| {
            let request = within(STATUS_TIMEOUT, v1::GetStatusRequest {});
            timed(
                STATUS_TIMEOUT,
                async move { calls.get_status(request).await },
            )
        };
        let status = self.read(is_proved, ask).await?;
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
    pub async fn execute(
        &self,
        token: &Secret,
        order: AgentOrder,
    ) -> Result<CommandResult, CallError> {
        let counted = self.slot().map(|slot| slot.metrics().command_begins());
        let (id, begun) = (Uuid::new_v4().to_string(), Instant::now());
        let answer = self.execute_as(&id, token, order).await;
        drop(counted);
        let verdict = verdict(&answer);
        if let Some(slot) = self.slot() {
            slot.metrics().command(verdict);
        }
        let name = answer.as_ref().map_or("", |command| command.name.as_str());
        let ms = begun.elapsed().as_millis();
        info!(agent = %self.name, %id, name, outcome = verdict.word(), ms, "command");
        answer
    }

    async fn execute_as(
        &self,
        id: &str,
        token: &Secret,
        order: AgentOrder,
    ) -> Result<CommandResult, CallError> {
        let token = token_value(token)?;
        let caller = order.caller;
        let terms = HoldTerms {
            until: order.until,
            is_proved: true,
        };
        let reached = caller.run_until_cancelled(self.reach(terms));
        let (_turn, (mut calls, boot)) = reached.await.unwrap_or(Err(CallError::Abandoned))?;
        let request = v1::ExecuteCommandRequest {
            command: Some(order.command),
            id: id.to_owned(),
            ..Default::default()
        };
        let spare = (prost::Message::encoded_len(&request) < LARGE).then(|| request.clone());
        let mut request = with_token(&token, request);
        if let Some(memory) = order.memory {
            request.extensions_mut().insert(memory);
        }
        let first = calls.execute_command(request).await;
        let answer = match (first, spare) {
            (Err(status), Some(spare)) if self.error(&status).is_broken_connection() => {
                let reached = caller.run_until_cancelled(self.connect_again(terms));
                let reached = reached.await.unwrap_or(Err(CallError::Abandoned));
                let (mut calls, boot_now) = reached?;
                // An agent that has booted since then does not know that it had begun.
                if boot_now != boot {
                    return Err(self.error(&status));
                }
                calls.execute_command(with_token(&token, spare)).await
            }
            (first, _) => first,
        };
        let answer = answer.map_err(|status| self.error(&status))?;
        let record = answer.into_inner().command;
        if let (Some(executed), Some(record)) = (&self.executed, &record) {
            executed.send(record);
        }
        Ok(CommandResult::try_from(record)?)
    }

    /// A turn among the orders, and then the connection.
    async fn reach(&self, terms: HoldTerms) -> Result<(SemaphorePermit<'_>, Connected), CallError> {
        let turn = self.turn(terms.until).await?;
        Ok((turn, self.connect(terms).await?))
    }

    /// A turn among the orders.
    ///
    /// # Errors
    /// Too many wait for theirs, or it does not come in time.
    async fn turn(&self, until: Instant) -> Result<SemaphorePermit<'_>, CallError> {
        if let Ok(turn) = self.orders.try_acquire() {
            return Ok(turn);
        }
        let crowded = || CallError::Crowded {
            name: self.name.clone(),
        };
        let _waits = self.waiting_orders.try_acquire().map_err(|_| crowded())?;
        match timeout_at(until, self.orders.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // They are never closed.
            Ok(Err(_)) | Err(_) => Err(crowded()),
        }
    }

    /// Whether the agent takes a token, by a question that costs it nothing, for a caller that has
    /// not shown the token of before. `None` when it does not answer.
    pub async fn takes(&self, token: &Secret) -> Option<bool> {
        let nobody = Uuid::nil().to_string();
        let question = Question {
            id: &nobody,
            timeout: Some(STATUS_TIMEOUT),
            is_proved: false,
        };
        match self.fetch(token, question).await {
            Ok(_) | Err(CallError::NotFound { .. }) => Some(true),
            Err(CallError::Unauthenticated) => Some(false),
            Err(_) => None,
        }
    }

    /// One record as it is.
    ///
    /// # Errors
    /// There is none, or the agent does not answer.
    pub async fn get(&self, token: &Secret, id: &str) -> Result<CommandResult, CallError> {
        let question = Question {
            id,
            timeout: Some(TIMEOUT),
            is_proved: true,
        };
        self.fetch(token, question).await
    }

    /// One record when the command has ended, however long that takes.
    ///
    /// # Errors
    /// There is none, or the agent does not answer.
    pub async fn wait(&self, token: &Secret, id: &str) -> Result<CommandResult, CallError> {
        let _turn = self.waiting.acquire().await;
        let question = Question {
            id,
            timeout: None,
            is_proved: true,
        };
        self.fetch(token, question).await
    }

    /// All records in the order of execution.
    ///
    /// # Errors
    /// The agent does not answer.
    pub async fn list(&self, token: &Secret) -> Result<Vec<CommandResult>, CallError> {
        let token = token_value(token)?;
        let list = |mut calls: Calls| {
            let mut request = with_token(&token, v1::ListCommandsRequest {});
            request.set_timeout(TIMEOUT);
            timed(TIMEOUT, async move { calls.list_commands(request).await })
        };
        let commands = self.read(true, list).await?.commands;
        commands
            .into_iter()
            .map(|record| Ok(CommandResult::try_from(Some(record))?))
            .collect()
    }

    /// One record: as it is, or without a timeout when the command has ended.
    async fn fetch(
        &self,
        token: &Secret,
        question: Question<'_>,
    ) -> Result<CommandResult, CallError> {
        let token = token_value(token)?;
        let timeout = question.timeout;
        let get = |mut calls: Calls| {
            let message = v1::GetCommandRequest {
                id: question.id.to_owned(),
                wait: timeout.is_none(),
            };
            let mut request = with_token(&token, message);
            if let Some(timeout) = timeout {
                request.set_timeout(timeout);
            }
            timed(timeout.unwrap_or(Duration::MAX), async move {
                calls.get_command(request).await
            })
        };
        let answer = self.read(question.is_proved, get).await?;
        Ok(CommandResult::try_from(answer.command)?)
    }

    /// Makes a call that changes nothing, and once more when its connection breaks. Whether its
    /// caller may call the agent says where it waits while the agent is away.
    async fn read<T>(
        &self,
        is_proved: bool,
        call: impl Fn(Calls) -> BoxFuture<'static, Result<Response<T>, tonic::Status>>,
    ) -> Result<T, CallError> {
        let terms = HoldTerms::now(is_proved);
        let (calls, _) = self.connect(terms).await?;
        let mut answer = call(calls).await;
        if let Err(status) = &answer
            && self.error(status).is_broken_connection()
        {
            let (calls, _) = self.connect_again(terms).await?;
            answer = call(calls).await;
        }
        answer
            .map(Response::into_inner)
            .map_err(|status| self.error(&status))
    }

    async fn connect(&self, terms: HoldTerms) -> Result<Connected, CallError> {
        let connection = self.route.connect(terms).await;
        let connection = connection.map_err(|away| CallError::Away {
            name: self.name.clone(),
            away,
        })?;
        let calls = CommandServiceClient::with_origin(connection.channel, Uri::from_static(ORIGIN))
            .max_decoding_message_size(MAX_RESPONSE_BYTES)
            .max_encoding_message_size(usize::MAX);
        Ok((calls, connection.boot_id))
    }

    /// Connects after a connection has broken.
    async fn connect_again(&self, terms: HoldTerms) -> Result<Connected, CallError> {
        tokio::time::sleep(REPEAT_AFTER).await;
        self.connect(terms).await
    }

    fn error(&self, status: &tonic::Status) -> CallError {
        match CallError::from_status(status, &self.name) {
            CallError::Unreachable { source, .. } if self.slot().is_some() => CallError::Lost {
                name: self.name.clone(),
                source,
            },
            CallError::Slow { .. } if self.slot().is_some() => CallError::Silent {
                name: self.name.clone(),
            },
            error => error,
        }
    }
}

/// A question for one record.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    id: &'a str,
    /// How long the answer may take; without one it comes when the command has ended.
    timeout: Option<Duration>,
    /// Whether the caller may call the agent.
    is_proved: bool,
}

type Calls = CommandServiceClient<AgentChannel>;

/// A connection, and which boot of the machine is at its other end, where that is known.
type Connected = (Calls, Option<String>);

/// What an agent answered to a command, as it is counted.
fn verdict(answer: &Result<CommandResult, CallError>) -> CommandVerdict {
    match answer {
        Ok(command) => match command.state {
            State::Running => CommandVerdict::Running,
            State::Succeeded => CommandVerdict::Succeeded,
            State::Failed(_) | State::VersionMismatch(_) => CommandVerdict::Failed,
        },
        Err(error) => error.command_verdict(),
    }
}

/// Reports what an agent was given to do.
struct CommandReport {
    node_uuid: String,
    sender: mpsc::Sender<ExecutedCommand>,
}

impl CommandReport {
    fn send(&self, record: &v1::CommandRecord) {
        let command = ExecutedCommand {
            node_uuid: self.node_uuid.clone(),
            record: v1::CommandRecord {
                id: record.id.clone(),
                name: record.name.clone(),
                state: record.state,
                failure: record.failure.clone(),
                background: record.background,
                started_at: record.started_at,
                finished_at: record.finished_at,
                ..v1::CommandRecord::default()
            },
        };
        if let Err(error) = self.sender.try_send(command) {
            tracing::debug!(node = %self.node_uuid, %error, "nobody hears of a command");
        }
    }
}

/// Makes a call with a timeout of our own: the agent's may be what does not work.
fn timed<T: 'static>(
    timeout: Duration,
    call: impl Future<Output = Result<T, tonic::Status>> + Send + 'static,
) -> BoxFuture<'static, Result<T, tonic::Status>> {
    Box::pin(async move {
        tokio::time::timeout(timeout, call)
            .await
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in time")))
    })
}

/// Above this, a command is not kept for a repetition: memory is scarce in a ramdisk.
const LARGE: usize = 1024 * 1024;

fn within<M>(timeout: Duration, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// A token as calls carry it.
///
/// # Errors
/// A token that is no ASCII text never was an agent's token.
pub fn token_value(token: &Secret) -> Result<AsciiMetadataValue, CallError> {
    let value = AsciiMetadataValue::try_from(token.reveal());
    let mut value = value.map_err(|_| CallError::Unauthenticated)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A request that carries a token.
pub fn with_token<M>(token: &AsciiMetadataValue, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(TOKEN, token.clone());
    request
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
