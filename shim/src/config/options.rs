//! The options of the shim, a row for each. The command line, the files, the kernel command
//! line, `--help` and the reference page are made from the rows; the defaults stand in
//! `ShimConfig::default`, and what a value must fulfil stands in its row.

use std::path::Path;

use ironic_options::{Opt, Program, Settings, Tool, opt, section};
use ironic_program::CommonSettings;

use super::{ShimConfig, is_trust_domain};

const TRUST_DOMAIN: &str = "lower-case letters, digits, dots, hyphens and underscores, at most 255";

impl Settings for ShimConfig {
    const PROGRAM: Program = Program {
        name: "ironic-shim",
        about: "Stands between an unmodified Ironic and ironic-agent.",
        tools: &[Tool {
            name: "token",
            about: "Makes, lists and revokes join tokens of a gateway; see token --help.",
        }],
        sources: ironic_program::SOURCES,
        version: ironic_program::version(),
        file: ironic_program::DEFAULT_FILE,
        directories: ironic_program::DEFAULT_DIRECTORIES,
    };

    fn defaults(root: &Path) -> Self {
        Self::on_machine(root)
    }

    fn options() -> Vec<Opt<Self>> {
        let common = CommonSettings::options().into_iter().map(Opt::within);
        common
            .chain(section("This program", Self::program_options()))
            .chain(section("Gateway", Self::gateway_options()))
            .chain(section(
                "Several gateways",
                Self::several_gateways_options(),
            ))
            .chain(section("Ironic", Self::ironic_options()))
            .chain(section("REST server", Self::rest_server_options()))
            .chain(section("Multicast DNS", Self::multicast_dns_options()))
            .chain(ironic_program::not_offered())
            .collect()
    }
}

#[rustfmt::skip]
impl ShimConfig {
    fn program_options() -> Vec<Opt<Self>> {
        vec![
            opt!(state_dir, "Directory for what must survive a restart of the program but not of the machine."),
            opt!(agent, "Where the shim finds its agent: http://, https:// or unix:PATH."),
            opt!(conductor_listen, "Where the shim serves ConductorService: ADDRESS:PORT or unix:PATH."),
            opt!(insecure_conductor_listen, "Let conductor_listen be an address that other machines reach without client certificates: unauthenticated machines may look nodes up."),
        ]
    }

    fn gateway_options() -> Vec<Opt<Self>> {
        vec![
            opt!(gateway_url, "Be a gateway for many agents, which Ironic reaches below this URL."),
            opt!(metrics_listen, "Where /metrics (Prometheus), /healthz and /readyz are served: ADDRESS:PORT or unix:PATH. Plain HTTP without authentication, for a management network."),
            opt!(fleet_listen, "Where a gateway serves its nodes to orchestrators and operators, by FleetService and every node's CommandService: ADDRESS:PORT or unix:PATH."),
            opt!(insecure_fleet_listen, "Let fleet_listen be an address that other machines reach without client certificates: unauthenticated callers may write the disks of every node."),
            opt!(fleet_tls_cert_file, "PEM certificate of fleet_listen.").pair("fleet_tls_key_file"),
            opt!(fleet_tls_key_file, "PEM key of fleet_tls_cert_file."),
            opt!(fleet_tls_ca_file, "PEM of the CA whose certificates callers of fleet_listen must show. It is not the CA of the agents."),
            opt!(page_listen, "Where a page shows the nodes to operators with a browser: ADDRESS:PORT or unix:PATH, with the certificates of the options fleet_tls_*."),
            opt!(fleet_tls_crl_file, "PEM of the lists (CRL) of certificates that the CA of fleet_tls_ca_file has revoked; each CA in that file needs one then. While a list is past its next update, no certificate of its CA is accepted. Read again at SIGHUP."),
            opt!(fleet_policy_file, "YAML file that says which role the holder of a certificate has at fleet_listen: observer, operator or provisioner; without it every caller may do everything. Read again when it changes."),
            opt!(node_dir, "Directory of files that describe nodes, as YAML or JSON: without api_url these are the nodes of a gateway, otherwise they name and label those of Ironic.").word("DIR"),
            opt!(admit, "Which machines a gateway without api_url takes: those that a file in node_dir describes, or, in a lab, any machine under the UUID that its firmware says."),
            opt!(drain_timeout, "How long SIGTERM lets agents attach elsewhere before the gateway ends; a second one ends it at once."),
            opt!(gateway_ca_file, "PEM of the CA that Ironic verifies tls_cert_file with, if its own CAs do not; without tls_cert_file a CA is made and kept in state_dir."),
            opt!(node_certificates, "Issue short-lived certificates to nodes, which agents then need: for a join_token, or also for the agent_token that Ironic has given the node."),
            opt!(node_certificate_lifetime if |time| time.as_secs() >= 600, "How long such a certificate is valid; agents renew it at two thirds.").expecting("a number of seconds, at least 600"),
            opt!(trust_domain if |domain| domain.as_deref().is_none_or(is_trust_domain), "What the names in certificates of nodes begin with: spiffe://NAME/node/UUID; the host of gateway_url when not given.").expecting(TRUST_DOMAIN).word("NAME"),
            opt!(nodes_ca_cert_file, "PEM of the CA that signs certificates of nodes; without it a CA is made and kept in state_dir.").pair("nodes_ca_key_file"),
            opt!(nodes_ca_key_file, "PEM key of nodes_ca_cert_file."),
        ]
    }

    fn several_gateways_options() -> Vec<Opt<Self>> {
        vec![
            opt!(directory, "Discovery (NATS): the servers by which replicas, gateways that share their nodes, find each other: nats://HOST:PORT or tls://HOST:PORT.").word("SERVERS"),
            opt!(directory_prefix, "First words of the subjects: gateways with the same prefix are replicas, which share their nodes.").word("PREFIX"),
            opt!(directory_credentials_file, "File with one line for the NATS servers: USER:PASSWORD, or a token."),
            opt!(directory_ca_file, "PEM of the CA of the NATS servers; the system's when not given."),
            opt!(directory_cert_file, "PEM certificate that is shown to the NATS servers.").pair("directory_key_file"),
            opt!(directory_key_file, "PEM key of directory_cert_file."),
            opt!(peer_listen, "Where the other replicas call this gateway: ADDRESS:PORT."),
            opt!(peer_url, "What the other replicas call this gateway by: https://HOST:PORT."),
            opt!(peer_tls_cert_file, "PEM certificate among replicas, for servers and clients, with the host of peer_url.").pair("peer_tls_key_file"),
            opt!(peer_tls_key_file, "PEM key of peer_tls_cert_file."),
            opt!(peer_tls_ca_file, "PEM of the CA that signs replicas; it must sign nobody else, and no agents."),
        ]
    }

    fn ironic_options() -> Vec<Opt<Self>> {
        vec![
            opt!(global_request_id, "Sent to Ironic as X-OpenStack-Request-ID.").kernel("ipa-global-request-id"),
            opt!(ironic_call_rate if |rate| (2..=10_000).contains(rate), "Calls to Ironic per second with which a gateway begins, before it has learned what Ironic follows.").expecting("a whole number from 2 to 10000"),
            opt!(ironic_api_version, "API version to use instead of asking Ironic for the newest.").kernel("ipa-ironic-api-version").word("VERSION"),
        ]
    }

    fn rest_server_options() -> Vec<Opt<Self>> {
        vec![
            opt!(listen_host, "Address to listen at; :: takes IPv4, too.").kernel("ipa-listen-host").word("ADDRESS"),
            opt!(listen_port, "Port to listen at.").kernel("ipa-listen-port"),
            opt!(listen_tls, "The certificate is given by tls_cert_file and tls_key_file; none is generated."),
            opt!(tls_cert_file, "PEM certificate.").old(&[("ssl", "cert_file")]).pair("tls_key_file"),
            opt!(tls_key_file, "PEM key of tls_cert_file.").old(&[("ssl", "key_file")]),
            opt!(enable_auto_tls, "Generate a certificate and give it to Ironic."),
            opt!(auto_tls_allowed_clock_skew, "How far the generated certificate is backdated."),
            opt!(tls_certificate_curve, "Elliptic curve of the generated key.").kernel("ipa-tls-certificate-curve"),
            opt!(advertise_host, "Host of the URL that Ironic is given, instead of the address of the route to Ironic.").kernel("ipa-advertise-host"),
            opt!(advertise_port, "Port of the URL that Ironic is given.").kernel("ipa-advertise-port"),
            opt!(advertise_protocol, "Scheme of the URL that Ironic is given, when no certificate is generated.").kernel("ipa-advertise-protocol"),
            opt!(ip_lookup_attempts if |n| *n >= 1, "Rounds of the search for the address that Ironic is given.").kernel("ipa-ip-lookup-attempts").expecting("a whole number, at least 1"),
            opt!(ip_lookup_sleep, "Pause after a round without result.").kernel("ipa-ip-lookup-timeout"),
            opt!(network_interface, "Interface whose IPv4 address Ironic is given.").kernel("ipa-network-interface"),
            Opt::not_offered("ssl", "ca_file", "the REST server takes no client certificates"),
            Opt::switch_not_offered("", "agent_token_required", "a token is always required"),
        ]
    }

    fn multicast_dns_options() -> Vec<Opt<Self>> {
        vec![
            opt!(mdns.allowed_overrides, "Options that an answer may change.").group("mdns"),
            opt!(mdns.lookup_attempts if |n| *n >= 1, "How often it is asked.").group("mdns").expecting("a whole number, at least 1"),
            opt!(mdns.interfaces, "Addresses of the interfaces to ask at; all when not given.").group("mdns"),
            Opt::not_offered("mdns", "params", "no service is registered here"),
        ]
    }
}
