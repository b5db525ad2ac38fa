//! How the shim is wired, started and stopped: the only place that knows every room.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use ironic_agent::config::{Config, Listen, Loaded, Program, TlsVersion};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::discover::{self, Service};
use crate::doorway::{Doorway, Guest};
use crate::ironic::{ApiVersion, Ironic, Settings};
use crate::relay::{self, Relay};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    ironic_agent::app::start(Program::Shim, run)
}

async fn run(loaded: Loaded) -> anyhow::Result<ExitCode> {
    let mut config = loaded.config;
    find_ironic(&mut config).await?;
    let shim = Shim::start(config, CancellationToken::new()).await?;
    let listen = shim
        .listen()
        .map_or_else(|| "nowhere".to_owned(), ToString::to_string);
    info!(version = %ironic_agent::config::version(), %listen, "ironic-shim");
    shim.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// The shim with its doors where they belong: the machines' door listens, the REST door is
/// open or waits for an agent.
#[derive(Debug)]
pub struct Shim {
    machines: Option<relay::Server>,
    stop: CancellationToken,
}

impl Shim {
    /// Wires the rooms. Everything ends when `stop` is cancelled.
    ///
    /// # Errors
    /// An option that cannot work, or an address that cannot be listened at.
    pub async fn start(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let ironic = Arc::new(Ironic::new(settings(&config))?);
        let doorway = Doorway::new(Arc::clone(&config), Arc::clone(&ironic), stop.clone());
        // The machines' door first: an agent that starts at the same time must find it.
        let relay = Relay::new(ironic, doorway.clone(), &config.state_dir);
        let machines = relay::bind(relay, &config).await;
        let machines = match machines {
            // Without Ironic no agent has anything to report: its door is not needed, and
            // whoever tries the shim by hand may not be allowed to open it.
            Err(error) if is_optional(&config) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "agents cannot report here"
                );
                None
            }
            bound => Some(bound?),
        };
        if config.api_url.is_empty() {
            // Nobody will look the node up: the operator's token counts, from the beginning.
            let guest = Guest {
                token: config.agent_token.clone(),
                version: String::new(),
                tls_min_version: String::new(),
                tls_cipher_suites: String::new(),
            };
            doorway
                .open(&guest)
                .await
                .context("the REST door cannot be opened")?;
            doorway.believe(&guest);
        }
        Ok(Self { machines, stop })
    }

    /// Where agents find the `ConductorService`; the port is the real one. `None` where
    /// nobody needs it and it cannot be opened.
    #[must_use]
    pub fn listen(&self) -> Option<&Listen> {
        self.machines.as_ref().map(|machines| &machines.listen)
    }

    /// Serves agents until the shim is stopped.
    ///
    /// # Errors
    /// The transport failed.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.machines {
            Some(machines) => machines.run(self.stop).await?,
            None => self.stop.cancelled().await,
        }
        Ok(())
    }
}

/// Whether the shim can do without agents that call it: there is nobody to relay to, and
/// nobody has asked for the door.
fn is_optional(config: &Config) -> bool {
    config.api_url.is_empty()
        && config.inspection_callback_url.is_empty()
        && config.conductor_listen == Config::default().conductor_listen
}

/// Asks multicast DNS where it is configured, and only there.
async fn find_ironic(config: &mut Config) -> anyhow::Result<()> {
    let explicit = config.api_url == ["mdns"];
    if explicit || (config.api_url.is_empty() && config.mdns.use_mdns) {
        match discover::find(Service::Baremetal, config).await {
            Ok(found) => {
                for (option, value) in found.overrides {
                    if option == "inspection_callback_url" {
                        if value.starts_with("http://") || value.starts_with("https://") {
                            config.inspection_callback_url = vec![value];
                        } else {
                            warn!(%value, "inspection_callback_url of the multicast DNS record is no address");
                        }
                    } else {
                        // ntp_server is the agent's: it asks for itself.
                        warn!(%option, "the multicast DNS record changes an option of the agent");
                    }
                }
                config.api_url = vec![found.url];
            }
            Err(error) if explicit => return Err(error).context("option api_url is mdns"),
            Err(error) => warn!(%error, "Ironic was not found: there will be no heartbeats"),
        }
    }
    if config.inspection_callback_url == ["mdns"] {
        let found = discover::find(Service::Introspection, config)
            .await
            .context("option inspection_callback_url is mdns")?;
        config.inspection_callback_url = vec![format!("{}/v1/continue", found.url)];
    }
    Ok(())
}

fn settings(config: &Config) -> Settings {
    let api_urls: Vec<String> = config
        .api_url
        .iter()
        .map(|url| url.trim_end_matches('/').to_owned())
        .collect();
    let inspection_urls = if config.inspection_callback_url.is_empty() {
        // Also for the tool that reports a deployed system and finds Ironic by multicast DNS.
        // An agent that was not asked for a report makes none.
        let is_known = config.inspection_collectors.is_some() || config.mdns.use_mdns;
        let urls = api_urls
            .iter()
            .map(|url| format!("{url}/v1/continue_inspection"));
        urls.filter(|_| is_known).collect()
    } else {
        config.inspection_callback_url.clone()
    };
    // Text that is no version means discovery, as in the Python agent.
    let api_version = config.ironic_api_version.as_deref().and_then(|text| {
        text.parse::<ApiVersion>()
            .inspect_err(|error| warn!(%error, "option ironic_api_version is ignored"))
            .ok()
    });
    let identity = match (&config.certfile, &config.keyfile) {
        (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
        (None, None) => None,
        _ => {
            warn!("only one of the options certfile and keyfile is set: neither is used");
            None
        }
    };
    Settings {
        api_urls,
        inspection_urls,
        api_version,
        global_request_id: config.global_request_id.clone(),
        patience: config.http_request_timeout,
        insecure: config.insecure,
        ca_file: config.cafile.clone(),
        identity,
        only_tls_1_3: config.tls_min_version == TlsVersion::V1_3,
        cipher_suites: config
            .tls_cipher_suites
            .as_deref()
            .unwrap_or_default()
            .split(':')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    }
}
