//! How the shim is wired, started and stopped: the only place that knows every module.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use ironic_options::{Loaded, Parameters, virtual_media};
use ironic_program::{StopRequest, start};
use ironic_transport::Listen;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agents::{AgentRegistry, Proofs};
use crate::config::{AdmittedMachines, GatewayUrl, NodeCertificates, ShimConfig};
use crate::discover::{self, MdnsService};
use crate::fleet::{
    CommandFollower, DrainRequests, Fleet, FleetAccess, FleetParts, FleetTls, FleetViewer,
    Inspections, OpenFleet, serve_gateways,
};
use crate::gateway::Gateway;
use crate::identity::Enrolment;
use crate::ironic::{ApiVersion, Ironic, IronicSettings};
use crate::join_token_tool;
use crate::metrics::Metrics;
use crate::metrics::listener::MetricsListener;
use crate::pacing::Pacing;
use crate::page::{PageServer, PageService};
use crate::registrar::{Registrar, RegistrarSettings};
use crate::relay::{self, Placement, Relay, Upstream};
use crate::rest_server::{AgentSession, RestServer};

mod reload;

pub use reload::GatewayCertificates;
use reload::reload_on_hangup;

/// How long the agent of this machine may take to read virtual media, and how often the shim
/// looks whether it has.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(60);
const MEDIA_PERIOD: Duration = Duration::from_millis(100);

/// Commands that the REST interface has begun and the fleet has not noted yet.
const EXECUTED_COMMANDS: usize = 1024;

/// How long callers of the fleet have to read why their streams end, when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == join_token_tool::NAME)
    {
        return join_token_tool::main(std::env::args_os());
    }
    let prepare = |_: &ShimConfig| await_virtual_media(Path::new("/"), MEDIA_TIMEOUT);
    start(std::env::args_os(), prepare, run)
}

/// Waits until the agent of this machine has read virtual media, where Ironic booted the
/// machine from them: files of the configuration and parameters are among what it reads.
fn await_virtual_media(root: &Path, limit: Duration) -> anyhow::Result<()> {
    if !Parameters::of_kernel(root).boots_from_virtual_media() {
        return Ok(());
    }
    let deadline = Instant::now() + limit;
    while !virtual_media::were_read(root) {
        if Instant::now() >= deadline {
            let limit = limit.as_secs();
            anyhow::bail!("ironic-agent has not read virtual media within {limit} s");
        }
        thread::sleep(MEDIA_PERIOD);
    }
    Ok(())
}

async fn run(loaded: Loaded<ShimConfig>, stop: StopRequest) -> anyhow::Result<ExitCode> {
    let mut config = loaded.settings;
    find_ironic(&mut config).await?;
    let shim = Shim::start(config, CancellationToken::new()).await?;
    let listen = shim
        .listen()
        .map_or_else(|| "nowhere".to_owned(), ToString::to_string);
    info!(version = %ironic_program::version(), %listen, "ironic-shim");
    match shim.gateway().cloned() {
        Some(gateway) => {
            tokio::spawn(async move {
                stop.asked().await;
                gateway.drain();
            });
        }
        // Nobody waits for the request: SIGTERM ends the program.
        None => drop(stop),
    }
    shim.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// The program with its listeners: agents can call, and the conductor where there is a REST
/// server already.
#[derive(Debug)]
pub struct Shim {
    agents: Option<relay::Server>,
    gateway: Option<Gateway>,
    metrics_listen: Option<Listen>,
    page: Option<OpenPage>,
    fleet: Option<OpenFleet>,
    stop: CancellationToken,
}

/// The page of a gateway, which is served.
#[derive(Debug)]
struct OpenPage {
    /// Where; the port is the real one.
    listen: Listen,
    tls: Option<FleetTls>,
}

impl Shim {
    /// Wires the modules. Everything ends when `stop` is cancelled.
    ///
    /// # Errors
    /// An option that cannot work, or an address that cannot be listened at.
    pub async fn start(config: ShimConfig, stop: CancellationToken) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let ironic = Arc::new(Ironic::new(settings(&config))?);
        refuse_contradictions(&config)?;
        if let Some(url) = config.gateway_url.clone() {
            return Self::start_gateway(url, &config, ironic, stop).await;
        }
        anyhow::ensure!(
            config.metrics_listen.is_none(),
            "option metrics_listen is for a gateway: set the option gateway_url, or remove it"
        );
        anyhow::ensure!(
            config.node_certificates == NodeCertificates::None,
            "option node_certificates needs a gateway: set the option gateway_url"
        );
        let server = RestServer::new(Arc::clone(&config), Arc::clone(&ironic), stop.clone());
        // The listener of agents first: one that starts at the same time must find it.
        let upstream = Upstream::Ironic(ironic);
        let relay = Relay::new(upstream, Placement::Beside(server.clone()), None);
        let agents = match relay::bind(relay, &config, None).await {
            // Without Ironic no agent has anything to report: its server is not needed, and a
            // person who tries the shim may not be allowed to open its socket.
            Err(error) if is_optional(&config) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "agents cannot report here"
                );
                None
            }
            bound => Some(bound?),
        };
        if config.common.api_url.is_empty() {
            // Nobody will look the node up: the operator's token counts, from the beginning.
            let session = AgentSession {
                token: config.common.agent_token.clone(),
                version: String::new(),
                tls_min_version: String::new(),
                tls_cipher_suites: String::new(),
            };
            server
                .start(&session)
                .await
                .context("the REST server cannot be started")?;
            server.trust(&session);
        }
        Ok(Self {
            agents,
            gateway: None,
            metrics_listen: None,
            page: None,
            fleet: None,
            stop,
        })
    }

    async fn start_gateway(
        url: GatewayUrl,
        config: &ShimConfig,
        ironic: Arc<Ironic>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::new();
        let proofs = Proofs::new(&config.state_dir);
        let is_watched = config.fleet_listen.is_some() || config.page_listen.is_some();
        let fleet = known_nodes(&proofs, is_watched, config);
        let labels = Arc::new(fleet.clone());
        let enrolment = Enrolment::of_gateway(config, &url, proofs.clone(), labels);
        let enrolment = enrolment.context("the gateway cannot issue certificates")?;
        let (executed, commands) = mpsc::channel(EXECUTED_COMMANDS);
        let executed = is_watched.then_some(executed);
        let agents = AgentRegistry::of_gateway(proofs.clone(), metrics.clone(), executed);
        let upstream = upstream(config, ironic, &proofs, &fleet, &stop)?;
        let access = fleet_access(config, &stop)?;
        let page = page(config, &url, (&fleet, &access, &metrics), &stop).await?;
        let follower = is_watched
            .then(|| CommandFollower::start(fleet.clone(), agents.clone(), commands, stop.clone()));
        let drain = DrainRequests::new(&stop, config.drain_timeout);
        let parts = FleetParts {
            fleet: fleet.clone(),
            agents: agents.clone(),
            access,
            follower,
            drain: drain.clone(),
            stop: stop.clone(),
        };
        let server = parts.open(config).await?;
        let gateway = Gateway::start(url, config, agents, fleet, stop.clone()).await;
        let gateway = gateway.context("the gateway cannot be started")?;
        answer_gateways(server.as_ref(), &gateway);
        tokio::spawn(drain_when_asked(gateway.clone(), drain));
        let pacing = pacing(config, &upstream, &stop);
        let relay = Relay::new(upstream, Placement::Gateway(gateway.clone()), pacing);
        let agents = relay::bind(relay, config, enrolment).await?;
        let observer = agents.observer();
        let naming = observer.clone().name_ending_certificates();
        tokio::spawn(stop.clone().run_until_cancelled_owned(naming));
        let metrics_listen = match &config.metrics_listen {
            Some(listen) => {
                let listener = MetricsListener::bind(listen).await?;
                let listen = listener.listen.clone();
                tokio::spawn(listener.serve(metrics, Arc::new(observer), stop.clone()));
                Some(listen)
            }
            None => None,
        };
        Ok(Self {
            agents: Some(agents),
            gateway: Some(gateway),
            metrics_listen,
            page,
            fleet: server,
            stop,
        })
    }

    /// Where orchestrators find the fleet; the port is the real one.
    #[must_use]
    pub fn fleet_listen(&self) -> Option<&Listen> {
        self.fleet.as_ref().map(|fleet| &fleet.server.listen)
    }

    /// Where agents find the `ConductorService`; the port is the real one. `None` where
    /// nobody needs it and it cannot be opened.
    #[must_use]
    pub fn listen(&self) -> Option<&Listen> {
        self.agents.as_ref().map(|agents| &agents.listen)
    }

    /// Where a gateway serves metrics; the port is the real one.
    #[must_use]
    pub fn metrics_listen(&self) -> Option<&Listen> {
        self.metrics_listen.as_ref()
    }

    /// Where a gateway serves its page; the port is the real one.
    #[must_use]
    pub fn page_listen(&self) -> Option<&Listen> {
        self.page.as_ref().map(|page| &page.listen)
    }

    /// The certificates of a gateway, which may be read again.
    #[must_use]
    pub fn certificates(&self) -> Option<GatewayCertificates> {
        let agents = self.agents.as_ref();
        Some(GatewayCertificates {
            gateway: self.gateway.clone()?,
            agents: agents.and_then(|agents| agents.tls().cloned()),
            fleet: self.fleet_tls(),
            access: self.fleet.as_ref().map(|fleet| fleet.access.clone()),
        })
    }

    /// TLS for orchestrators, operators and their browsers.
    fn fleet_tls(&self) -> Vec<FleetTls> {
        let fleet = self.fleet.as_ref().and_then(|fleet| fleet.server.tls());
        let page = self.page.as_ref().and_then(|page| page.tls.as_ref());
        fleet.into_iter().chain(page).cloned().collect()
    }

    /// The gateway, if this is one.
    #[must_use]
    pub fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// Serves agents until the shim is stopped, or a gateway is drained.
    ///
    /// # Errors
    /// The transport failed.
    pub async fn run(self) -> anyhow::Result<()> {
        let reloading = reload_on_hangup(self.certificates());
        if let Some(tls) = self.fleet_tls().pop() {
            // The page has the same lists.
            tokio::spawn(
                self.stop
                    .clone()
                    .run_until_cancelled_owned(tls.name_ended_lists()),
            );
        }
        let (gateway, stop) = (self.gateway, self.stop.clone());
        let fleet_served = CancellationToken::new();
        let drained = async {
            let Some(gateway) = gateway else {
                return std::future::pending().await;
            };
            gateway.drained().await;
            stop.cancel();
            gateway.stopped().await;
            let _ = timeout(FAREWELL, fleet_served.cancelled()).await;
        };
        let serving_agents = async {
            match self.agents {
                Some(agents) => agents.run(self.stop.clone()).await?,
                None => self.stop.cancelled().await,
            }
            anyhow::Ok(())
        };
        let serving_fleet = async {
            if let Some(fleet) = self.fleet {
                fleet.server.run(self.stop.clone()).await?;
            }
            fleet_served.cancel();
            anyhow::Ok(())
        };
        tokio::select! {
            served = async { tokio::try_join!(serving_agents, serving_fleet) } => {
                served?;
            }
            failed = reloading => return failed,
            () = drained => {}
        }
        Ok(())
    }
}

/// Refuses options that contradict each other.
fn refuse_contradictions(config: &ShimConfig) -> anyhow::Result<()> {
    let is_gateway = config.gateway_url.is_some();
    let has_ironic = !config.common.api_url.is_empty();
    let is_open = config.admit == AdmittedMachines::Open;
    for (option, is_set) in [
        ("fleet_listen", config.fleet_listen.is_some()),
        ("page_listen", config.page_listen.is_some()),
        ("fleet_policy_file", config.fleet_policy_file.is_some()),
        ("node_dir", config.node_dir.is_some()),
        ("admit", is_open),
    ] {
        anyhow::ensure!(
            is_gateway || !is_set,
            "option {option} is that of a gateway: set gateway_url, too, or remove it"
        );
    }
    anyhow::ensure!(
        config.fleet_listen.is_some()
            || config.page_listen.is_some()
            || config.fleet_policy_file.is_none(),
        "option fleet_policy_file says who may do what at fleet_listen: set that, too, or remove it"
    );
    anyhow::ensure!(
        !is_gateway || has_ironic || is_open || config.node_dir.is_some(),
        "a gateway (option gateway_url) must know its nodes: set api_url to the address of Ironic, \
         node_dir to a directory of node files, or, in a lab, admit to open"
    );
    anyhow::ensure!(
        !(has_ironic && is_open),
        "option admit = open is for a gateway without Ironic, which knows its nodes itself: remove \
         it, or api_url"
    );
    Ok(())
}

/// Answers the calls that other gateways pass on, and has those of nodes that they hold go there.
fn answer_gateways(fleet: Option<&OpenFleet>, gateway: &Gateway) {
    match (fleet, gateway.peers()) {
        (Some(fleet), Some(peers)) => fleet.share_with(peers),
        (None, Some(peers)) => serve_gateways(peers, gateway.agents().clone()),
        (_, None) => {}
    }
}

/// The nodes whose tokens are known from earlier. Thousands of kept changes take memory that only
/// watches need, and nodes one that only who asks for them needs: a registrar, in Ironic's place or
/// for the labels of node files, and join tokens that ask for labels.
fn known_nodes(proofs: &Proofs, is_watched: bool, config: &ShimConfig) -> Fleet {
    let has_ironic = !config.common.api_url.is_empty();
    let fleet = if is_watched {
        Fleet::default()
    } else if has_ironic && config.node_dir.is_none() {
        Fleet::unlisted()
    } else {
        Fleet::unwatched()
    };
    for node in proofs.nodes() {
        fleet.add(&node);
    }
    fleet
}

/// The pace at which a gateway calls Ironic. Without Ironic the nodes are its own, and nobody else's
/// load counts.
fn pacing(config: &ShimConfig, upstream: &Upstream, stop: &CancellationToken) -> Option<Pacing> {
    upstream
        .is_ironic()
        .then(|| Pacing::start(config.ironic_call_rate, stop.clone()))
}

/// The access to the fleet, from now on by the policy as it is at each time.
fn fleet_access(config: &ShimConfig, stop: &CancellationToken) -> anyhow::Result<FleetAccess> {
    let access = crate::fleet::access(config)?;
    let keeping_up = access.clone().keep_up();
    tokio::spawn(stop.clone().run_until_cancelled_owned(keeping_up));
    Ok(access)
}

/// Empties a gateway when a caller asks for it.
async fn drain_when_asked(gateway: Gateway, requests: DrainRequests) {
    let stop = gateway.stopping();
    requests.asked.cancelled().await;
    // The token is also cancelled with the program.
    if !stop.is_cancelled() {
        gateway.drain();
        requests.begun.cancel();
    }
}

/// Serves the page, where one is wanted.
async fn page(
    config: &ShimConfig,
    url: &GatewayUrl,
    (fleet, access, metrics): (&Fleet, &FleetAccess, &Metrics),
    stop: &CancellationToken,
) -> anyhow::Result<Option<OpenPage>> {
    let Some(listen) = &config.page_listen else {
        return Ok(None);
    };
    let viewer = FleetViewer::new(fleet.clone(), access.clone());
    let service = PageService::new(viewer, metrics.clone(), url.host());
    let server = PageServer::bind(listen, config, service).await?;
    let open = OpenPage {
        listen: server.listen.clone(),
        tls: server.tls().cloned(),
    };
    tokio::spawn(server.serve(stop.clone()));
    Ok(Some(open))
}

/// The upstream that answers for the nodes of a gateway. Node files are read, also where they only
/// name the nodes of Ironic.
fn upstream(
    config: &ShimConfig,
    ironic: Arc<Ironic>,
    proofs: &Proofs,
    fleet: &Fleet,
    stop: &CancellationToken,
) -> anyhow::Result<Upstream> {
    let is_open = config.admit == AdmittedMachines::Open;
    if is_open {
        warn!(
            "any machine that reaches conductor_listen becomes a node of this gateway: option admit = open is for labs"
        );
    }
    let settings = RegistrarSettings {
        node_dir: config.node_dir.clone(),
        open_state: is_open.then(|| config.state_dir.clone()),
    };
    let inspections = Inspections::new(&config.state_dir);
    let (registrar, directory) =
        Registrar::open(settings, proofs.clone(), fleet.clone(), inspections)?;
    if let Some(directory) = directory {
        let keeping_up = registrar.clone().keep_up(directory);
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeping_up));
    }
    Ok(if config.common.api_url.is_empty() {
        Upstream::Registrar(registrar)
    } else {
        Upstream::Ironic(ironic)
    })
}

/// Whether the shim can do without agents that call it: there is nobody to relay to, and
/// nobody has asked for the listener.
fn is_optional(config: &ShimConfig) -> bool {
    config.common.api_url.is_empty()
        && config.common.inspection_callback_url.is_empty()
        && config.conductor_listen == ShimConfig::default().conductor_listen
}

/// Asks multicast DNS where it is configured, and only there.
async fn find_ironic(config: &mut ShimConfig) -> anyhow::Result<()> {
    let is_demanded = config.common.api_url == ["mdns"];
    if is_demanded || (config.common.api_url.is_empty() && config.common.use_mdns) {
        match discover::find(MdnsService::Baremetal, config).await {
            Ok(found) => {
                config.apply_discovered(&found.overrides);
                config.common.api_url = vec![found.url];
            }
            Err(error) if is_demanded => return Err(error).context("option api_url is mdns"),
            Err(error) => warn!(%error, "Ironic was not found: there will be no heartbeats"),
        }
    }
    if config.common.inspection_callback_url == ["mdns"] {
        let found = discover::find(MdnsService::Introspection, config)
            .await
            .context("option inspection_callback_url is mdns")?;
        config.common.inspection_callback_url = vec![format!("{}/v1/continue", found.url)];
    }
    Ok(())
}

fn settings(config: &ShimConfig) -> IronicSettings {
    let common = &config.common;
    let urls = common.api_url.iter();
    let api_urls: Vec<String> = urls
        .map(|url| url.trim_end_matches('/').to_owned())
        .collect();
    // Text that is not a version means discovery, as in the Python agent.
    let api_version = config.ironic_api_version.as_deref().and_then(|text| {
        text.parse::<ApiVersion>()
            .inspect_err(|error| warn!(%error, "option ironic_api_version is ignored"))
            .ok()
    });
    IronicSettings {
        inspection_urls: inspection_urls(config, &api_urls),
        api_urls,
        api_version,
        global_request_id: config.global_request_id.clone(),
        timeout: common.http_request_timeout,
        tls: common.client_tls(),
    }
}

/// Where inspection reports go: as configured, else to the Ironic API if reports are wanted.
fn inspection_urls(config: &ShimConfig, api_urls: &[String]) -> Vec<String> {
    let common = &config.common;
    if !common.inspection_callback_url.is_empty() {
        return common.inspection_callback_url.clone();
    }
    // Also for the tool that reports a deployed system and finds Ironic by multicast DNS. An
    // agent that was not asked for a report makes none.
    if common.inspection_collectors.is_none() && !common.use_mdns {
        return Vec::new();
    }
    let urls = api_urls.iter();
    urls.map(|url| format!("{url}/v1/continue_inspection"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_media_are_awaited_where_the_machine_was_booted_from_them() {
        let root = tempfile::tempdir().unwrap();
        let await_media = || await_virtual_media(root.path(), Duration::ZERO);
        std::fs::create_dir(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/cmdline"), "quiet").unwrap();
        await_media().unwrap();
        std::fs::write(root.path().join("proc/cmdline"), "boot_method=vmedia").unwrap();
        let error = await_media().unwrap_err().to_string();
        assert!(error.contains("virtual media"), "{error}");
        virtual_media::announce(root.path()).unwrap();
        await_media().unwrap();
    }

    #[test]
    fn the_cipher_suites_of_ironics_client_may_be_separated_by_commas() {
        let mut config = ShimConfig::default();
        config.common.tls_cipher_suites =
            Some("ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384".to_owned());
        assert_eq!(settings(&config).tls.cipher_suites.len(), 2);
        Ironic::new(settings(&config)).unwrap();
    }
}
