//! `ironic-agent collect-introspection-data`: reports what the machine is without being the
//! agent of it, once or, with `introspection_daemon`, again and again. For systems that were
//! deployed and whose data in Ironic is to stay right; it speaks through a shim beside it.

use std::process::ExitCode;

use ironic_options::Loaded;
use rand::rngs::StdRng;
use tracing::{error, info, warn};

use crate::conductor::inspection::{self, Delivered};
use crate::config::AgentConfig;
use crate::hardware::ManagerRegistry;
use crate::inspect;
use crate::machine::firmware::dmi;
use crate::rpc::conductor_client::ConductorClient;

/// The word that chooses this tool; the Python agent has a program of that name.
pub(super) const NAME: &str = "collect-introspection-data";

/// Runs the tool. The status is that of the only report; the daemon does not end.
pub(super) async fn run(loaded: Loaded<AgentConfig>) -> anyhow::Result<ExitCode> {
    let config = loaded.settings;
    // The shim asks multicast DNS, if it may.
    if !inspection::is_wanted(&config) && !config.common.use_mdns {
        warn!("neither inspection_callback_url nor inspection_collectors is set here");
    }
    let system = super::machine(&config);
    // Hardware managers that are programs belong to the agent: here nobody runs their steps.
    let registry = ManagerRegistry::with(Vec::new(), &system, &config).await?;
    let conductor = ConductorClient::new(&config, None)?.of_machine(dmi::system_uuid(&system));
    let once = async || {
        let report = inspect::collect(&system, &config, &registry).await;
        let mut jitter: StdRng = rand::make_rng();
        match inspection::deliver(&conductor, &report.data, &mut jitter).await {
            Ok(Delivered::Taken(_)) => report.failures.is_empty(),
            Ok(Delivered::Refused | Delivered::NoAddress) => false,
            Err(undelivered) => {
                error!(%undelivered, "inspection");
                false
            }
        }
    };
    let well = once().await;
    if !config.introspection_daemon {
        return Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let interval = config.introspection_daemon_post_interval;
    info!(?interval, "reporting again and again");
    let mut jitter: StdRng = rand::make_rng();
    match inspection::repeat(interval, &mut jitter, well, once).await {}
}
