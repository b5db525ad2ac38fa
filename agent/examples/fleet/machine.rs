//! A simulated machine: a card, a disk, a boot, and what its agent keeps.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ironic_agent::app;
use ironic_agent::config::{AgentConfig, GrpcListen, Shared};
use ironic_agent::system::{PathPrefix, System};
use ironic_program::CommonSettings;
use ironic_transport::Endpoints;
use uuid::Uuid;

/// The size of its disk in bytes. The file is sparse.
const DISK: u64 = 64 * 1024 * 1024;

/// How the agents reach their gateway.
#[derive(Debug, Clone, Args)]
pub(crate) struct GatewayAccess {
    /// Where the gateway serves agents.
    #[arg(long)]
    conductor: Endpoints,
    /// The CA of the gateway, for an https address.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// The certificate of all agents.
    #[arg(long, requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "cert_file")]
    key_file: Option<PathBuf>,
}

/// A machine. Its agent may be run again and again.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    directory: PathBuf,
}

impl Machine {
    /// Makes the files of a machine.
    pub(crate) fn create(parent: &Path, number: u32) -> io::Result<Self> {
        let directory = parent.join(number.to_string());
        let root = directory.join("root");
        let card = root.join("sys/class/net/simulated0");
        fs::create_dir_all(&card)?;
        fs::write(card.join("address"), mac_address(number))?;
        fs::create_dir_all(root.join("sys/devices/card"))?;
        symlink("../../../devices/card", card.join("device"))?;
        let random = root.join("proc/sys/kernel/random");
        fs::create_dir_all(&random)?;
        fs::write(random.join("boot_id"), Uuid::new_v4().to_string())?;
        // Nothing is mounted: without the kernel's list no disk is erased.
        fs::create_dir(root.join("proc/self"))?;
        fs::write(root.join("proc/self/mounts"), "")?;
        let disks = directory.join("disks");
        fs::create_dir(&disks)?;
        File::create(disks.join("sda"))?.set_len(DISK)?;
        Ok(Self { directory })
    }

    /// Runs its agent until that ends.
    pub(crate) async fn run_agent(self, gateway: Arc<GatewayAccess>) {
        let disks = self.directory.join("disks");
        let config = AgentConfig {
            grpc_listen: GrpcListen::Nowhere,
            common: CommonSettings {
                grpc_tls_ca_file: gateway.ca_file.clone(),
                grpc_tls_cert_file: gateway.cert_file.clone(),
                grpc_tls_key_file: gateway.key_file.clone(),
                ..CommonSettings::default()
            },
            conductor: gateway.conductor.clone(),
            state_dir: self.directory.join("state"),
            simulate: Some(disks.clone()),
            ..AgentConfig::default()
        };
        let mut system = System::simulated(disks);
        system.root = PathPrefix::new(self.directory.join("root"));
        if let Err(error) = app::serve(Shared::new(config), system).await {
            eprintln!("{}: {error:#}", self.directory.display());
        }
    }
}

/// The address of the card of a machine.
pub(crate) fn mac_address(number: u32) -> String {
    let [a, b, c, d] = number.to_be_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
