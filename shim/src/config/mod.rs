//! The settings of the shim: its options under the names that ironic-python-agent gave them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ironic_options::{Settings, Target, find};
use ironic_program::CommonSettings;
use ironic_transport::address::InvalidAddress;
use ironic_transport::{Endpoint, Listen};
use tracing::warn;

mod options;

/// The settings of the shim. A field carries the name of its option, whose help is what it
/// means for an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct ShimConfig {
    /// What the agent has, too.
    pub common: CommonSettings,

    /// Where the shim finds its agent.
    pub agent: Endpoint,
    /// Where the shim serves `ConductorService`.
    pub conductor_listen: Listen,
    /// Where Ironic finds this program when it is a gateway; it stands beside an agent when
    /// there is none.
    pub gateway_url: Option<GatewayUrl>,
    /// PEM of the CA that Ironic verifies the gateway with.
    pub gateway_ca_file: Option<PathBuf>,
    /// Where a gateway serves metrics and its readiness.
    pub metrics_listen: Option<Listen>,
    /// NATS servers by which gateways that share their nodes find each other; this gateway is
    /// alone when it is empty.
    pub directory: Vec<String>,
    /// The first words of the subjects.
    pub directory_prefix: String,
    /// One line, `USER:PASSWORD` or a token.
    pub directory_credentials_file: Option<PathBuf>,
    /// PEM of the CA of the servers.
    pub directory_ca_file: Option<PathBuf>,
    /// PEM certificate that is shown to the servers.
    pub directory_cert_file: Option<PathBuf>,
    /// PEM key of `directory_cert_file`.
    pub directory_key_file: Option<PathBuf>,
    /// Where other gateways call this one.
    pub peer_listen: Option<Listen>,
    /// What they call it by.
    pub peer_url: Option<Endpoint>,
    /// PEM certificate among gateways.
    pub peer_tls_cert_file: Option<PathBuf>,
    /// PEM key of `peer_tls_cert_file`.
    pub peer_tls_key_file: Option<PathBuf>,
    /// PEM of the CA that signs gateways and nobody else.
    pub peer_tls_ca_file: Option<PathBuf>,
    /// Whether this gateway issues certificates to nodes, and for which proofs.
    pub node_certificates: NodeCertificates,
    /// How long a certificate of a node is valid.
    pub node_certificate_lifetime: Duration,
    /// What the names in certificates of nodes begin with; the host of `gateway_url` when absent.
    pub trust_domain: Option<String>,
    /// PEM certificate of the authority that signs them; one is made and kept when absent.
    pub nodes_ca_cert_file: Option<PathBuf>,
    /// PEM key of `nodes_ca_cert_file`.
    pub nodes_ca_key_file: Option<PathBuf>,
    /// How long a gateway waits for its agents to attach elsewhere before it ends.
    pub drain_timeout: Duration,
    /// `conductor_listen` may be open to other machines without client certificates.
    pub insecure_conductor_listen: bool,
    /// Where the fleet is served to orchestrators and operators.
    pub fleet_listen: Option<Listen>,
    /// `fleet_listen` may be open to other machines without client certificates.
    pub insecure_fleet_listen: bool,
    /// PEM certificate at `fleet_listen`.
    pub fleet_tls_cert_file: Option<PathBuf>,
    /// PEM key of that certificate.
    pub fleet_tls_key_file: Option<PathBuf>,
    /// PEM of the CA of orchestrators and operators.
    pub fleet_tls_ca_file: Option<PathBuf>,
    /// Where the page for operators is served.
    pub page_listen: Option<Listen>,
    /// PEM of the lists of certificates that this CA has revoked.
    pub fleet_tls_crl_file: Option<PathBuf>,
    /// The policy: the roles of callers at `fleet_listen`.
    pub fleet_policy_file: Option<PathBuf>,
    /// Files that describe nodes.
    pub node_dir: Option<PathBuf>,
    /// Which machines a gateway without Ironic takes.
    pub admit: AdmittedMachines,
    /// The program's own directory for what must survive a restart of the process.
    pub state_dir: PathBuf,
    /// Sent as `X-OpenStack-Request-ID`.
    pub global_request_id: Option<String>,
    /// With how many calls to Ironic per second a gateway begins: 10,000 agents in peace need 74, because
    /// their beats are 135 s apart with Ironic's default `heartbeat_timeout`.
    pub ironic_call_rate: u32,
    /// Skips version discovery.
    pub ironic_api_version: Option<String>,
    /// Address of the REST server.
    pub listen_host: String,
    /// Port of the REST server.
    pub listen_port: u16,
    /// The operator brings the certificate; no automatic TLS.
    pub listen_tls: bool,
    /// PEM certificate of the REST server.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM key of the REST server.
    pub tls_key_file: Option<PathBuf>,
    /// Whether a certificate is generated when Ironic can be given it.
    pub enable_auto_tls: bool,
    /// How far the generated certificate is backdated.
    pub auto_tls_allowed_clock_skew: Duration,
    /// Curve of the generated key.
    pub tls_certificate_curve: Curve,
    /// The host of the URL that Ironic is given; skips the search for an address.
    pub advertise_host: Option<String>,
    /// The port of that URL.
    pub advertise_port: u16,
    /// The scheme of that URL.
    pub advertise_protocol: Protocol,
    /// Rounds of the search for an address, at least 1.
    pub ip_lookup_attempts: u32,
    /// Pause after each unsuccessful round.
    pub ip_lookup_sleep: Duration,
    /// The interface whose IPv4 address Ironic is given.
    pub network_interface: Option<String>,
    /// `[mdns]`
    pub mdns: Mdns,
}

impl AsRef<CommonSettings> for ShimConfig {
    fn as_ref(&self) -> &CommonSettings {
        &self.common
    }
}

impl AsMut<CommonSettings> for ShimConfig {
    fn as_mut(&mut self) -> &mut CommonSettings {
        &mut self.common
    }
}

/// The address of a gateway: `https://gw.example:9999`, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    text: String,
    host: String,
    is_https: bool,
}

impl GatewayUrl {
    /// A name or an address; of IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the gateway speaks TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }
}

impl FromStr for GatewayUrl {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (url, is_https) = match text.parse()? {
            Endpoint::Https(url) => (url, true),
            Endpoint::Http(url) => (url, false),
            Endpoint::Unix(_) => return Err(InvalidAddress::Endpoint),
        };
        let uri: http::Uri = url.parse().map_err(|_| InvalidAddress::Endpoint)?;
        let host = uri.host().ok_or(InvalidAddress::Endpoint)?;
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            text: url,
            is_https,
        })
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

ironic_options::parsed_value!(
    GatewayUrl,
    "URL",
    "https://HOST:PORT or http://HOST:PORT, without a path"
);

/// Whether a text can be the trust domain of SPIFFE IDs.
#[must_use]
pub fn is_trust_domain(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= 255 && text.bytes().all(is_plain)
}

/// `[mdns]`: finding Ironic by multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mdns {
    /// Options that an mDNS answer may change.
    pub allowed_overrides: Vec<String>,
    /// How often it is asked, at least 1.
    pub lookup_attempts: u32,
    /// Addresses or names of the interfaces that are used; all when empty.
    pub interfaces: Vec<String>,
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

/// Whether certificates are issued to nodes, and what proves who a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeCertificates {
    /// None are issued.
    None,
    /// A join token.
    JoinToken,
    /// A join token, or the agent token that Ironic has given the node.
    AgentToken,
}

/// Which machines a gateway without Ironic takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdmittedMachines {
    /// Those that a file describes.
    Listed,
    /// All.
    Open,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `http`
    Http,
    /// `https`
    Https,
}

ironic_options::choice!(Curve, "p256|p384|p521", "p256, p384 or p521", {
    P256 = "p256",
    P384 = "p384",
    P521 = "p521",
});
ironic_options::choice!(NodeCertificates, "none|join_token|agent_token", "none, join_token or agent_token", {
    None = "none",
    JoinToken = "join_token",
    AgentToken = "agent_token",
});
ironic_options::choice!(AdmittedMachines, "listed|open", "listed or open", { Listed = "listed", Open = "open" });
ironic_options::choice!(Protocol, "http|https", "http or https", { Http = "http", Https = "https" });

impl Default for ShimConfig {
    /// Those of ironic-python-agent 13.0, and for our own the paths of the *beside* placement.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            common: CommonSettings::default(),
            agent: Endpoint::Unix(PathBuf::from("/run/ironic-agent/agent.sock")),
            conductor_listen: Listen::Unix(PathBuf::from("/run/ironic-shim/conductor.sock")),
            gateway_url: None,
            gateway_ca_file: None,
            metrics_listen: None,
            directory: Vec::new(),
            directory_prefix: "ironic-agent".to_owned(),
            directory_credentials_file: None,
            directory_ca_file: None,
            directory_cert_file: None,
            directory_key_file: None,
            peer_listen: None,
            peer_url: None,
            peer_tls_cert_file: None,
            peer_tls_key_file: None,
            peer_tls_ca_file: None,
            node_certificates: NodeCertificates::None,
            node_certificate_lifetime: seconds(24 * 3600),
            trust_domain: None,
            nodes_ca_cert_file: None,
            nodes_ca_key_file: None,
            drain_timeout: seconds(30),
            insecure_conductor_listen: false,
            fleet_listen: None,
            insecure_fleet_listen: false,
            fleet_tls_cert_file: None,
            fleet_tls_key_file: None,
            fleet_tls_ca_file: None,
            page_listen: None,
            fleet_tls_crl_file: None,
            fleet_policy_file: None,
            node_dir: None,
            admit: AdmittedMachines::Listed,
            state_dir: PathBuf::from("/run/ironic-shim"),
            global_request_id: None,
            ironic_call_rate: 100,
            ironic_api_version: None,
            listen_host: "::".to_owned(),
            listen_port: 9999,
            listen_tls: false,
            tls_cert_file: None,
            tls_key_file: None,
            enable_auto_tls: true,
            auto_tls_allowed_clock_skew: seconds(3600),
            tls_certificate_curve: Curve::P384,
            advertise_host: None,
            advertise_port: 9999,
            advertise_protocol: Protocol::Http,
            ip_lookup_attempts: 6,
            ip_lookup_sleep: seconds(10),
            network_interface: None,
            mdns: Mdns::default(),
        }
    }
}

impl ShimConfig {
    /// The defaults on the machine at `root`: a kernel without IPv6 cannot listen at `::`.
    fn on_machine(root: &Path) -> Self {
        let disabled = root.join("proc/sys/net/ipv6/conf/default/disable_ipv6");
        let has_ipv6 = std::fs::read_to_string(disabled).is_ok_and(|text| text.trim() == "0");
        let listen_host = if has_ipv6 { "::" } else { "0.0.0.0" };
        Self {
            listen_host: listen_host.to_owned(),
            ..Self::default()
        }
    }
}

impl ShimConfig {
    /// Applies what a service says about itself in multicast DNS: options by name, of which
    /// `[mdns] allowed_overrides` has let these pass. The table of options decides what an
    /// option takes; one that the shim does not have is the agent's (`ntp_server`), which does
    /// not ask multicast DNS.
    pub fn apply_discovered(&mut self, overrides: &[(String, String)]) {
        let options = Self::options();
        for (name, value) in overrides {
            let target = Target {
                group: "",
                key: name,
            };
            let Some(option) = find(&options, target).filter(|option| option.is_offered()) else {
                warn!(option = %name, "the multicast DNS record changes an option of the agent");
                continue;
            };
            if !(option.slot.set)(self, value.trim()) {
                let expected = option.slot.expected;
                warn!(option = %name, %value, expected, "the multicast DNS record is not applied");
            }
        }
    }
}

impl Default for Mdns {
    fn default() -> Self {
        Self {
            allowed_overrides: ["inspection_callback_url", "ntp_server"]
                .map(str::to_owned)
                .into(),
            lookup_attempts: 3,
            interfaces: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
