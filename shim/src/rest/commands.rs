//! The three requests that need the token: run, get, list.

use std::sync::Arc;

use ironic_agent_protocol::verbs::{ServiceEnd, VerbDescriptor};
use ironic_text::Secret;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;
use uuid::Uuid;

use super::CloseReason;
use super::answer;
use super::body::BufferedBody;
use super::call::{self, ParsedCall};
use super::error::RestError;
use super::given_token::given_token;
use crate::agents::{AgentOrder, CallError, Client, CommandResult, OrderMemory, State};

/// Bodies from this size on are parsed off the reactor.
const LARGE_BODY: usize = 64 * 1024;

/// Large bodies that are parsed at the same time. Others wait for their turn, which takes as
/// long as a look at every byte.
static PARSERS: Semaphore = Semaphore::const_new(2);

/// A request to have a command run.
#[derive(Debug)]
pub struct RestOrder {
    /// The token of the agent.
    pub token: Secret,
    /// The command.
    pub body: BufferedBody,
    /// Whether its caller waits for its end.
    pub wait: bool,
    /// Until when it may wait for the agent.
    pub until: Instant,
}

/// Has a command run. `ended` is called with its record and with the token that it gave the
/// agent, whether or not the caller is still there.
///
/// # Errors
/// The refusal.
pub async fn run(
    client: &Arc<Client>,
    order: RestOrder,
    ended: impl FnOnce(&CommandResult, Option<Secret>) + Send + 'static,
) -> Result<Vec<u8>, RestError> {
    let RestOrder {
        token,
        body: BufferedBody { bytes, memory },
        wait,
        until,
    } = order;
    let (call, memory) = if bytes.len() < LARGE_BODY {
        (call::parse(&bytes), memory)
    } else {
        let turn = PARSERS.acquire().await;
        let parsing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            (call::parse(&bytes), memory)
        });
        join(parsing).await?
    };
    let (command, message) = match call {
        ParsedCall::Command { command, message } => (command, message),
        ParsedCall::Wrong(fault) => return Err(fault),
        ParsedCall::WrongUnlessBusy(fault) => return Err(unless_busy(client, fault).await),
    };
    // A caller who hangs up must not take back what the agent may have begun: the task goes
    // on without it. What the agent was not given yet ends with its caller, who asks again.
    let caller = CancellationToken::new();
    let _present = caller.clone().drop_guard();
    let task = tokio::spawn({
        let (client, token) = (Arc::clone(client), token.clone());
        async move {
            let given = given_token(&message).map(Secret::new);
            let order = AgentOrder {
                command: *message,
                until,
                memory: memory.map(OrderMemory::new),
                caller,
            };
            let record = client.execute(&token, order).await;
            if let Ok(record) = &record {
                ended(record, given.filter(|_| record.state == State::Succeeded));
            }
            record
        }
    });
    let record = join(task).await?.map_err(|error| match error {
        CallError::NotBuilt { .. } => RestError::unknown_command(&command),
        error => RestError::call(&error),
    })?;
    if wait && !record.has_ended() {
        let record = client.wait(&token, &record.id).await;
        return record
            .map(|record| answer::one(&record))
            .map_err(|error| RestError::call(&error));
    }
    Ok(answer::one(&record))
}

/// One result.
///
/// # Errors
/// The refusal.
pub async fn get(
    client: &Client,
    token: &Secret,
    id: &str,
    wait: bool,
) -> Result<Vec<u8>, RestError> {
    // Identifiers are compared letter by letter: only the form that we print is one.
    let known_form = Uuid::try_parse(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id);
    if !known_form {
        return Err(RestError::no_command(id));
    }
    let record = if wait {
        client.wait(token, id).await
    } else {
        client.get(token, id).await
    };
    match record {
        Ok(record) if answer::is_listed(&record) => Ok(answer::one(&record)),
        Ok(_) | Err(CallError::NotFound { .. }) => Err(RestError::no_command(id)),
        Err(error) => Err(RestError::call(&error)),
    }
}

/// All results.
///
/// # Errors
/// The refusal.
pub async fn list(client: &Client, token: &Secret) -> Result<Vec<u8>, RestError> {
    match client.list(token).await {
        Ok(records) => Ok(answer::all(&records)),
        Err(error) => Err(RestError::call(&error)),
    }
}

/// `fault`, unless the agent is busy, which is said first.
async fn unless_busy(client: &Client, fault: RestError) -> RestError {
    match client.status_now().await {
        Ok(status) => status.busy.map_or(fault, |busy| RestError::busy(&busy)),
        Err(_) => fault,
    }
}

/// Why the service ends with this record, if its command was the last one.
#[must_use]
pub fn close_reason(record: &CommandResult) -> Option<CloseReason> {
    if record.state != State::Succeeded {
        return None;
    }
    let reason = match VerbDescriptor::by_name(&record.name)?.ends_service? {
        ServiceEnd::Rescued => CloseReason::Rescued,
        ServiceEnd::LockedDown => CloseReason::LockedDown,
    };
    Some(reason)
}

async fn join<T>(task: tokio::task::JoinHandle<T>) -> Result<T, RestError> {
    task.await.map_err(|cause| {
        error!(%cause, "a request's task ended early");
        RestError::internal()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;
    use ironic_tunnel::Pings;
    use serde_json::json;
    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;
    use crate::agents::attachment::{HOLD, HeldRequests};
    use crate::agents::{AttachmentId, AttachmentSignals, AttachmentSlot};
    use crate::metrics::labels::DropReason;
    use crate::metrics::{Metrics, Observation};
    use crate::rest::body::{self, BodyLimits};
    use crate::rest::memory::Memory;

    const MIB: usize = 1024 * 1024;

    /// A node, and what the bodies of its orders have together.
    struct Node {
        slot: AttachmentSlot,
        client: Arc<Client>,
        memory: Memory,
    }

    impl Node {
        fn new() -> Self {
            let slot = AttachmentSlot::new(HeldRequests::new(512, Metrics::new()));
            Self {
                client: Arc::new(Client::attached(slot.clone(), "n", None)),
                slot,
                memory: Memory::of(64 * MIB, 64 * MIB),
            }
        }

        /// A conductor that orders something with a body of so many bytes.
        async fn order(&self, size: usize) -> JoinHandle<Result<Vec<u8>, RestError>> {
            let parameters = json!({"node": {"extra": "x".repeat(size)}, "ports": []});
            let order = json!({"name": "clean.get_clean_steps", "params": parameters});
            let limits = BodyLimits {
                size: 64 * MIB,
                stall: Duration::from_secs(10),
                whole: Duration::from_secs(60),
            };
            let body = Full::new(Bytes::from(order.to_string()));
            let body = body::read(body, limits, &self.memory, Some("n"))
                .await
                .unwrap();
            let order = RestOrder {
                token: Secret::new("t"),
                body,
                wait: false,
                until: Instant::now() + HOLD,
            };
            let client = Arc::clone(&self.client);
            tokio::spawn(async move { run(&client, order, |_, _| {}).await })
        }

        /// An agent that reads nothing. Its end of the connection, and how the attachment hears that
        /// it is to end.
        async fn attach(&self) -> (DuplexStream, AttachmentSignals) {
            let (ours, theirs) = tokio::io::duplex(1024);
            let (channel, driver) = ironic_tunnel::connect(ours, Pings::Never).await.unwrap();
            tokio::spawn(driver);
            (theirs, self.slot.attach(attachment(), channel).unwrap())
        }

        /// Whether so many orders are at it.
        fn has_orders(&self, count: usize) -> bool {
            let text = self.slot.metrics().text(&Observation::default());
            text.contains(&format!("\nironic_shim_commands_in_flight {count}\n"))
        }
    }

    fn attachment() -> AttachmentId {
        AttachmentId {
            boot_id: "b".into(),
            counter: 1,
        }
    }

    async fn hang_up(callers: Vec<JoinHandle<Result<Vec<u8>, RestError>>>) {
        for caller in callers {
            caller.abort();
            assert!(caller.await.unwrap_err().is_cancelled());
        }
    }

    /// It has attached and reads nothing.
    #[tokio::test(start_paused = true)]
    async fn orders_that_an_agent_does_not_take_end_and_give_their_memory_back() {
        let node = Node::new();
        let (_other_end, signals) = node.attach().await;
        let mut callers = Vec::new();
        for _ in 0..8 {
            callers.push(node.order(4 * MIB).await);
        }
        sleep(Duration::from_secs(1)).await;
        hang_up(callers).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(node.memory.free(), 32, "the orders are still there");
        assert!(node.has_orders(8));
        sleep(Duration::from_secs(30)).await;
        assert!(signals.stalled.is_cancelled());
        assert_eq!(node.memory.free(), 64);
        assert!(node.has_orders(0));
    }

    #[tokio::test(start_paused = true)]
    async fn orders_that_wait_are_few_and_end_with_their_callers() {
        let node = Node::new();
        let mut callers = Vec::new();
        // Each of the turns waits for the agent, and as many orders as may wait for a turn.
        for _ in 0..80 {
            callers.push(node.order(10).await);
        }
        sleep(Duration::from_secs(1)).await;
        assert!(node.has_orders(80));
        let refused = node.order(10).await.await.unwrap().unwrap_err();
        assert!(refused.unanswered.is_some(), "{refused:?}");
        hang_up(callers).await;
        sleep(Duration::from_secs(1)).await;
        assert!(node.has_orders(0));
    }

    /// A conductor gives a request up after 60 s: what it gave up must not be executed later.
    #[tokio::test(start_paused = true)]
    async fn an_order_waits_45_s_from_its_arrival_whatever_it_waits_for() {
        let node = Node::new();
        let (other_end, _) = node.attach().await;
        let begun = Instant::now();
        let order = node.order(10).await;
        // It is attached and does not answer, and then it is away.
        sleep(Duration::from_secs(20)).await;
        drop(other_end);
        node.slot.detach(&attachment());
        let refused = order.await.unwrap().unwrap_err();
        assert!(refused.unanswered.is_some(), "{refused:?}");
        assert_eq!(begun.elapsed().as_secs(), HOLD.as_secs());
    }

    /// An error would end the deployment.
    #[tokio::test(start_paused = true)]
    async fn what_an_attached_agent_does_not_answer_in_time_gets_no_answer() {
        let node = Node::new();
        let (_other_end, _) = node.attach().await;
        let refused = list(&node.client, &Secret::new("t")).await.unwrap_err();
        assert_eq!(refused.unanswered, Some(DropReason::AgentSlow));
    }
}
