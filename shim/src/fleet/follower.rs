//! Follows what attached agents do: one `WatchCommand` for each command that runs, and nothing
//! for an agent that is idle.
//!
//! A command is known from the answer to the call that began it, which passes through this
//! program, or from the agent itself when it attaches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::watch_command_response::Event;
use ironic_tunnel::{GrpcChannel, ORIGIN};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status};

use super::handle::{ChangeNumber, Fleet};
use super::node_command::{node_command, progress, unknown_end};
use crate::agents::client::{token_value, with_token};
use crate::agents::{AgentKey, AgentRegistry, ExecutedCommand};

/// How long an agent may take for a short answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long the end of a command is waited for that must have ended, because the next one has
/// begun.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Changes of the fleet that are looked at together.
const BATCH: usize = 100;

type AgentCalls = CommandServiceClient<GrpcChannel>;

/// Follows the commands of attached agents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CommandFollower(Arc<FollowerState>);

#[derive(Debug)]
struct FollowerState {
    fleet: Fleet,
    agents: AgentRegistry,
    /// What is followed, by node.
    following: Mutex<HashMap<String, FollowedCommand>>,
    stop: CancellationToken,
}

/// A command that is followed.
#[derive(Debug)]
struct FollowedCommand {
    id: String,
    task: JoinHandle<()>,
    /// Ends the task, and the earlier ones that it waits for.
    stop: CancellationToken,
}

impl CommandFollower {
    /// Follows the commands of these agents, which are the nodes of this fleet, until `stop`.
    /// `executed` says what was begun for callers of the REST interface.
    #[must_use]
    pub fn start(
        fleet: Fleet,
        agents: AgentRegistry,
        executed: mpsc::Receiver<ExecutedCommand>,
        stop: CancellationToken,
    ) -> Self {
        let follower = Self(Arc::new(FollowerState {
            fleet,
            agents,
            following: Mutex::default(),
            stop: stop.clone(),
        }));
        let task = follower.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move { task.run(executed).await }));
        follower
    }

    async fn run(self, mut executed: mpsc::Receiver<ExecutedCommand>) {
        let mut latest = self.0.fleet.latest();
        let mut at = self.0.fleet.snapshot(|_| false).at;
        loop {
            latest.borrow_and_update();
            at = self.look_at_changes(at);
            tokio::select! {
                command = executed.recv() => match command {
                    Some(command) => self.executed(&command.node_uuid, command.record),
                    None => return,
                },
                changed = latest.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    /// Asks the agents that have attached since then what they do, and lets those go that have
    /// left: a drain waits for the last call on an agent's connection.
    fn look_at_changes(&self, mut at: ChangeNumber) -> ChangeNumber {
        loop {
            let Ok(changes) = self.0.fleet.changes(at, BATCH) else {
                tracing::warn!("too much has changed at once: some commands are not followed");
                return self.0.fleet.snapshot(|_| false).at;
            };
            let Some((last, _)) = changes.last() else {
                return at;
            };
            at = *last;
            for (_, change) in changes {
                match change.kind {
                    v1::NodeEventKind::Attached => {
                        let follower = self.clone();
                        let node = change.node.uuid.clone();
                        let looking = async move { follower.look(&node).await };
                        spawn(self.0.stop.clone(), looking);
                    }
                    v1::NodeEventKind::Lost => self.let_go(&change.node.uuid),
                    _ => {}
                }
            }
        }
    }

    /// Asks an agent what it does. Of a command that ran before, it says how it has ended.
    async fn look(&self, node: &str) {
        if let Err(status) = self.try_look(node).await {
            tracing::debug!(%node, %status, "the agent does not say what it does");
        }
    }

    async fn try_look(&self, node: &str) -> Result<(), Status> {
        let (mut calls, token) = self.connect(node)?;
        let mut request = Request::new(v1::GetStatusRequest {});
        request.set_timeout(TIMEOUT);
        let status = calls.get_status(request).await?.into_inner();
        let running = status.running.filter(|running| running.background);
        let known = self.0.fleet.get(node).and_then(|node| node.command.clone());
        let known = known.filter(|known| known.state() == v1::CommandState::Running);
        if let Some(known) = known
            && running
                .as_ref()
                .is_none_or(|running| running.id != known.id)
        {
            let ended = match get(&mut calls, &token, &known.id).await {
                Ok(record) => node_command(record),
                Err(status) if status.code() == Code::NotFound => unknown_end(known),
                Err(status) => return Err(status),
            };
            self.0.fleet.command(node, ended);
        }
        if let Some(running) = running {
            let record = get(&mut calls, &token, &running.id).await?;
            self.executed(node, record);
        }
        Ok(())
    }

    /// Notes that an agent has taken a command, and follows it if it runs.
    pub(super) fn executed(&self, node: &str, record: v1::CommandRecord) {
        let is_running = record.state() == v1::CommandState::Running;
        let mut following = self.following();
        let earlier = following.get(node);
        if earlier.is_some_and(|earlier| earlier.id == record.id && !earlier.task.is_finished()) {
            return;
        }
        if earlier.is_none() && !is_running {
            self.0.fleet.command(node, node_command(record));
            return;
        }
        let (earlier, stop) = match following.remove(node) {
            Some(earlier) => (Some(earlier.task), earlier.stop),
            None => (None, self.0.stop.child_token()),
        };
        let (follower, owned) = (self.clone(), node.to_owned());
        let id = record.id.clone();
        let task = spawn(stop.clone(), async move {
            if let Some(earlier) = earlier {
                // It ends by itself, or else its late end is ignored.
                let _ = timeout(END_TIMEOUT, earlier).await;
            }
            follower.follow(&owned, record).await;
            follower.forget(&owned);
        });
        following.insert(node.to_owned(), FollowedCommand { id, task, stop });
    }

    /// Follows a command to its end, or to that of the connection.
    async fn follow(&self, node: &str, record: v1::CommandRecord) {
        let is_running = record.state() == v1::CommandState::Running;
        let id = record.id.clone();
        let after_sequence = record.last_sequence;
        let command = node_command(record);
        self.0.fleet.command(node, command.clone());
        if !is_running {
            return;
        }
        let request = v1::WatchCommandRequest { id, after_sequence };
        if let Err(status) = self.watch(node, command, request).await {
            // When the agent attaches again it is asked.
            tracing::debug!(%node, %status, "the command is not followed any more");
        }
    }

    async fn watch(
        &self,
        node: &str,
        command: v1::NodeCommand,
        request: v1::WatchCommandRequest,
    ) -> Result<(), Status> {
        let (mut calls, token) = self.connect(node)?;
        let mut command = command;
        let mut events = calls
            .watch_command(with_token(&token, request))
            .await?
            .into_inner();
        while let Some(message) = events.message().await? {
            match message.event {
                Some(Event::Record(record)) => command = node_command(record),
                Some(Event::Progress(latest)) => command.progress = Some(progress(latest)),
                Some(Event::Milestone(_) | Event::Log(_)) | None => continue,
            }
            self.0.fleet.command(node, command.clone());
        }
        Ok(())
    }

    /// A client of an agent that is attached, and its token.
    fn connect(&self, node: &str) -> Result<(AgentCalls, AsciiMetadataValue), Status> {
        let away = || Status::unavailable("the agent is not attached");
        let key = AgentKey::Node(node.to_owned());
        let (agent, _) = self.0.agents.find(&key).ok_or_else(away)?;
        let open = agent.client.slot().and_then(|slot| slot.open());
        let token = agent.token.ok_or_else(away)?;
        let token = token_value(&token).map_err(|_| away())?;
        let channel = open.ok_or_else(away)?.channel;
        let origin = http::Uri::from_static(ORIGIN);
        Ok((CommandServiceClient::with_origin(channel, origin), token))
    }

    /// Stops following the command of a node whose attachment is left.
    fn let_go(&self, node: &str) {
        if let Some(followed) = self.following().remove(node) {
            followed.stop.cancel();
        }
    }

    /// Forgets a command that is not followed any more, which is called by its task.
    fn forget(&self, node: &str) {
        let mut following = self.following();
        let ours = following.get(node).map(|following| following.task.id());
        if ours == tokio::task::try_id() {
            following.remove(node);
        }
    }

    // Each change is one insertion or removal.
    fn following(&self) -> MutexGuard<'_, HashMap<String, FollowedCommand>> {
        let following = self.0.following.lock();
        following.unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(
    stop: CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        stop.run_until_cancelled_owned(task).await;
    })
}

async fn get(
    calls: &mut AgentCalls,
    token: &AsciiMetadataValue,
    id: &str,
) -> Result<v1::CommandRecord, Status> {
    let mut request = with_token(
        token,
        v1::GetCommandRequest {
            id: id.to_owned(),
            wait: false,
        },
    );
    request.set_timeout(TIMEOUT);
    let answer = calls.get_command(request).await?.into_inner();
    let missing = || Status::internal("the agent's answer has no record");
    answer.command.ok_or_else(missing)
}
