//! The settings of the agent: its options under the names that ironic-python-agent gave them,
//! read once at the start, and what a lookup changes of them afterwards ([`Shared`]).
//!
//! Plain data: every module may read it, it reads no other module.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ironic_program::CommonSettings;
use ironic_text::Secret;
use ironic_transport::address::InvalidAddress;
use ironic_transport::grpc::ClientTls;
use ironic_transport::tls::AuthorityPin;
use ironic_transport::{Endpoint, Endpoints, Listen};

mod options;
mod shared;

pub use shared::{Ignored, SessionOverrides, Shared};

/// The settings of the agent. A field carries the name of its option, whose help is what it
/// means for an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// What the shim has, too.
    pub common: CommonSettings,

    /// Where the agent serves gRPC.
    pub grpc_listen: GrpcListen,
    /// The address that the conductor is given to call the agent.
    pub grpc_callback_url: Option<Endpoint>,
    /// Where the agent finds its `ConductorService`.
    pub conductor: Endpoints,
    /// The authority of the conductor, by its digest.
    pub conductor_ca_sha256: Option<AuthorityPin>,
    /// What proves to a gateway which node this machine is.
    pub join_token: Option<Secret>,
    /// The program's own directory for what must survive a restart of the process.
    pub state_dir: PathBuf,
    /// The directory of hardware managers that are programs of their own.
    pub hardware_managers_dir: PathBuf,
    /// No lookup, no heartbeat: commands come from elsewhere.
    pub standalone: bool,
    /// A directory whose files are used as the machine's disks.
    pub simulate: Option<PathBuf>,
    /// The time limit for the whole lookup; zero disables refresh lookups.
    pub lookup_timeout: Duration,
    /// Shortest wait between two lookups; zero disables refresh lookups.
    pub lookup_interval: Duration,
    /// How long inspection waits for addresses; zero does not wait.
    pub inspection_dhcp_wait_timeout: Duration,
    /// Waits for all interfaces instead of the one that booted.
    pub inspection_dhcp_all_interfaces: bool,
    /// Whether `collect-introspection-data` goes on after its first report.
    pub introspection_daemon: bool,
    /// Pause between two of its reports.
    pub introspection_daemon_post_interval: Duration,
    /// How long LLDP packets are waited for.
    pub lldp_timeout: Duration,
    /// LLDP on every listing of interfaces.
    pub collect_lldp: bool,
    /// `interface.vlan`, `interface` or `all`, each an item.
    pub enable_vlan_interfaces: Vec<String>,
    /// Pause before hardware is looked at.
    pub hardware_initialization_delay: Duration,
    /// How often a suitable disk is looked for.
    pub disk_wait_attempts: u32,
    /// Pause between two of these looks.
    pub disk_wait_delay: Duration,
    /// Server to set the clock by.
    pub ntp_server: Option<String>,
    /// A clock that cannot be set is a failure.
    pub fail_if_clock_not_set: bool,
    /// Priority of the `inject_files` step, 0 (off) to 99.
    pub inject_files_priority: u32,
    /// File systems that belong to clusters are not erased.
    pub guard_special_filesystems: bool,
    /// A boot loader that cannot be installed is not a failure; `None` when not given.
    pub ignore_bootloader_failure: Option<bool>,
    /// Boot loaders are installed for BIOS machines, too.
    pub enable_bios_bootloader_install: bool,
    /// User for image servers.
    pub image_server_user: Option<String>,
    /// Password for image servers.
    pub image_server_password: Option<Secret>,
    /// How image servers are logged in to.
    pub image_server_auth_strategy: ImageServerAuth,
    /// The time limit for connecting to an image server and for each read, at least 1 s.
    pub image_download_connection_timeout: Duration,
    /// Further attempts after the first.
    pub image_download_connection_retries: u32,
    /// Pause between two attempts.
    pub image_download_connection_retry_interval: Duration,
    /// Limit for a whole download; zero means none.
    pub image_download_max_duration: Duration,
    /// MD5 is good enough as a checksum.
    pub md5_enabled: bool,
    /// Image content is not compared with the declared format.
    pub disable_deep_image_inspection: bool,
    /// Formats that may be written.
    pub permitted_image_formats: Vec<String>,
    /// The config drive is rewritten as a FAT file system.
    pub config_drive_rebuild: bool,
    /// Bootable containers are not deployed.
    pub disable_bootc_deploy: bool,
    /// `[disk_utils]`
    pub disk_utils: DiskUtils,
    /// `[container]`
    pub container: Container,
    /// The BMC's address is not looked for.
    pub agent_skip_bmc_detect: bool,
}

impl AsRef<CommonSettings> for AgentConfig {
    fn as_ref(&self) -> &CommonSettings {
        &self.common
    }
}

impl AsMut<CommonSettings> for AgentConfig {
    fn as_mut(&mut self) -> &mut CommonSettings {
        &mut self.common
    }
}

impl AgentConfig {
    /// How connections to the conductor are made.
    #[must_use]
    pub fn conductor_tls(&self) -> ClientTls {
        ClientTls {
            files: self.common.grpc_tls(),
            pin: self.conductor_ca_sha256,
            ..ClientTls::default()
        }
    }
}

/// `[disk_utils]`: sizes and retries when disks are partitioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskUtils {
    /// Size of an EFI system partition in MiB.
    pub efi_system_partition_size: u32,
    /// Size of a BIOS boot partition in MiB.
    pub bios_boot_partition_size: u32,
    /// How often a new partition is looked for.
    pub partition_detection_attempts: u32,
}

/// `[container]`: steps that run in containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Any image may run.
    pub allow_arbitrary_containers: bool,
    /// Images that may run.
    pub allowed_containers: Vec<String>,
    /// The file that describes steps in containers.
    pub container_steps_file: PathBuf,
    /// The program that runs them.
    pub runner: ContainerRunner,
    /// Arguments for pulling.
    pub pull_options: Vec<String>,
    /// Arguments for running.
    pub run_options: Vec<String>,
}

/// How image servers are logged in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageServerAuth {
    /// Not at all.
    Noauth,
    /// HTTP Basic with `image_server_user` and `image_server_password`.
    HttpBasic,
}

/// The program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerRunner {
    /// `podman`
    Podman,
    /// `docker`
    Docker,
}

/// Where the agent serves gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcListen {
    /// At an address, or at a socket.
    At(Listen),
    /// Nowhere: the agent attaches to its conductor, and is called over that connection.
    Nowhere,
}

impl FromStr for GrpcListen {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self::Nowhere);
        }
        text.parse().map(Self::At)
    }
}

impl fmt::Display for GrpcListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(listen) => listen.fmt(f),
            Self::Nowhere => f.write_str("none"),
        }
    }
}

ironic_options::parsed_value!(
    GrpcListen,
    "ADDRESS",
    "ADDRESS:PORT, for example 127.0.0.1:9998 or [::]:9998, unix:/PATH, or none"
);

ironic_options::choice!(ImageServerAuth, "noauth|http_basic", "noauth or http_basic", {
    Noauth = "noauth",
    HttpBasic = "http_basic",
});
ironic_options::choice!(ContainerRunner, "podman|docker", "podman or docker", {
    Podman = "podman",
    Docker = "docker",
});

impl Default for AgentConfig {
    /// Those of ironic-python-agent 13.0, and for our own the paths of the *beside* placement.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            common: CommonSettings::default(),
            grpc_callback_url: None,
            grpc_listen: GrpcListen::At(Listen::Unix(PathBuf::from(
                "/run/ironic-agent/agent.sock",
            ))),
            conductor: Endpoint::Unix(PathBuf::from("/run/ironic-shim/conductor.sock")).into(),
            conductor_ca_sha256: None,
            join_token: None,
            state_dir: PathBuf::from("/run/ironic-agent"),
            hardware_managers_dir: PathBuf::from("/usr/lib/ironic-agent/hardware-managers"),
            standalone: false,
            simulate: None,
            lookup_timeout: seconds(600),
            lookup_interval: seconds(1),
            inspection_dhcp_wait_timeout: seconds(60),
            inspection_dhcp_all_interfaces: false,
            introspection_daemon: false,
            introspection_daemon_post_interval: Duration::from_secs(300),
            lldp_timeout: seconds(30),
            collect_lldp: false,
            enable_vlan_interfaces: Vec::new(),
            hardware_initialization_delay: Duration::ZERO,
            disk_wait_attempts: 10,
            disk_wait_delay: seconds(3),
            ntp_server: None,
            fail_if_clock_not_set: false,
            inject_files_priority: 0,
            guard_special_filesystems: true,
            ignore_bootloader_failure: None,
            enable_bios_bootloader_install: false,
            image_server_user: None,
            image_server_password: None,
            image_server_auth_strategy: ImageServerAuth::Noauth,
            image_download_connection_timeout: seconds(60),
            image_download_connection_retries: 9,
            image_download_connection_retry_interval: seconds(10),
            image_download_max_duration: Duration::ZERO,
            md5_enabled: false,
            disable_deep_image_inspection: false,
            permitted_image_formats: ["raw", "gpt", "qcow2"].map(str::to_owned).into(),
            config_drive_rebuild: false,
            disable_bootc_deploy: false,
            disk_utils: DiskUtils::default(),
            container: Container::default(),
            agent_skip_bmc_detect: false,
        }
    }
}

impl Default for DiskUtils {
    fn default() -> Self {
        Self {
            efi_system_partition_size: 550,
            bios_boot_partition_size: 1,
            partition_detection_attempts: 3,
        }
    }
}

impl Default for Container {
    fn default() -> Self {
        Self {
            allow_arbitrary_containers: false,
            allowed_containers: Vec::new(),
            container_steps_file: PathBuf::from("/etc/ironic-python-agent.d/mysteps.yaml"),
            runner: ContainerRunner::Podman,
            pull_options: Vec::new(),
            run_options: ["--rm", "--network=host"].map(str::to_owned).into(),
        }
    }
}

#[cfg(test)]
mod tests;
