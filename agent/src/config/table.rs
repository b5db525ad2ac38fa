//! The one table of options. The command line, the files, the kernel command line, `--help`
//! and the report of options that we do not have are all read from it; the defaults stand in
//! `Config::default`, and whatever an option needs to hold stands in its row.

use super::options::Standing::{Agent, Both, Shim};
use super::options::{Opt, kind, no_switch, not_offered, opt, read, slot};

const URLS: &str = "addresses beginning with http:// or https://, separated by commas, or mdns";
const HOST: &str = "an address or a host name of at most 253 letters, digits and .:_-";

const LOGGING: &str = "the log goes to standard error, one line each";
const METRICS: &str = "there is no statsd client: the backend is always noop";
const EXCLUSIVE: &str = "the kernel says whether a disk is in use; it is asked for two seconds";
const NO_CONVERT: &str = "images are converted while they are written, in bounded memory";

/// Every option by the heading in `--help`, in its order.
#[rustfmt::skip]
pub(super) const SECTIONS: &[(&str, &[Opt])] = &[
    ("This program", &[
        opt!(grpc_listen => Agent, "grpc_listen", "Where the agent serves gRPC: ADDRESS:PORT or unix:PATH."),
        opt!(conductor => Agent, "conductor", "Where the agent finds its ConductorService, the shim's or an orchestrator's: http://, https:// or unix:PATH."),
        opt!(agent => Shim, "agent", "Where the shim finds its agent: http://, https:// or unix:PATH."),
        opt!(conductor_listen => Shim, "conductor_listen", "Where the shim serves ConductorService: ADDRESS:PORT or unix:PATH."),
        opt!(insecure_conductor_listen => Shim, "insecure_conductor_listen", "Let conductor_listen be an address that other machines reach without client certificates: everybody there may look nodes up."),
        opt!(state_dir => Both, "state_dir", "Directory for what must survive a restart of the program but not of the machine."),
        opt!(hardware_managers_dir => Agent, "hardware_managers_dir", "Directory of hardware managers that are programs of their own.").word("DIR"),
        opt!(standalone => Agent, "standalone", "No lookup and no heartbeat: somebody else gives the orders."),
        opt!(simulate => Agent, "simulate", "Use the files of this directory as the machine's disks.").word("DIR"),
        opt!(grpc_tls_cert_file => Both, "grpc_tls_cert_file", "PEM certificate of this program for gRPC between agent and shim."),
        opt!(grpc_tls_key_file => Both, "grpc_tls_key_file", "PEM key of grpc_tls_cert_file."),
        opt!(grpc_tls_ca_file => Both, "grpc_tls_ca_file", "PEM certificates that the other end's gRPC certificate must chain to."),
        opt!(debug => Both, "debug", "More lines in the log. The kernel parameter ipa-debug wins over every other source."),
    ]),
    ("Ironic", &[
        opt!(api_url if |urls| are_urls(urls) => Both, "api_url", "Addresses of the Ironic API, tried in this order; or mdns.").kernel("ipa-api-url").expecting(URLS).word("URLS"),
        opt!(agent_token => Both, "agent_token", "Token shared with the conductor, replaced by the one that a lookup answers.").kernel("ipa-agent-token").secret().word("TOKEN"),
        opt!(agent_token_file => Both, "agent_token_file", "File that holds agent_token: a command line can be read by every user of the machine. The environment variable IRONIC_AGENT_TOKEN may hold it, too.").word("FILE"),
        opt!(global_request_id => Shim, "global_request_id", "Sent to Ironic as X-OpenStack-Request-ID.").kernel("ipa-global-request-id"),
        opt!(ironic_api_version => Shim, "ironic_api_version", "API version to use instead of asking Ironic for the newest.").kernel("ipa-ironic-api-version").word("VERSION"),
        opt!(http_request_timeout if |time| time.as_secs() >= 1 => Both, "http_request_timeout", "Patience for one exchange with Ironic.").kernel("ipa-http-request-timeout").expecting("a number of seconds, at least 1"),
        opt!(lookup_timeout => Agent, "lookup_timeout", "Patience for the whole lookup; then the agent exits with status 1.").kernel("ipa-lookup-timeout"),
        opt!(lookup_interval => Agent, "lookup_interval", "Shortest wait between two lookups; waits grow from there.").kernel("ipa-lookup-interval"),
    ]),
    ("REST door", &[
        opt!(listen_host => Shim, "listen_host", "Address to listen at; :: takes IPv4, too.").kernel("ipa-listen-host").word("ADDRESS"),
        opt!(listen_port => Shim, "listen_port", "Port to listen at.").kernel("ipa-listen-port"),
        opt!(listen_tls => Shim, "listen_tls", "The certificate is given by tls_cert_file and tls_key_file; none is generated."),
        opt!(tls_cert_file => Shim, "tls_cert_file", "PEM certificate.").old(&[("ssl", "cert_file")]),
        opt!(tls_key_file => Shim, "tls_key_file", "PEM key of tls_cert_file.").old(&[("ssl", "key_file")]),
        opt!(enable_auto_tls => Shim, "enable_auto_tls", "Generate a certificate and tell Ironic."),
        opt!(auto_tls_allowed_clock_skew => Shim, "auto_tls_allowed_clock_skew", "How far the generated certificate is backdated."),
        opt!(tls_certificate_curve => Shim, "tls_certificate_curve", "Elliptic curve of the generated key.").kernel("ipa-tls-certificate-curve"),
        opt!(advertise_host => Shim, "advertise_host", "Host that Ironic is told, instead of the address of the route to Ironic.").kernel("ipa-advertise-host"),
        opt!(advertise_port => Shim, "advertise_port", "Port that Ironic is told.").kernel("ipa-advertise-port"),
        opt!(advertise_protocol => Shim, "advertise_protocol", "Scheme that Ironic is told, when no certificate is generated.").kernel("ipa-advertise-protocol"),
        opt!(ip_lookup_attempts if |n| *n >= 1 => Shim, "ip_lookup_attempts", "Rounds of the search for the address to tell Ironic.").kernel("ipa-ip-lookup-attempts").expecting("a whole number, at least 1"),
        opt!(ip_lookup_sleep => Shim, "ip_lookup_sleep", "Pause after a round without result.").kernel("ipa-ip-lookup-timeout"),
        opt!(network_interface => Shim, "network_interface", "Interface whose IPv4 address Ironic is told.").kernel("ipa-network-interface"),
        not_offered("ssl", "ca_file", "the REST door takes no client certificates"),
        no_switch("", "agent_token_required", "a token is always required"),
    ]),
    ("TLS", &[
        opt!(tls_min_version => Both, "tls_min_version", "Oldest TLS version, as server and as client. A lookup may raise it.").kernel("ipa-tls-min-version"),
        opt!(tls_cipher_suites => Both, "tls_cipher_suites", "OpenSSL names of TLS 1.2 cipher suites, separated by colons.").kernel("ipa-tls-cipher-suites"),
        opt!(insecure => Both, "insecure", "Do not verify the certificates of servers.").kernel("ipa-insecure"),
        opt!(cafile => Both, "cafile", "PEM certificates that servers must chain to, instead of the built-in ones."),
        opt!(certfile => Both, "certfile", "PEM client certificate."),
        opt!(keyfile => Both, "keyfile", "PEM key of certfile."),
    ]),
    ("Inspection", &[
        opt!(inspection_callback_url if |urls| are_urls(urls) => Both, "inspection_callback_url", "Addresses that take the inspection report, or mdns.").kernel("ipa-inspection-callback-url").expecting(URLS).word("URLS"),
        opt!(inspection_collectors => Both, "inspection_collectors", "Collectors of the report; default and logs when not given.").kernel("ipa-inspection-collectors"),
        opt!(inspection_dhcp_wait_timeout => Agent, "inspection_dhcp_wait_timeout", "How long the report waits for addresses; 0 does not wait.").kernel("ipa-inspection-dhcp-wait-timeout"),
        opt!(inspection_dhcp_all_interfaces => Agent, "inspection_dhcp_all_interfaces", "Wait for all interfaces, not only for the one that booted.").kernel("ipa-inspection-dhcp-all-interfaces"),
        opt!(lldp_timeout => Agent, "lldp_timeout", "How long LLDP packets are waited for.").kernel("ipa-lldp-timeout"),
        opt!(collect_lldp => Agent, "collect_lldp", "LLDP on every listing of interfaces.").kernel("ipa-collect-lldp"),
        opt!(introspection_daemon => Agent, "introspection_daemon", "collect-introspection-data reports again and again."),
        opt!(introspection_daemon_post_interval => Agent, "introspection_daemon_post_interval", "Pause between two of these reports."),
    ]),
    ("Machine", &[
        opt!(hardware_initialization_delay => Agent, "hardware_initialization_delay", "Pause before hardware is looked at.").kernel("ipa-hardware-initialization-delay"),
        opt!(disk_wait_attempts => Agent, "disk_wait_attempts", "How often a suitable disk is looked for.").kernel("ipa-disk-wait-attempts"),
        opt!(disk_wait_delay => Agent, "disk_wait_delay", "Pause between two of these looks.").kernel("ipa-disk-wait-delay"),
        opt!(ntp_server if |server| server.as_deref().is_none_or(is_host) => Agent, "ntp_server", "Server to set the clock by.").kernel("ipa-ntp-server").expecting(HOST).word("HOST"),
        opt!(fail_if_clock_not_set => Agent, "fail_if_clock_not_set", "A clock that cannot be set is a failure."),
        opt!(enable_vlan_interfaces => Agent, "enable_vlan_interfaces", "VLAN interfaces to bring up.").kernel("ipa-enable-vlan-interfaces"),
        opt!(inject_files_priority if |priority| *priority <= 99 => Agent, "inject_files_priority", "Priority of the inject_files step, 0 is off.").kernel("ipa-inject-files-priority").expecting("a whole number from 0 to 99"),
        opt!(guard_special_filesystems => Agent, "guard-special-filesystems", "Do not erase file systems that belong to clusters.").kernel("ipa-guard-special-filesystems"),
        no_switch("", "enable-discard-erase", "a drive may ignore a discard, so it is not erasing"),
        opt!(ignore_bootloader_failure => Agent, "ignore_bootloader_failure", "A boot loader that cannot be installed is no failure.").kernel("ipa-ignore-bootloader-failure"),
        opt!(enable_bios_bootloader_install => Agent, "enable_bios_bootloader_install", "Run the GRUB of partition images. A lookup may switch it on.").kernel("ipa-enable-bios-bootloader-install"),
    ]),
    ("Images", &[
        opt!(image_server_user => Agent, "image_server_user", "User for image servers."),
        opt!(image_server_password => Agent, "image_server_password", "Password for image servers.").secret(),
        opt!(image_server_password_file => Agent, "image_server_password_file", "File that holds image_server_password.").word("FILE"),
        opt!(image_server_auth_strategy => Agent, "image_server_auth_strategy", "How to log in to image servers."),
        opt!(image_download_connection_timeout if |time| time.as_secs() >= 1 => Agent, "image_download_connection_timeout", "Patience for connecting and for each read.").kernel("ipa-image-download-connection-timeout").expecting("a number of seconds, at least 1"),
        opt!(image_download_connection_retries => Agent, "image_download_connection_retries", "Further attempts after the first.").kernel("ipa-image-download-connection-retries"),
        opt!(image_download_connection_retry_interval => Agent, "image_download_connection_retry_interval", "Pause between two attempts.").kernel("ipa-image-download-connection-retry-interval"),
        opt!(image_download_max_duration => Agent, "image_download_max_duration", "Limit for a whole download, 0 is none.").kernel("ipa-image-download-max-duration"),
        opt!(md5_enabled => Agent, "md5_enabled", "MD5 is good enough as a checksum. A lookup decides."),
        opt!(disable_deep_image_inspection => Agent, "disable_deep_image_inspection", "Do not compare image content with the declared format. A lookup decides."),
        opt!(permitted_image_formats => Agent, "permitted_image_formats", "Formats that may be written. A lookup decides."),
        opt!(config_drive_rebuild => Agent, "config_drive_rebuild", "Rewrite the config drive as a FAT file system."),
        opt!(disable_bootc_deploy => Agent, "disable_bootc_deploy", "Do not deploy bootable containers."),
    ]),
    ("Disks", &[
        opt!(disk_utils.efi_system_partition_size => Agent, "efi_system_partition_size", "Size of an EFI system partition in MiB.").group("disk_utils"),
        opt!(disk_utils.bios_boot_partition_size => Agent, "bios_boot_partition_size", "Size of a BIOS boot partition in MiB.").group("disk_utils"),
        opt!(disk_utils.partition_detection_attempts => Agent, "partition_detection_attempts", "How often a new partition is looked for.").group("disk_utils"),
        not_offered("disk_utils", "partprobe_attempts", "the kernel is told of partitions directly, for two seconds while a disk is busy"),
        not_offered("disk_utils", "dd_block_size", "images are written without dd"),
        not_offered("disk_utils", "image_convert_memory_limit", NO_CONVERT),
        not_offered("disk_utils", "image_convert_attempts", NO_CONVERT),
        not_offered("disk_partitioner", "check_device_interval", EXCLUSIVE),
        not_offered("disk_partitioner", "check_device_max_retries", EXCLUSIVE),
    ]),
    ("Containers", &[
        opt!(container.allow_arbitrary_containers => Agent, "allow_arbitrary_containers", "Any image may run.").group("container"),
        opt!(container.allowed_containers => Agent, "allowed_containers", "Images that may run.").group("container"),
        opt!(container.container_steps_file => Agent, "container_steps_file", "File that describes steps in containers.").group("container"),
        opt!(container.runner => Agent, "runner", "Program that runs containers.").group("container"),
        opt!(container.pull_options => Agent, "pull_options", "Arguments for pulling.").group("container"),
        opt!(container.run_options => Agent, "run_options", "Arguments for running.").group("container"),
    ]),
    ("Multicast DNS", &[
        opt!(mdns.use_mdns => Shim, "use_mdns", "Look for Ironic when no address is given.").group("mdns").kernel("ipa-use-mdns"),
        opt!(mdns.allowed_overrides => Shim, "allowed_overrides", "Options that an answer may change.").group("mdns"),
        opt!(mdns.lookup_attempts if |n| *n >= 1 => Shim, "lookup_attempts", "How often it is asked.").group("mdns").expecting("a whole number, at least 1"),
        opt!(mdns.interfaces => Shim, "interfaces", "Addresses of the interfaces to ask at; all when not given.").group("mdns"),
        not_offered("mdns", "params", "no service is registered here"),
    ]),
    ("Not offered", &[
        not_offered("metrics", "backend", METRICS),
        no_switch("metrics", "prepend_host", METRICS),
        no_switch("metrics", "prepend_host_reverse", METRICS),
        not_offered("metrics", "global_prefix", METRICS),
        not_offered("metrics_statsd", "statsd_host", METRICS),
        not_offered("metrics_statsd", "statsd_port", METRICS),
        not_offered("", "log_config_append", LOGGING),
        not_offered("", "log_date_format", LOGGING),
        not_offered("", "log_file", LOGGING).old(&[("", "logfile")]),
        not_offered("", "log_dir", LOGGING).old(&[("", "logdir")]),
        no_switch("", "watch_log_file", LOGGING),
        no_switch("", "use_syslog", LOGGING),
        no_switch("", "use_journal", LOGGING),
        not_offered("", "syslog_log_facility", LOGGING),
        no_switch("", "use_json", LOGGING),
        no_switch("", "use_stderr", LOGGING),
        no_switch("", "log_color", LOGGING),
        not_offered("", "log_rotate_interval", LOGGING),
        not_offered("", "log_rotate_interval_type", LOGGING),
        not_offered("", "log_rotation_type", LOGGING),
        not_offered("", "max_logfile_count", LOGGING),
        not_offered("", "max_logfile_size_mb", LOGGING),
        not_offered("", "logging_context_format_string", LOGGING),
        not_offered("", "logging_default_format_string", LOGGING),
        not_offered("", "logging_debug_format_suffix", LOGGING),
        not_offered("", "logging_exception_prefix", LOGGING),
        not_offered("", "logging_user_identity_format", LOGGING),
        not_offered("", "default_log_levels", LOGGING),
        no_switch("", "publish_errors", LOGGING),
        not_offered("", "instance_format", LOGGING),
        not_offered("", "instance_uuid_format", LOGGING),
        not_offered("", "rate_limit_interval", LOGGING),
        not_offered("", "rate_limit_burst", LOGGING),
        not_offered("", "rate_limit_except_level", LOGGING),
        no_switch("", "fatal_deprecations", LOGGING),
    ]),
];

/// Whether every address begins as a URL does, or the only one is `mdns`.
fn are_urls(urls: &[String]) -> bool {
    let begins = |url: &String, scheme| {
        url.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    };
    let is_url = |url: &String| begins(url, "http://") || begins(url, "https://");
    urls == ["mdns"] || urls.iter().all(is_url)
}

/// Whether a text can be handed to a clock program: an address or a host name.
fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:_-".contains(c);
    text.len() <= 253 && !text.starts_with('-') && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::options::{Standing, all};
    use super::super::{Config, Program};
    use super::*;

    #[test]
    fn names_flags_and_kernel_keys_are_unique() {
        let mut seen = HashSet::new();
        for option in all() {
            assert!(
                seen.insert(option.flag().replace('-', "_")),
                "{}",
                option.title()
            );
            if let Some(key) = option.kernel {
                assert!(
                    key.starts_with("ipa-") && seen.insert(key.to_owned()),
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn every_default_reads_back_as_itself() {
        for option in all() {
            let mut config = Config::default();
            let text = (option.slot.show)(&config);
            let is_absent_secret = option.slot.secret;
            if !is_absent_secret && !text.is_empty() {
                assert!(
                    (option.slot.set)(&mut config, &text),
                    "{} {text}",
                    option.title()
                );
            }
            assert_eq!(config, Config::default(), "{}", option.title());
        }
    }

    /// Each option has a place of its own: setting one changes its own text and no other's.
    #[test]
    fn no_two_options_share_a_field() {
        let samples = [
            "7",
            "true",
            "false",
            "http://a:1",
            "unix:/x",
            "p521",
            "1.3",
            "docker",
            "https",
            "http_basic",
        ];
        let offered = || all().filter(|o| !matches!(o.standing, Standing::NotOffered(_)));
        for option in offered() {
            let default = Config::default();
            let changed = samples.iter().find_map(|sample| {
                let mut config = default.clone();
                let set = (option.slot.set)(&mut config, sample);
                (set && config != default).then_some(config)
            });
            let changed = changed.unwrap_or_else(|| panic!("no sample sets {}", option.title()));
            for other in offered().filter(|other| other.title() != option.title()) {
                assert_eq!(
                    (other.slot.show)(&changed),
                    (other.slot.show)(&default),
                    "{} changes {}",
                    option.title(),
                    other.title()
                );
            }
        }
    }

    #[test]
    fn every_offered_option_has_help_and_a_reader() {
        for option in all() {
            let offered = !matches!(option.standing, Standing::NotOffered(_));
            assert_eq!(offered, option.help.ends_with('.'), "{}", option.title());
            let read = option.is_for(Program::Agent) || option.is_for(Program::Shim);
            assert_eq!(read, offered, "{}", option.title());
        }
    }

    #[test]
    fn values_are_checked() {
        let cases = [
            ("api_url", "http://a,https://b", true),
            ("api_url", "mdns", true),
            ("api_url", "mdns,http://a", false),
            ("api_url", "ftp://x", false),
            ("api_url", "http://", false),
            ("api_url", "", true),
            ("ntp_server", "pool.ntp.org", true),
            ("ntp_server", "a b", false),
            ("ntp_server", "-u", false),
            ("inject_files_priority", "100", false),
            ("http_request_timeout", "0", false),
            ("ip_lookup_attempts", "0", false),
            ("listen_port", "70000", false),
        ];
        for (name, text, valid) in cases {
            let option = Opt::in_file("", name).unwrap();
            assert_eq!(
                (option.slot.set)(&mut Config::default(), text),
                valid,
                "{name} {text}"
            );
        }
    }

    #[test]
    fn files_know_old_names_and_both_dashes() {
        for (group, key, title) in [
            ("ssl", "cert_file", "tls_cert_file"),
            ("", "guard_special_filesystems", "guard-special-filesystems"),
            ("", "guard-special-filesystems", "guard-special-filesystems"),
            (
                "disk_utils",
                "bios_boot_partition_size",
                "[disk_utils] bios_boot_partition_size",
            ),
        ] {
            assert_eq!(
                Opt::in_file(group, key).map(Opt::title).as_deref(),
                Some(title)
            );
        }
        assert!(Opt::in_file("", "bios_boot_partition_size").is_none());
    }
}
