//! Agents to talk to: the real one in a simulation, the real one with a script in place of
//! its verbs, and one whose every answer can be made up.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ironic_agent::commands::{
    Command, CommandContext, Engine, NodeMemory, OwnVerbs, Perform, VerbFuture,
};
use ironic_agent::config::{AgentConfig, Shared};
use ironic_agent::failure::{Failure, FailureKind};
use ironic_agent::hardware::{ManagerRegistry, external};
use ironic_agent::rpc;
use ironic_agent::system::{PathPrefix, System};
use ironic_agent::task::Task;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::watch_command_response::Event;
use ironic_agent_protocol::verbs::VerbDescriptor;
use ironic_program::CommonSettings;
use ironic_text::Secret;
use ironic_transport::{Endpoint, Listen};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The token that agents hold here.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A real agent, served over a socket. It stops when it is dropped.
pub struct Agent {
    /// Where it serves.
    pub endpoint: Endpoint,
    /// Its state and its simulated disks.
    pub directory: tempfile::TempDir,
    _stop: DropGuard,
}

impl Agent {
    /// An agent whose verbs do what a script says.
    pub async fn scripted(script: &Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // A machine without any files: nothing real is looked at.
        let mut system = System::simulated(directory.path());
        system.root = PathPrefix::new(directory.path().join("root"));
        Self::start(directory, system, Arc::new(script.clone()), config()).await
    }

    /// An agent with its real verbs, in a simulation whose disks are the files of `disks`.
    pub async fn simulated(disks: &[(&str, u64)], change: impl FnOnce(&mut AgentConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("disks");
        std::fs::create_dir(&folder).unwrap();
        for (name, size) in disks {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            file.set_len(*size).unwrap();
        }
        let mut config = config();
        change(&mut config);
        let system = System::simulated(&folder);
        Self::start(directory, system, Arc::new(OwnVerbs), config).await
    }

    async fn start(
        directory: tempfile::TempDir,
        system: System,
        performer: Arc<dyn Perform>,
        config: AgentConfig,
    ) -> Self {
        let socket = directory.path().join("agent.sock");
        let config = AgentConfig {
            grpc_listen: ironic_agent::config::GrpcListen::At(Listen::Unix(socket.clone())),
            state_dir: directory.path().to_owned(),
            ..config
        };
        let external = external::start(&config, &rpc::manager_client::dial()).await;
        let registry = ManagerRegistry::with(external, &system, &config)
            .await
            .unwrap();
        let context = CommandContext {
            system,
            config: Shared::new(config.clone()),
            registry: Arc::new(registry),
            installed: Arc::default(),
            node: NodeMemory::default(),
        };
        let (engine, task) = Engine::new(context, performer, directory.path());
        tokio::spawn(task.run());
        let stop = CancellationToken::new();
        let server = rpc::bind(engine, &config, stop.clone()).await.unwrap();
        tokio::spawn(server.run());
        Self {
            endpoint: Endpoint::Unix(socket),
            directory,
            _stop: stop.drop_guard(),
        }
    }

    /// Returns when a command has shown its first progress.
    pub async fn until_progress(&self, id: &str) {
        let channel = tonic::transport::Endpoint::from_shared(self.endpoint.to_string())
            .unwrap()
            .connect_lazy();
        let mut request = tonic::Request::new(v1::WatchCommandRequest {
            id: id.to_owned(),
            after_sequence: 0,
        });
        request
            .metadata_mut()
            .insert("agent-token", TOKEN.parse().unwrap());
        let mut agent = CommandServiceClient::new(channel);
        let mut events = agent.watch_command(request).await.unwrap().into_inner();
        loop {
            let event = events.message().await.unwrap();
            let event = event.expect("the command has ended without progress");
            if let Some(Event::Progress(_)) = event.event {
                break;
            }
        }
    }

    /// The path of a simulated disk.
    pub fn disk(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.directory.path()).join("disks").join(name)
    }
}

fn config() -> AgentConfig {
    AgentConfig {
        common: CommonSettings {
            agent_token: Some(Secret::new(TOKEN)),
            ..CommonSettings::default()
        },
        standalone: false,
        ..AgentConfig::default()
    }
}

/// What the verbs of an agent do. Without an act a verb answers null.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<HashMap<&'static str, Act>>>);

/// What one verb does.
#[derive(Clone)]
pub enum Act {
    /// Answers.
    Answer(Value),
    /// Fails.
    Fail(FailureKind, &'static str),
    /// Answers once the gate is open.
    Wait(Gate, Value),
}

/// Holds a verb up until it is opened.
#[derive(Clone)]
pub struct Gate {
    open: Arc<watch::Sender<bool>>,
    entered: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            open: Arc::new(watch::Sender::new(false)),
            entered: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Gate {
    /// Lets the verb go on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Returns when the verb has come to the gate.
    pub async fn reached(&self) {
        let mut entered = self.entered.subscribe();
        entered.wait_for(|entered| *entered).await.unwrap();
    }

    async fn pass(&self) {
        self.entered.send_replace(true);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }
}

impl Script {
    /// Writes down what a verb does from now on; the name is Ironic's full one.
    pub fn act(&self, name: &str, act: Act) {
        let verb = VerbDescriptor::by_name(name).unwrap();
        self.0.lock().unwrap().insert(verb.name, act);
    }

    /// Makes a verb wait at a gate.
    pub fn hold(&self, name: &str) -> Gate {
        let gate = Gate::default();
        self.act(name, Act::Wait(gate.clone(), Value::Null));
        gate
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Perform for Script {
    fn perform<'a>(
        &'a self,
        _context: &'a CommandContext,
        _task: &'a Task,
        command: Command,
    ) -> VerbFuture<'a, Value> {
        let act = self.0.lock().unwrap().get(command.verb.name).cloned();
        Box::pin(async move {
            match act {
                None => Ok(Value::Null),
                Some(Act::Answer(value)) => Ok(value),
                Some(Act::Fail(kind, details)) => Err(Failure::new(kind, details)),
                Some(Act::Wait(gate, value)) => {
                    gate.pass().await;
                    Ok(value)
                }
            }
        })
    }
}
