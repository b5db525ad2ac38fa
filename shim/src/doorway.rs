//! When and how the REST door opens: address, certificate, listener.
//!
//! Without an Ironic to report to it opens at once. Otherwise the first `Hello` of an agent
//! opens it, because only then the conductor's TLS settings are known; the first heartbeat
//! follows when the door is open. It closes for good after a rescue or a lockdown.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironic_text::Secret;
use ironic_transport::tls::TlsVersion;

use crate::config::{Config, Protocol};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::advertise::{self, AdvertiseError};
use crate::agents::{CallError, Client, Identity, InvalidEndpoint, Place, Registration, Roster};
use crate::ironic::{ApiVersion, Ironic, UnknownVersion};
use crate::rest::{Door, Settings, ShutdownReason};
use crate::tls::{self, Subject, TlsError};

/// How long the agent may take to say whether a token is its own.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the door stays closed.
#[derive(Debug, Error)]
pub enum DoorwayError {
    /// There is no address to tell Ironic.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// Whether Ironic can be told a certificate is not known.
    #[error("whether Ironic takes a certificate is not known yet")]
    Version(#[from] UnknownVersion),
    /// A certificate is made for an address, and this is none.
    #[error(
        "advertise_host = {0} is no IP address, which the generated certificate needs: give an address, or a certificate by listen_tls, tls_cert_file and tls_key_file"
    )]
    NoAddress(String),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// One half of certificate and key is configured.
    #[error("listen_tls needs both options tls_cert_file and tls_key_file")]
    HalfTls,
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
    /// The agent's address is no use.
    #[error(transparent)]
    Agent(#[from] InvalidEndpoint),
    /// The machine was rescued or locked down.
    #[error("the REST door was closed for good: {0:?}")]
    Closed(ShutdownReason),
}

/// What an agent brings when it opens a heartbeat session.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The token in force.
    pub token: Option<Secret>,
    /// Its version.
    pub version: String,
    /// The conductor's `tls_min_version`; empty means the configuration's.
    pub tls_min_version: String,
    /// The conductor's `tls_cipher_suites`; empty means the configuration's.
    pub tls_cipher_suites: String,
}

/// What Ironic is told about an open door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// `https://192.0.2.7:9999`, without a slash at its end.
    pub callback_url: String,
    /// The PEM of a generated certificate.
    pub verify_ca: Option<String>,
}

/// The place where the door is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Doorway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    ironic: Arc<Ironic>,
    roster: Roster,
    advertised: Mutex<Option<Advertised>>,
    ended: watch::Sender<Option<ShutdownReason>>,
    stop: CancellationToken,
}

impl Doorway {
    /// A closed door. It stops with `stop`.
    #[must_use]
    pub fn new(config: Arc<Config>, ironic: Arc<Ironic>, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            config,
            ironic,
            roster: Roster::default(),
            advertised: Mutex::new(None),
            ended: watch::Sender::new(None),
            stop,
        }))
    }

    /// Opens the door unless it is open, and answers what to tell Ironic. The answer is the
    /// same for the door's whole life: Ironic refuses a node that changes its callback URL or
    /// its certificate. Until a guest is [believed](Self::believe), no token passes.
    ///
    /// # Errors
    /// Why the door cannot be opened; asking again may help.
    pub async fn open(&self, guest: &Guest) -> Result<Advertised, DoorwayError> {
        let inner = &self.0;
        if let Some(ending) = *inner.ended.borrow() {
            return Err(DoorwayError::Closed(ending));
        }
        let config = &inner.config;
        let mut advertised = inner.advertised.lock().await;
        if inner.roster.find(&Place::Root).is_none() {
            inner.roster.register(
                Place::Root,
                Registration {
                    endpoint: config.agent.clone(),
                    identity: Identity {
                        ca: config.common.grpc_tls_ca_file.clone(),
                        cert: config.common.grpc_tls_cert_file.clone(),
                        key: config.common.grpc_tls_key_file.clone(),
                    },
                    token: None,
                    version: String::new(),
                },
            )?;
        }
        if let Some(advertised) = &*advertised {
            return Ok(advertised.clone());
        }
        let told = self.unlock(guest).await?;
        info!(event = %"rest_door_open", url = %told.callback_url, "milestone");
        *advertised = Some(told.clone());
        Ok(told)
    }

    /// Whether the agent, at the address where the shim finds it, takes the guest's token and no
    /// other one. What the agent holds is what Ironic gave it.
    pub async fn is_agents(&self, guest: &Guest) -> bool {
        let (Some(token), Some((agent, _))) = (&guest.token, self.0.roster.find(&Place::Root))
        else {
            return false;
        };
        let asking = async {
            let other = Secret::new(Uuid::new_v4().simple().to_string());
            takes(&agent.client, token).await && !takes(&agent.client, &other).await
        };
        // An agent that does not answer has no say.
        tokio::time::timeout(AGENT_TIMEOUT, asking)
            .await
            .unwrap_or(false)
    }

    /// From now on the guest's token passes, and no other one: Ironic has accepted it, or the
    /// operator has configured it.
    pub fn believe(&self, guest: &Guest) {
        let roster = &self.0.roster;
        let Some((_, generation)) = roster.find(&Place::Root) else {
            return;
        };
        if let Some(token) = &guest.token {
            roster.set_token(&Place::Root, generation, token.clone());
        }
        roster.seen(&Place::Root, generation, &guest.version);
    }

    /// Closes the door for good.
    pub fn close(&self, ending: ShutdownReason) {
        self.0.ended.send_replace(Some(ending));
    }

    /// How the door ended, when it has.
    pub fn ended(&self) -> watch::Receiver<Option<ShutdownReason>> {
        self.0.ended.subscribe()
    }

    async fn unlock(&self, guest: &Guest) -> Result<Advertised, DoorwayError> {
        let inner = &self.0;
        let config = &inner.config;
        let urls = inner.ironic.api_urls();
        let generated = !config.listen_tls
            && config.enable_auto_tls
            && !urls.is_empty()
            // A guess would open the door without TLS, and a node cannot change that later.
            && inner.ironic.version().await? >= ApiVersion::AGENT_VERIFY_CA;
        // Without Ironic nobody is told an address, and none is searched for.
        let host = if urls.is_empty() {
            config.listen_host.clone()
        } else {
            advertise::host(config, &urls).await?
        };
        let pair = if generated {
            let address: IpAddr = host
                .parse()
                .map_err(|_| DoorwayError::NoAddress(host.clone()))?;
            let subject = Subject {
                host_name: host_name(),
                address,
                curve: config.tls_certificate_curve,
                clock_skew: config.auto_tls_allowed_clock_skew,
            };
            Some(tls::load_or_generate(
                &config.state_dir,
                &subject,
                OffsetDateTime::now_utc(),
            )?)
        } else {
            // A pair that is configured counts even when listen_tls was forgotten.
            match (&config.tls_cert_file, &config.tls_key_file) {
                (Some(certificate), Some(key)) => Some(tls::load(certificate, key)?),
                _ if config.listen_tls => return Err(DoorwayError::HalfTls),
                _ => None,
            }
        };
        let acceptor = match &pair {
            Some(pair) => {
                let (oldest, suites) = self.policy(guest)?;
                let server = tls::server_config(pair, oldest, suites.as_deref())?;
                Some(tokio_rustls::TlsAcceptor::from(server))
            }
            None => None,
        };
        let listener = listen(&config.listen_host, config.listen_port).await?;
        let protocol = if generated {
            Protocol::Https
        } else {
            config.advertise_protocol
        };
        let door = Door::new(inner.roster.clone(), Settings::default());
        // Nobody is told the address without an Ironic; a person wants the real one.
        let callback_url = match listener.local_addr() {
            Ok(address) if urls.is_empty() => {
                let protocol = if acceptor.is_some() {
                    Protocol::Https
                } else {
                    Protocol::Http
                };
                format!("{}://{address}", protocol.word())
            }
            _ => format!(
                "{}://{}:{}",
                protocol.word(),
                advertise::in_url(&host),
                config.advertise_port
            ),
        };
        self.serve(door, listener, acceptor);
        Ok(Advertised {
            callback_url,
            verify_ca: pair.filter(|_| generated).map(|pair| pair.certificate),
        })
    }

    /// The TLS version and suites: the conductor's word, else the configuration's.
    fn policy(&self, guest: &Guest) -> Result<(TlsVersion, Option<String>), DoorwayError> {
        let config = &self.0.config;
        let oldest = match guest.tls_min_version.as_str() {
            "" => config.common.tls_min_version,
            word => TlsVersion::from_word(word)
                .ok_or_else(|| DoorwayError::TlsVersion(word.to_owned()))?,
        };
        let suites = Some(guest.tls_cipher_suites.clone())
            .filter(|suites| !suites.is_empty())
            .or_else(|| config.common.tls_cipher_suites.clone());
        Ok((oldest, suites))
    }

    fn serve(&self, door: Door, listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>) {
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
            match door.serve(listener, tls, stop).await {
                ShutdownReason::Stopped => {}
                ending => {
                    info!(event = %"rest_door_closed", ?ending, "milestone");
                    ended.send_replace(Some(ending));
                }
            }
        });
    }
}

/// Whether the agent takes a token, by a question for a command that does not exist.
async fn takes(client: &Client, token: &Secret) -> bool {
    let asked = client.get(token, &Uuid::nil().to_string()).await;
    matches!(asked, Ok(_) | Err(CallError::NotFound { .. }))
}

/// Listens, also where IPv6 is switched off and the default `::` cannot be used.
async fn listen(host: &str, port: u16) -> Result<TcpListener, DoorwayError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bound = match TcpListener::bind((bare, port)).await {
        Err(error) if bare == "::" && error.kind() != std::io::ErrorKind::AddrInUse => {
            warn!(%error, "no IPv6 here: listening at 0.0.0.0");
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    };
    bound.map_err(|source| DoorwayError::Listen {
        host: host.to_owned(),
        port,
        source,
    })
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}
