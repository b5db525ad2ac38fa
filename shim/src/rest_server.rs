//! When and how the REST server starts: address, certificate, listener.
//!
//! Without an Ironic to report to it starts at once. Otherwise the first `Hello` of an agent
//! starts it, because only then the conductor's TLS settings are known; the first heartbeat
//! follows when it listens. It stops for good after a rescue or a lockdown.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironic_text::Secret;
use ironic_transport::grpc::InvalidEndpoint;
use ironic_transport::tls::{HalfPair, TlsVersion};

use crate::config::{Protocol, ShimConfig};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::advertise::{self, AdvertiseError};
use crate::agents::{AgentKey, AgentRegistry, Proofs, Registration};
use crate::ironic::{ApiVersion, Ironic, UnknownVersion};
use crate::rest::{CloseReason, RestListener, RestSettings};
use crate::tls::{self, Pair, Subject, TlsError};

/// How long the agent may take to say whether a token is its own.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the REST server does not start.
#[derive(Debug, Error)]
pub enum RestServerError {
    /// There is no address to give to Ironic.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// Whether Ironic can be given a certificate is not known.
    #[error("whether Ironic takes a certificate is not known yet")]
    Version(#[from] UnknownVersion),
    /// A certificate is made for an IP address, and this is a name.
    #[error(
        "advertise_host = {0} is not an IP address, which the generated certificate needs: give an address, or a certificate by listen_tls, tls_cert_file and tls_key_file"
    )]
    NoAddress(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// One half of certificate and key is configured.
    #[error(transparent)]
    Half(#[from] HalfPair),
    /// The operator brings the certificate and has not named it.
    #[error("listen_tls needs the options tls_cert_file and tls_key_file")]
    NoCertificate,
    /// The conductor asks for a TLS version that does not exist.
    #[error("tls_min_version {0:?} from the lookup is neither 1.2 nor 1.3")]
    TlsVersion(String),
    /// The address cannot be listened at.
    #[error("cannot listen at {host}:{port} (options listen_host and listen_port)")]
    Listen {
        /// The option's value.
        host: String,
        /// The option's value.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The agent's address is unusable.
    #[error(transparent)]
    Agent(#[from] InvalidEndpoint),
    /// The machine was rescued or locked down.
    #[error("the REST server was closed for good: {0:?}")]
    Closed(CloseReason),
}

/// What an agent says when it opens a heartbeat session.
#[derive(Debug, Clone)]
pub struct AgentSession {
    /// The token in force.
    pub token: Option<Secret>,
    /// Its version.
    pub version: String,
    /// The conductor's `tls_min_version`; empty means the configuration's.
    pub tls_min_version: String,
    /// The conductor's `tls_cipher_suites`; empty means the configuration's.
    pub tls_cipher_suites: String,
}

/// What Ironic is given about a server that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// `https://192.0.2.7:9999`, without a slash at its end.
    pub callback_url: String,
    /// The PEM of a generated certificate.
    pub verify_ca: Option<Arc<str>>,
}

/// The REST server, which is started on demand. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RestServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<ShimConfig>,
    ironic: Arc<Ironic>,
    agents: AgentRegistry,
    advertised: Mutex<Option<Advertised>>,
    ended: watch::Sender<Option<CloseReason>>,
    stop: CancellationToken,
}

impl RestServer {
    /// A server that is not started. It stops with `stop`.
    #[must_use]
    pub fn new(config: Arc<ShimConfig>, ironic: Arc<Ironic>, stop: CancellationToken) -> Self {
        let proofs = Proofs::new(&config.state_dir);
        Self(Arc::new(Inner {
            config,
            ironic,
            agents: AgentRegistry::new(proofs),
            advertised: Mutex::new(None),
            ended: watch::Sender::new(None),
            stop,
        }))
    }

    /// Starts the server unless it listens, and answers what to give to Ironic. The answer is
    /// the same for the server's whole life: Ironic refuses a node that changes its callback
    /// URL or its certificate. Until a session is [trusted](Self::trust), no token passes.
    ///
    /// # Errors
    /// Why the server does not start; asking again may help.
    pub async fn start(&self, session: &AgentSession) -> Result<Advertised, RestServerError> {
        let inner = &self.0;
        if let Some(ending) = *inner.ended.borrow() {
            return Err(RestServerError::Closed(ending));
        }
        let config = &inner.config;
        let mut advertised = inner.advertised.lock().await;
        if inner.agents.find(&AgentKey::Root).is_none() {
            inner.agents.register(
                AgentKey::Root,
                Registration {
                    endpoint: config.agent.clone(),
                    files: config.common.grpc_tls(),
                    token: None,
                    version: String::new(),
                },
            )?;
        }
        if let Some(advertised) = &*advertised {
            return Ok(advertised.clone());
        }
        let started = self.listen_and_serve(session).await?;
        info!(event = %"rest_listener_open", url = %started.callback_url, "milestone");
        *advertised = Some(started.clone());
        Ok(started)
    }

    /// The tokens that are known.
    #[must_use]
    pub fn proofs(&self) -> &Proofs {
        self.0.agents.proofs()
    }

    /// Whether the agent, at the address where the shim finds it, takes the session's token and
    /// no other one. What the agent holds is what Ironic gave it.
    pub async fn is_agents(&self, session: &AgentSession) -> bool {
        let (Some(token), Some((agent, _))) = (&session.token, self.0.agents.find(&AgentKey::Root))
        else {
            return false;
        };
        let asking = async {
            let other = Secret::new(Uuid::new_v4().simple().to_string());
            let client = &agent.client;
            client.takes(token).await == Some(true) && client.takes(&other).await == Some(false)
        };
        // An agent that does not answer has no say.
        tokio::time::timeout(AGENT_TIMEOUT, asking)
            .await
            .unwrap_or(false)
    }

    /// From now on the session's token passes, and no other one: Ironic has accepted it, or
    /// the operator has configured it.
    pub fn trust(&self, session: &AgentSession) {
        let agents = &self.0.agents;
        let Some((_, generation)) = agents.find(&AgentKey::Root) else {
            return;
        };
        if let Some(token) = &session.token {
            agents.set_token(&AgentKey::Root, generation, token.clone());
        }
        agents.seen(&AgentKey::Root, generation, &session.version);
    }

    /// Stops the server for good.
    pub fn close(&self, ending: CloseReason) {
        self.0.ended.send_replace(Some(ending));
    }

    /// How the server ended, when it has.
    pub fn ended(&self) -> watch::Receiver<Option<CloseReason>> {
        self.0.ended.subscribe()
    }

    /// Finds the address, gets the certificate, listens and serves.
    async fn listen_and_serve(
        &self,
        session: &AgentSession,
    ) -> Result<Advertised, RestServerError> {
        let inner = &self.0;
        let config = &inner.config;
        let urls = inner.ironic.api_urls();
        let is_generated = self.generates_certificate(&urls).await?;
        // Without Ironic nobody is given an address, and none is searched for.
        let host = if urls.is_empty() {
            config.listen_host.clone()
        } else {
            advertise::host(config, &urls).await?
        };
        let pair = if is_generated {
            Some(self.generated_pair(&host)?)
        } else {
            self.configured_pair()?
        };
        let acceptor = match &pair {
            Some(pair) => {
                let (oldest, suites) = self.tls_policy(session)?;
                let server = tls::server_config(pair, oldest, suites.as_deref())?;
                Some(tokio_rustls::TlsAcceptor::from(server))
            }
            None => None,
        };
        let listener = listen(&config.listen_host, config.listen_port).await?;
        let callback_url = match listener.local_addr() {
            // Without Ironic nobody is given the address: a person wants the real one.
            Ok(address) if urls.is_empty() => {
                let protocol = protocol(acceptor.is_some(), Protocol::Http);
                format!("{}://{address}", protocol.word())
            }
            _ => {
                let protocol = protocol(is_generated, config.advertise_protocol).word();
                let host = advertise::in_url(&host);
                format!("{protocol}://{host}:{}", config.advertise_port)
            }
        };
        let server = RestListener::new(inner.agents.clone(), RestSettings::default());
        self.serve(server, listener, acceptor);
        Ok(Advertised {
            callback_url,
            verify_ca: pair
                .filter(|_| is_generated)
                .map(|pair| pair.certificate.into()),
        })
    }

    /// Whether the certificate is generated: nobody gave one, and Ironic can be given it.
    async fn generates_certificate(&self, urls: &[String]) -> Result<bool, UnknownVersion> {
        let config = &self.0.config;
        if config.listen_tls || !config.enable_auto_tls || urls.is_empty() {
            return Ok(false);
        }
        // A guess would serve without TLS, and a node cannot change that later.
        Ok(self.0.ironic.version().await? >= ApiVersion::AGENT_VERIFY_CA)
    }

    fn generated_pair(&self, host: &str) -> Result<Pair, RestServerError> {
        let config = &self.0.config;
        let address: IpAddr = host
            .parse()
            .map_err(|_| RestServerError::NoAddress(host.to_owned()))?;
        let subject = Subject {
            host_name: host_name(),
            address,
            curve: config.tls_certificate_curve,
            clock_skew: config.auto_tls_allowed_clock_skew,
        };
        let now = OffsetDateTime::now_utc();
        Ok(tls::load_or_generate(&config.state_dir, &subject, now)?)
    }

    /// The operator's pair, which counts even when `listen_tls` was forgotten.
    fn configured_pair(&self) -> Result<Option<Pair>, RestServerError> {
        let config = &self.0.config;
        match tls::configured_files(config) {
            Ok(Some((certificate, key))) => Ok(Some(tls::load(certificate, key)?)),
            Ok(None) if config.listen_tls => Err(RestServerError::NoCertificate),
            Err(half) if config.listen_tls => Err(half.into()),
            // Half a pair was reported when the options were loaded, and is not used.
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// The TLS version and suites: the conductor's, else the configuration's.
    fn tls_policy(
        &self,
        session: &AgentSession,
    ) -> Result<(TlsVersion, Option<String>), RestServerError> {
        let config = &self.0.config;
        let oldest = match session.tls_min_version.as_str() {
            "" => config.common.tls_min_version,
            word => TlsVersion::from_word(word)
                .ok_or_else(|| RestServerError::TlsVersion(word.to_owned()))?,
        };
        let suites = Some(session.tls_cipher_suites.clone())
            .filter(|suites| !suites.is_empty())
            .or_else(|| config.common.tls_cipher_suites.clone());
        Ok((oldest, suites))
    }

    fn serve(
        &self,
        server: RestListener,
        listener: TcpListener,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) {
        let stop = self.0.stop.child_token();
        let ended = self.0.ended.clone();
        let mut closed = ended.subscribe();
        let closing = stop.clone();
        tokio::spawn(async move {
            // A sender that is gone means that the process ends; the parent token stops us.
            if closed.wait_for(Option::is_some).await.is_ok() {
                closing.cancel();
            }
        });
        tokio::spawn(async move {
            match server.serve(listener, tls, stop).await {
                CloseReason::Stopped => {}
                ending => {
                    info!(event = %"rest_listener_closed", ?ending, "milestone");
                    ended.send_replace(Some(ending));
                }
            }
        });
    }
}

fn protocol(is_https: bool, otherwise: Protocol) -> Protocol {
    if is_https { Protocol::Https } else { otherwise }
}

/// Listens, also where IPv6 is switched off and the default `::` cannot be used.
///
/// # Errors
/// The address is taken, or not ours.
pub async fn listen(host: &str, port: u16) -> Result<TcpListener, RestServerError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bound = match TcpListener::bind((bare, port)).await {
        Err(error) if bare == "::" && error.kind() != std::io::ErrorKind::AddrInUse => {
            warn!(%error, "no IPv6 here: listening at 0.0.0.0");
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    };
    bound.map_err(|source| RestServerError::Listen {
        host: host.to_owned(),
        port,
        source,
    })
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}
