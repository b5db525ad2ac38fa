//! A shim on loopback, with everything but its process.

use std::net::SocketAddr;
use std::time::Duration;

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::conductor_service_client::ConductorServiceClient;
use ironic_agent_protocol::v1::heartbeat_request::Message;
use ironic_program::CommonSettings;
use ironic_shim::app::GatewayCertificates;
use ironic_shim::config::{NodeCertificates, ShimConfig};
use ironic_shim::gateway::Gateway;
use ironic_text::Secret;
use ironic_transport::{Endpoint, Listen};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::ironic::{NODE, TOKEN};

/// The running shim; it ends with its handle.
pub(crate) struct Shim {
    pub(crate) conductor: ConductorServiceClient<Channel>,
    /// Where the gRPC services are.
    pub(crate) url: String,
    /// Where the REST server listens, or will listen.
    pub(crate) rest: SocketAddr,
    /// Where a gateway serves metrics, if it does.
    pub(crate) metrics: Option<SocketAddr>,
    /// The gateway, if it is one.
    pub(crate) gateway: Option<Gateway>,
    /// Its certificates.
    pub(crate) certificates: Option<GatewayCertificates>,
    /// Ends with the program.
    running: JoinHandle<()>,
    pub(crate) config: ShimConfig,
    /// Its own, so that it can die with everything that it has started.
    runtime: Option<Runtime>,
}

impl Drop for Shim {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A configuration for loopback: `urls` are Ironic's, the REST server's port is free, nobody waits.
pub(crate) fn config(urls: &[&str], state: &TempDir) -> ShimConfig {
    let port = free_port();
    ShimConfig {
        common: CommonSettings {
            api_url: urls.iter().map(|url| (*url).to_owned()).collect(),
            ..CommonSettings::default()
        },
        state_dir: state.path().to_owned(),
        conductor_listen: Listen::Tcp("127.0.0.1:0".parse().unwrap()),
        // Nobody is there; no test here gives commands.
        agent: Endpoint::Unix(state.path().join("agent.sock")),
        listen_host: "127.0.0.1".into(),
        listen_port: port,
        advertise_port: port,
        ip_lookup_attempts: 1,
        ip_lookup_sleep: Duration::ZERO,
        ..ShimConfig::default()
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Shim {
    pub(crate) async fn start(config: ShimConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let wanted = config.clone();
        let (started, address) = tokio::sync::oneshot::channel();
        let running = runtime.spawn(async move {
            let shim = ironic_shim::app::Shim::start(wanted, CancellationToken::new());
            let shim = shim.await.unwrap();
            let metrics = shim.metrics_listen().cloned();
            let gateway = (shim.gateway().cloned(), shim.certificates());
            let listen = shim.listen().cloned();
            started.send((listen, metrics, gateway)).ok().unwrap();
            shim.run().await.unwrap();
        });
        let Ok((Some(Listen::Tcp(address)), metrics, (gateway, certificates))) = address.await
        else {
            panic!("the shim did not start")
        };
        let metrics = metrics.map(|listen| match listen {
            Listen::Tcp(address) => address,
            Listen::Unix(path) => panic!("{}", path.display()),
        });
        let scheme = match config.node_certificates {
            NodeCertificates::None => "http",
            NodeCertificates::JoinToken | NodeCertificates::AgentToken => "https",
        };
        let url = format!("{scheme}://{address}");
        let channel = Channel::from_shared(url.clone()).unwrap().connect_lazy();
        let conductor = ConductorServiceClient::new(channel);
        let rest = SocketAddr::new(config.listen_host.parse().unwrap(), config.listen_port);
        Self {
            conductor,
            url,
            rest,
            metrics,
            gateway,
            certificates,
            running,
            config,
            runtime: Some(runtime),
        }
    }

    /// Whether the program has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// The shim dies; its state directory stays.
    pub(crate) async fn die(mut self) -> ShimConfig {
        if let Some(runtime) = self.runtime.take() {
            let timeout = Duration::from_secs(5);
            let ending = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(timeout));
            ending.await.unwrap();
        }
        self.config.clone()
    }

    /// One lookup of the recorded machine.
    pub(crate) async fn lookup(&mut self) -> v1::lookup_response::Outcome {
        self.lookup_for(&["52:54:00:e2:e0:01"], "").await
    }

    pub(crate) async fn lookup_for(
        &mut self,
        addresses: &[&str],
        node_uuid: &str,
    ) -> v1::lookup_response::Outcome {
        let request = v1::LookupRequest {
            addresses: addresses.iter().map(|mac| (*mac).to_owned()).collect(),
            node_uuid: node_uuid.to_owned(),
            ..v1::LookupRequest::default()
        };
        let answer = self.conductor.lookup(request).await.unwrap();
        answer.into_inner().outcome.unwrap()
    }

    pub(crate) async fn session(&mut self, hello: v1::Hello) -> Result<Session, Status> {
        let mut session = Session::open(&mut self.conductor).await?;
        session.say(Message::Hello(hello)).await;
        Ok(session)
    }
}

/// Retry of a lookup, or a panic that shows the answer.
pub(crate) fn retry(outcome: v1::lookup_response::Outcome) -> v1::LookupRetry {
    match outcome {
        v1::lookup_response::Outcome::Retry(retry) => retry,
        other => panic!("{other:?}"),
    }
}

/// Session of a lookup, or a panic that shows the answer.
pub(crate) fn found(outcome: v1::lookup_response::Outcome) -> v1::Session {
    match outcome {
        v1::lookup_response::Outcome::Session(session) => session,
        other => panic!("{other:?}"),
    }
}

/// What the agent of the recorded node says first.
pub(crate) fn hello() -> v1::Hello {
    v1::Hello {
        node_uuid: NODE.into(),
        agent_token: TOKEN.into(),
        agent_version: "0.1.0".into(),
        config: Some(v1::SessionConfig {
            tls_min_version: "1.3".into(),
            ..v1::SessionConfig::default()
        }),
        callback_url: String::new(),
    }
}

/// The agent's end of a heartbeat session.
pub(crate) struct Session {
    messages: mpsc::Sender<v1::HeartbeatRequest>,
    answers: Streaming<v1::HeartbeatResponse>,
    sequence: u64,
}

impl Session {
    pub(crate) async fn open(
        conductor: &mut ConductorServiceClient<Channel>,
    ) -> Result<Self, Status> {
        let (messages, outgoing) = mpsc::channel(16);
        let answers = conductor
            .heartbeat(ReceiverStream::new(outgoing))
            .await?
            .into_inner();
        Ok(Self {
            messages,
            answers,
            sequence: 0,
        })
    }

    pub(crate) async fn say(&mut self, message: Message) {
        let request = v1::HeartbeatRequest {
            message: Some(message),
        };
        // A session that the shim has ended answers in `hear`.
        let _ = self.messages.send(request).await;
    }

    /// Sends the next beat without waiting for its verdict.
    pub(crate) async fn send_beat(&mut self) {
        self.sequence += 1;
        let beat = v1::Beat {
            sequence: self.sequence,
            ..v1::Beat::default()
        };
        self.say(Message::Beat(beat)).await;
    }

    /// The next verdict.
    pub(crate) async fn hear(&mut self) -> Result<v1::HeartbeatResponse, Status> {
        let timeout = Duration::from_secs(20);
        let answer = tokio::time::timeout(timeout, self.answers.message()).await;
        let answer = answer.expect("no verdict came")?;
        answer.ok_or_else(|| Status::cancelled("the shim ended the session"))
    }

    pub(crate) async fn beat(&mut self) -> Result<v1::HeartbeatResponse, Status> {
        self.send_beat().await;
        let answer = self.hear().await?;
        assert_eq!(answer.sequence, self.sequence);
        Ok(answer)
    }
}

/// A UUID that no secret is.
pub(crate) fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}
