//! What we were told: every option of both programs, under the names that ironic-python-agent
//! gave them. In come the command line, files and the kernel command line; out comes one
//! [`Config`], which only a lookup changes afterwards (through [`Shared`]).
//!
//! Plain data: every room may read it, it reads no other room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ironic_text::Secret;

mod address;
mod command_line;
mod ini;
mod kernel;
mod load;
mod options;
mod shared;
mod table;
mod value;

pub use address::{Endpoint, InvalidAddress, Listen};
pub use ini::Fault;
pub use kernel::{MEDIUM_PARAMETERS, Parameters, VIRTUAL_MEDIA};
pub use load::{ConfigError, Loaded, Origin, Warning};
pub use shared::{Ignored, SessionOverrides, Shared};

/// The version that Ironic is told, for example `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version for a person: with the commit, or `unknown` outside a repository.
#[must_use]
pub fn version() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (commit ",
        env!("IRONIC_AGENT_COMMIT"),
        ")"
    )
}

/// One of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// `ironic-agent`
    Agent,
    /// `ironic-shim`
    Shim,
}

impl Program {
    /// The program's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "ironic-agent",
            Self::Shim => "ironic-shim",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Agent => "Provisions the machine it runs on; takes its orders over gRPC.",
            Self::Shim => "Stands between an unmodified Ironic and ironic-agent.",
        }
    }

    /// The defaults on this machine.
    fn defaults(self, root: &Path) -> Config {
        // The kernel without IPv6 has no such file; then `::` cannot be listened at.
        let ipv6 = root.join("proc/sys/net/ipv6/conf/default/disable_ipv6");
        let has_ipv6 = std::fs::read_to_string(ipv6).is_ok_and(|text| text.trim() == "0");
        let listen_host = if has_ipv6 { "::" } else { "0.0.0.0" };
        Config {
            state_dir: Path::new("/run").join(self.name()),
            listen_host: listen_host.to_owned(),
            ..Config::default()
        }
    }
}

/// The environment variable of `agent_token`. No program that the agent starts inherits it.
pub const TOKEN_VARIABLE: &str = "IRONIC_AGENT_TOKEN";

/// Every option of both programs. Fields carry the option's name; what they mean for an
/// operator is the help text in the option table.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    // --- ours: how the two programs reach each other ---
    /// Where the agent serves gRPC.
    pub grpc_listen: Listen,
    /// Where the agent finds its `ConductorService`.
    pub conductor: Endpoint,
    /// Where the shim finds its agent.
    pub agent: Endpoint,
    /// Where the shim serves `ConductorService`.
    pub conductor_listen: Listen,
    /// `conductor_listen` may be open to other machines without client certificates.
    pub insecure_conductor_listen: bool,
    /// The program's own directory for what must survive a restart of the process.
    pub state_dir: PathBuf,
    /// The directory of hardware managers that are programs of their own.
    pub hardware_managers_dir: PathBuf,
    /// No lookup, no heartbeat: somebody else gives the orders.
    pub standalone: bool,
    /// A directory whose files are used as the machine's disks.
    pub simulate: Option<PathBuf>,
    /// PEM certificate of this program for gRPC between agent and shim.
    pub grpc_tls_cert_file: Option<PathBuf>,
    /// PEM key belonging to `grpc_tls_cert_file`.
    pub grpc_tls_key_file: Option<PathBuf>,
    /// PEM certificates that the other end's gRPC certificate must chain to.
    pub grpc_tls_ca_file: Option<PathBuf>,
    /// More lines in the log.
    pub debug: bool,

    // --- Ironic: where it is and how long we are patient ---
    /// Ironic API addresses in the order of preference, as configured; or one item `mdns`.
    pub api_url: Vec<String>,
    /// Sent as `X-OpenStack-Request-ID`.
    pub global_request_id: Option<String>,
    /// Skips version discovery.
    pub ironic_api_version: Option<String>,
    /// The pre-shared token; replaced by the one that a lookup answers.
    pub agent_token: Option<Secret>,
    /// The file from which it was read.
    pub agent_token_file: Option<PathBuf>,
    /// Patience for the whole lookup; zero disables refresh lookups.
    pub lookup_timeout: Duration,
    /// Shortest wait between two lookups; zero disables refresh lookups.
    pub lookup_interval: Duration,
    /// Patience for one HTTP exchange with Ironic, for connecting and for reading.
    pub http_request_timeout: Duration,

    // --- the REST door and the address that Ironic is told ---
    /// Address of the REST door.
    pub listen_host: String,
    /// Port of the REST door.
    pub listen_port: u16,
    /// The operator brings the certificate; no automatic TLS.
    pub listen_tls: bool,
    /// PEM certificate of the REST door.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM key of the REST door.
    pub tls_key_file: Option<PathBuf>,
    /// Whether a certificate is generated when Ironic can be told about it.
    pub enable_auto_tls: bool,
    /// How far the generated certificate is backdated.
    pub auto_tls_allowed_clock_skew: Duration,
    /// Oldest TLS version, as server and as client.
    pub tls_min_version: TlsVersion,
    /// OpenSSL names of TLS 1.2 cipher suites, separated by colons.
    pub tls_cipher_suites: Option<String>,
    /// Curve of the generated key.
    pub tls_certificate_curve: Curve,
    /// The host that Ironic is told; skips the search for an address.
    pub advertise_host: Option<String>,
    /// The port that Ironic is told.
    pub advertise_port: u16,
    /// The scheme that Ironic is told.
    pub advertise_protocol: Protocol,
    /// Rounds of the search for an address, at least 1.
    pub ip_lookup_attempts: u32,
    /// Pause after each unsuccessful round.
    pub ip_lookup_sleep: Duration,
    /// The interface whose IPv4 address Ironic is told.
    pub network_interface: Option<String>,

    // --- TLS as a client ---
    /// Servers are not verified.
    pub insecure: bool,
    /// PEM certificates that servers must chain to; the system's when absent.
    pub cafile: Option<PathBuf>,
    /// PEM client certificate.
    pub certfile: Option<PathBuf>,
    /// PEM key belonging to `certfile`.
    pub keyfile: Option<PathBuf>,

    // --- inspection ---
    /// Addresses that take inspection reports, used verbatim; or one item `mdns`.
    pub inspection_callback_url: Vec<String>,
    /// Collectors by name; `None` means `default` and `logs`, and no inspection unless
    /// `inspection_callback_url` asks for one.
    pub inspection_collectors: Option<Vec<String>>,
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

    // --- the machine ---
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
    /// A boot loader that cannot be installed is no failure; `None` when not said.
    pub ignore_bootloader_failure: Option<bool>,
    /// Boot loaders are installed for BIOS machines, too.
    pub enable_bios_bootloader_install: bool,

    // --- images ---
    /// User for image servers.
    pub image_server_user: Option<String>,
    /// Password for image servers.
    pub image_server_password: Option<Secret>,
    /// The file from which it was read.
    pub image_server_password_file: Option<PathBuf>,
    /// How image servers are logged in to.
    pub image_server_auth_strategy: ImageServerAuth,
    /// Patience for connecting to an image server and for each read, at least 1 s.
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

    // --- groups ---
    /// `[disk_utils]`
    pub disk_utils: DiskUtils,
    /// `[container]`
    pub container: Container,
    /// `[mdns]`
    pub mdns: Mdns,

    // --- no option: only a lookup sets it ---
    /// The BMC's address is not looked for.
    pub agent_skip_bmc_detect: bool,
}

/// `[disk_utils]`: sizes and patience when disks are shaped.
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

/// `[mdns]`: finding Ironic by multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mdns {
    /// Whether Ironic is looked for when no address is configured.
    pub use_mdns: bool,
    /// Options that an mDNS answer may change.
    pub allowed_overrides: Vec<String>,
    /// How often it is asked, at least 1.
    pub lookup_attempts: u32,
    /// Addresses or names of the interfaces that are used; all when empty.
    pub interfaces: Vec<String>,
}

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

/// The elliptic curve of a generated key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256
    P256,
    /// NIST P-384
    P384,
    /// NIST P-521
    P521,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `http`
    Http,
    /// `https`
    Https,
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

/// The words of a choice, in the order in which they are listed to a person.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            /// Every value with its word in configuration.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, $word)),+];

            /// The word in configuration.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The value of a word, in any case.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                let known = |entry: &&(Self, &'static str)| entry.1.eq_ignore_ascii_case(word);
                Self::ALL.iter().find(known).map(|(value, _)| *value)
            }
        }
    };
}

words!(TlsVersion { V1_2 = "1.2", V1_3 = "1.3" });
words!(Curve { P256 = "p256", P384 = "p384", P521 = "p521" });
words!(Protocol { Http = "http", Https = "https" });
words!(ImageServerAuth { Noauth = "noauth", HttpBasic = "http_basic" });
words!(ContainerRunner { Podman = "podman", Docker = "docker" });

impl Default for Config {
    /// The built-in defaults: those of ironic-python-agent 13.0 (contract of the option's
    /// names), and the socket paths of the *beside* placement for our own.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let agent_socket = PathBuf::from("/run/ironic-agent/agent.sock");
        let conductor_socket = PathBuf::from("/run/ironic-shim/conductor.sock");
        Self {
            grpc_listen: Listen::Unix(agent_socket.clone()),
            conductor: Endpoint::Unix(conductor_socket.clone()),
            agent: Endpoint::Unix(agent_socket),
            conductor_listen: Listen::Unix(conductor_socket),
            insecure_conductor_listen: false,
            state_dir: PathBuf::from("/run/ironic-agent"),
            hardware_managers_dir: PathBuf::from("/usr/lib/ironic-agent/hardware-managers"),
            standalone: false,
            simulate: None,
            grpc_tls_cert_file: None,
            grpc_tls_key_file: None,
            grpc_tls_ca_file: None,
            debug: false,

            api_url: Vec::new(),
            global_request_id: None,
            ironic_api_version: None,
            agent_token: None,
            agent_token_file: None,
            lookup_timeout: seconds(600),
            lookup_interval: seconds(1),
            http_request_timeout: seconds(30),

            listen_host: "::".to_owned(),
            listen_port: 9999,
            listen_tls: false,
            tls_cert_file: None,
            tls_key_file: None,
            enable_auto_tls: true,
            auto_tls_allowed_clock_skew: seconds(3600),
            tls_min_version: TlsVersion::V1_2,
            tls_cipher_suites: None,
            tls_certificate_curve: Curve::P384,
            advertise_host: None,
            advertise_port: 9999,
            advertise_protocol: Protocol::Http,
            ip_lookup_attempts: 6,
            ip_lookup_sleep: seconds(10),
            network_interface: None,

            insecure: false,
            cafile: None,
            certfile: None,
            keyfile: None,

            inspection_callback_url: Vec::new(),
            inspection_collectors: None,
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
            image_server_password_file: None,
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
            mdns: Mdns::default(),

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

impl Default for Mdns {
    fn default() -> Self {
        Self {
            use_mdns: false,
            allowed_overrides: ["inspection_callback_url", "ntp_server"]
                .map(str::to_owned)
                .into(),
            lookup_attempts: 3,
            interfaces: Vec::new(),
        }
    }
}
