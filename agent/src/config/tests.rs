use std::ffi::OsString;

use ironic_options::testing::{faults, takes};
use ironic_options::{CommandLine, ConfigError, Loaded, Opt, Settings, Target, find};
use ironic_transport::tls::TlsVersion;

use super::*;

fn load(cmdline: &str, args: &[&str]) -> Result<Loaded<AgentConfig>, ConfigError> {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("proc")).unwrap();
    std::fs::write(root.path().join("proc/cmdline"), cmdline).unwrap();
    let args = std::iter::once("ironic-agent").chain(args.iter().copied());
    CommandLine::parse(args.map(OsString::from), root.path())?.load(root.path())
}

#[test]
fn the_table_has_no_faults() {
    assert_eq!(faults::<AgentConfig>(), Vec::<String>::new());
}

#[test]
fn kernel_keys_are_those_of_the_python_agent() {
    let config = load(
        "ipa-api-url=http://a:1,http://b:2/ ipa-use-mdns=yes ipa-insecure=1 ipa-agent-token=K \
         ipa-tls-min-version=1.3 ipa-guard-special-filesystems=no ipa-lookup-interval=0.5 \
         ipa-debug=1",
        &["--nodebug"],
    )
    .unwrap()
    .settings;
    let common = &config.common;
    assert_eq!(common.api_url, ["http://a:1", "http://b:2/"]);
    assert!(common.use_mdns && common.insecure && !config.guard_special_filesystems);
    assert_eq!(common.agent_token, Some(Secret::new("K")));
    assert_eq!(common.tls_min_version, TlsVersion::V1_3);
    assert_eq!(config.lookup_interval.as_millis(), 500);
    assert!(common.debug, "ipa-debug wins over every other source");
}

#[test]
fn the_documented_command_line_works() {
    let args = [
        "--standalone",
        "--grpc-listen",
        "127.0.0.1:9998",
        "--agent_token",
        "T",
    ];
    let config = load("", &args).unwrap().settings;
    assert!(config.standalone && config.grpc_listen == "127.0.0.1:9998".parse().unwrap());
    assert_eq!(config.state_dir, PathBuf::from("/run/ironic-agent"));
}

#[test]
fn an_agent_behind_a_gateway_listens_nowhere() {
    let args = [
        "--grpc_listen",
        "none",
        "--conductor",
        "https://a:1,https://b:1",
    ];
    let kernel = "ipa-grpc-listen=none ipa-conductor=https://a:1,https://b:1";
    for (cmdline, args) in [("", &args[..]), (kernel, &[])] {
        let config = load(cmdline, args).unwrap().settings;
        assert_eq!(config.grpc_listen, GrpcListen::Nowhere);
        assert_eq!(config.conductor.all().len(), 2);
    }
}

#[test]
fn values_are_checked() {
    let cases = [
        ("api_url", "http://a,https://b", true),
        ("api_url", "ftp://x", false),
        ("ntp_server", "pool.ntp.org", true),
        ("ntp_server", "a b", false),
        ("ntp_server", "-u", false),
        ("inject_files_priority", "100", false),
        ("http_request_timeout", "0", false),
    ];
    for (name, text, valid) in cases {
        assert_eq!(takes::<AgentConfig>("", name, text), valid, "{name} {text}");
    }
}

#[test]
fn files_know_both_dashes_and_groups() {
    let options = AgentConfig::options();
    let title = |group, key| find(&options, Target { group, key }).map(Opt::title);
    for key in ["guard_special_filesystems", "guard-special-filesystems"] {
        assert_eq!(title("", key).as_deref(), Some("guard-special-filesystems"));
    }
    let name = "bios_boot_partition_size";
    assert_eq!(
        title("disk_utils", name),
        Some(format!("[disk_utils] {name}"))
    );
    assert_eq!(title("", name), None);
}

#[test]
fn help_shows_the_options_of_the_agent_and_not_those_of_the_shim() {
    let Err(ConfigError::Asked(help)) = load("", &["--help"]) else {
        panic!("help is an end")
    };
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (text, is_shown) in [
        ("write-image", true),
        ("collect-introspection-data", true),
        ("network --help", true),
        ("--grpc_listen", true),
        ("--agent_token", true),
        ("[kernel: ipa-lookup-timeout]", true),
        ("[default: unix:/run/ironic-agent/agent.sock]", true),
        ("--container-runner", true),
        ("--listen_port", false),
        ("--log_file", false),
    ] {
        assert_eq!(help.contains(text), is_shown, "{text}");
    }
}

#[test]
fn the_version_names_the_commit() {
    let Err(ConfigError::Asked(version)) = load("", &["--version"]) else {
        panic!("the version is an end")
    };
    let begin = concat!("ironic-agent ", env!("CARGO_PKG_VERSION"), " (commit ");
    let rest = version.strip_prefix(begin).unwrap();
    let commit = rest.trim_end().strip_suffix(')').unwrap();
    assert!(
        commit == "unknown" || commit.chars().all(|c| c.is_ascii_hexdigit()),
        "{commit}"
    );
}
