//! What the agent says unasked, to the conductor that it has: inspection, lookup, heartbeats.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use ironic_transport::Endpoint;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::commands::{Engine, NodeSource};
use crate::conductor::backoff::Backoff;
use crate::conductor::heartbeat::{Control, Heartbeats, Schedule};
use crate::conductor::identity::{
    CertificateIssuer, CertificateMemory, IdentityKeeper, IdentitySettings,
};
use crate::conductor::lookup::{LookupError, LookupSession, Lookups};
use crate::conductor::token::TokenMemory;
use crate::conductor::{
    AttachHello, Conductor, LookupRequest, attachment, call_deadline, inspection,
};
use crate::config::{self, AgentConfig};
use crate::inspect;
use crate::machine::firmware::dmi;
use crate::machine::ironic_node::Node;
use crate::machine::network::interface;
use crate::rpc::AttachedSocket;
use crate::rpc::conductor_client::ConductorClient;
use crate::system::System;
use crate::system::clock::since_boot;

/// How long the network may take to show an interface, and how often it is looked at.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(60);
const NETWORK_PERIOD: Duration = Duration::from_secs(1);

/// Whether there is a conductor to look the node up or to take an inspection: an orchestrator
/// at an address of its own, or a shim that knows where Ironic is.
pub(super) fn has_conductor(config: &AgentConfig) -> bool {
    config.conductor != AgentConfig::default().conductor
        || wants_lookup(config)
        || inspection::is_wanted(config)
}

/// Inspection alone needs no lookup: Ironic then sends no `ipa-api-url`.
fn wants_lookup(config: &AgentConfig) -> bool {
    let is_remote = |endpoint: &Endpoint| !matches!(endpoint, Endpoint::Unix(_));
    config.conductor.all().iter().any(is_remote)
        || !config.common.api_url.is_empty()
        || config.common.use_mdns
}

/// The conductor of this machine's agent.
fn client(
    config: &AgentConfig,
    system: &System,
    attachments: Option<mpsc::Sender<AttachedSocket>>,
) -> anyhow::Result<ConductorClient> {
    let client = ConductorClient::new(config, attachments)?;
    Ok(client.of_machine(dmi::system_uuid(system)))
}

/// What the conductor is asked about this machine. It sees by itself which node a certificate names; an
/// agent that says its node is taken for one that has a token already.
async fn question(system: &System) -> LookupRequest {
    LookupRequest {
        addresses: await_interfaces(system).await,
        system_uuid: dmi::system_uuid(system),
        serial_number: dmi::probe(system).serial_number,
        node_uuid: None,
    }
}

/// Reports to the conductor; ends only when it cannot go on.
pub(super) async fn report(
    engine: &Engine,
    config: &config::Shared,
    control: &Control,
    attachments: Option<mpsc::Sender<AttachedSocket>>,
) -> anyhow::Result<ExitCode> {
    let is_attached = attachments.is_some();
    let system = &engine.context().system;
    let current = config.current();
    let client = Arc::new(client(&current, system, attachments)?);
    let identity = identify(&current, system, &client).await?;
    let conductor: Arc<dyn Conductor> = client;
    let mut request = question(system).await;
    if inspection::is_wanted(&current) {
        let report = inspect::collect(system, &current, &engine.context().registry).await;
        let mut jitter: StdRng = rand::make_rng();
        request.node_uuid = inspection::submit(conductor.as_ref(), &report.data, &mut jitter)
            .await
            .context("the inspection report could not be delivered")?;
    }
    if !wants_lookup(&current) {
        info!("no Ironic to look the node up at: waiting for commands");
        return std::future::pending().await;
    }
    let memory = TokenMemory::new(&current.state_dir, &system.root);
    let lookups = Lookups::new(Arc::clone(&conductor), config.clone(), memory);
    let session = match lookups.run(&request, &mut rand::make_rng::<StdRng>()).await {
        Ok(session) => session,
        Err(taken @ LookupError::TokenTaken { .. }) => {
            // Ironic is waiting for the other agent: no commands, no heartbeats, and a
            // network that the operator can use.
            error!(error = %taken, "the agent idles");
            return std::future::pending().await;
        }
        Err(error) => return Err(error.into()),
    };
    let node = &engine.context().node;
    node.remember(session.node().clone());
    node.mark_ironics(session.is_ironics());
    request.node_uuid = Some(session.node().uuid().to_owned());
    node.learn_from(Arc::new(NodeRefresher { lookups, request }));
    let attaching = async {
        if is_attached {
            keep_attached(config, system, conductor.as_ref(), &session, control).await;
        }
        std::future::pending::<()>().await;
    };
    let renewing = certify(identity, config, session.node().uuid()).await;
    tokio::select! {
        () = send_heartbeats(engine, config, conductor.as_ref(), &session, control) => {}
        () = attaching => {}
        () = renewing => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes a certificate for the node that was looked up, if the gateway wants that before it hears a
/// heartbeat and the agent has no certificate. The future that it returns renews it and never completes.
async fn certify(
    identity: Option<IdentityKeeper<StdRng>>,
    config: &config::Shared,
    node_uuid: &str,
) -> BoxFuture<'static, ()> {
    let Some(mut identity) = identity else {
        return Box::pin(std::future::pending());
    };
    let token = config.current().common.agent_token.clone();
    identity.after_lookup(node_uuid, token).await;
    Box::pin(identity.keep())
}

/// What proves to a gateway which node this machine is, as far as that is known before a lookup;
/// `None` where nobody asks.
async fn identify(
    config: &AgentConfig,
    system: &System,
    client: &Arc<ConductorClient>,
) -> anyhow::Result<Option<IdentityKeeper<StdRng>>> {
    let is_https = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Https(_));
    if !config.conductor.all().iter().any(is_https) {
        anyhow::ensure!(
            config.join_token.is_none() && config.conductor_ca_sha256.is_none(),
            "options join_token and conductor_ca_sha256 need a conductor at https://"
        );
        return Ok(None);
    }
    let has_own_certificate = config.common.grpc_tls_cert_file.is_some();
    anyhow::ensure!(
        config.join_token.is_none() || !has_own_certificate,
        "options join_token and grpc_tls_cert_file both say who this machine is: keep one of them"
    );
    let settings = IdentitySettings {
        join_token: config.join_token.clone(),
        has_own_certificate,
        needs_time: config.conductor_ca_sha256.is_some(),
        clock: client.clock(),
        memory: CertificateMemory::new(&config.state_dir, &system.root),
    };
    let backoff = Backoff::new(rand::make_rng::<StdRng>());
    let issuer = Arc::clone(client) as Arc<dyn CertificateIssuer>;
    let jitter = rand::make_rng::<StdRng>();
    let mut identity = IdentityKeeper::new(issuer, settings, backoff, jitter);
    identity.before_lookup().await;
    Ok(Some(identity))
}

/// Stays attached to the conductor.
async fn keep_attached(
    config: &config::Shared,
    system: &System,
    conductor: &dyn Conductor,
    session: &LookupSession,
    control: &Control,
) {
    // Without a boot ID, attachments of earlier boots cannot be distinguished from this one.
    let boot_id = system.root.boot_id().unwrap_or_default();
    let hello = || AttachHello {
        node_uuid: session.node().uuid().to_owned(),
        agent_token: config.current().common.agent_token.clone(),
        boot_id: boot_id.clone(),
        counter: u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX),
    };
    let backoff = Backoff::new(rand::make_rng::<StdRng>());
    attachment::keep(conductor, hello, backoff, control).await;
}

/// Sends heartbeats, and at once whenever a command has ended or says something else.
async fn send_heartbeats(
    engine: &Engine,
    config: &config::Shared,
    conductor: &dyn Conductor,
    session: &LookupSession,
    control: &Control,
) {
    let (line, status) = tokio::sync::watch::channel(String::new());
    let narrating = async {
        engine.narrate(&line, || control.force()).await;
        // The engine is gone; that is handled where it is served.
        std::future::pending::<()>().await;
    };
    let deadline = call_deadline(&config.current());
    let schedule = Schedule::new(session.timeout(), rand::make_rng::<StdRng>());
    let backoff = Backoff::new(rand::make_rng::<StdRng>());
    let hello = session.hello(config);
    let heartbeats = Heartbeats {
        hello: &hello,
        deadline,
        schedule,
        backoff,
        status: &status,
    };
    tokio::select! {
        () = heartbeats.run(conductor, control) => {}
        () = narrating => {}
    }
}

/// Asks for one node again, whenever a command needs it as it is now.
#[derive(Debug)]
struct NodeRefresher {
    /// The client of the lookup that found the node.
    lookups: Lookups,
    /// What was asked then, and which node was found.
    request: LookupRequest,
}

impl NodeSource for NodeRefresher {
    fn node(&self) -> BoxFuture<'_, Option<Node>> {
        Box::pin(async {
            let mut jitter: StdRng = rand::make_rng();
            self.lookups.refresh(&self.request, &mut jitter).await
        })
    }
}

/// The MAC addresses of the machine, once it has any. A machine that shows none in time is
/// looked up without: Ironic may know its UUID from the inspection.
async fn await_interfaces(system: &System) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + NETWORK_TIMEOUT;
    loop {
        let found: Vec<String> = interface::probe(system)
            .into_iter()
            .map(|interface| interface.mac_address)
            .collect();
        if !found.is_empty() {
            return found;
        }
        if tokio::time::Instant::now() >= deadline {
            warn!("no network interface has a MAC address");
            return found;
        }
        tokio::time::sleep(NETWORK_PERIOD).await;
    }
}
