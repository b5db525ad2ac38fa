use std::ffi::OsString;

use ironic_options::testing::{faults, takes};
use ironic_options::{CommandLine, ConfigError, Loaded, Settings, Target, find};

use super::*;

fn load(root: &Path, args: &[&str]) -> Result<Loaded<ShimConfig>, ConfigError> {
    let args = std::iter::once("ironic-shim").chain(args.iter().copied());
    CommandLine::parse(args.map(OsString::from), root)?.load(root)
}

#[test]
fn the_table_has_no_faults() {
    assert_eq!(faults::<ShimConfig>(), Vec::<String>::new());
}

#[test]
fn kernel_keys_are_those_of_the_python_agent() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("proc")).unwrap();
    let cmdline = "ipa-ip-lookup-timeout=3 ipa-listen-port=8 ipa-advertise-protocol=https";
    std::fs::write(root.path().join("proc/cmdline"), cmdline).unwrap();
    let config = load(root.path(), &[]).unwrap().settings;
    assert_eq!(config.ip_lookup_sleep.as_secs(), 3);
    assert_eq!(config.listen_port, 8);
    assert_eq!(config.advertise_protocol.word(), "https");
}

#[test]
fn the_documented_command_line_works() {
    let root = tempfile::tempdir().unwrap();
    let args = [
        "--listen_host",
        "127.0.0.1",
        "--listen_port",
        "9999",
        "--agent",
        "http://127.0.0.1:9998",
        "--agent_token",
        "T",
    ];
    let config = load(root.path(), &args).unwrap().settings;
    assert_eq!(config.agent, Endpoint::Http("http://127.0.0.1:9998".into()));
    assert_eq!(config.listen_host, "127.0.0.1");
    assert_eq!(config.state_dir, PathBuf::from("/run/ironic-shim"));
}

#[test]
fn listens_on_ipv6_where_the_kernel_has_it() {
    for (disabled, host) in [
        (None, "0.0.0.0"),
        (Some("1\n"), "0.0.0.0"),
        (Some("0\n"), "::"),
    ] {
        let root = tempfile::tempdir().unwrap();
        if let Some(disabled) = disabled {
            let file = root
                .path()
                .join("proc/sys/net/ipv6/conf/default/disable_ipv6");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, disabled).unwrap();
        }
        let config = load(root.path(), &[]).unwrap().settings;
        assert_eq!(config.listen_host, host, "{disabled:?}");
    }
}

#[test]
fn values_are_checked() {
    for (group, name, text, valid) in [
        ("", "ip_lookup_attempts", "0", false),
        ("", "listen_port", "70000", false),
        ("mdns", "lookup_attempts", "0", false),
        ("mdns", "lookup_attempts", "1", true),
    ] {
        assert_eq!(
            takes::<ShimConfig>(group, name, text),
            valid,
            "{name} {text}"
        );
    }
}

#[test]
fn files_know_old_names() {
    let options = ShimConfig::options();
    let target = Target {
        group: "ssl",
        key: "cert_file",
    };
    assert_eq!(find(&options, target).unwrap().title(), "tls_cert_file");
}

#[test]
fn help_shows_the_options_of_the_shim_and_not_those_of_the_agent() {
    let Err(ConfigError::Asked(help)) = load(Path::new("/nonexistent"), &["--help"]) else {
        panic!("help is an end")
    };
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (text, is_shown) in [
        ("--listen_port", true),
        ("--agent_token", true),
        ("[default: /run/ironic-shim]", true),
        ("[default: unix:/run/ironic-agent/agent.sock]", true),
        ("--grpc_listen", false),
        ("--log_file", false),
    ] {
        assert_eq!(help.contains(text), is_shown, "{text}");
    }
}

#[test]
fn a_discovered_service_changes_options_of_the_shim_by_their_own_rules() {
    let mut config = ShimConfig::default();
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    config.apply_discovered(&[
        set("inspection_callback_url", "ftp://x"),
        set("ntp_server", "192.0.2.1"),
        set("no_such_option", "1"),
        set("log_file", "/x"),
    ]);
    assert_eq!(config, ShimConfig::default());
    config.apply_discovered(&[
        set("inspection_callback_url", "http://192.0.2.1/v1/continue"),
        set("listen_port", " 8 "),
    ]);
    assert_eq!(
        config.common.inspection_callback_url,
        ["http://192.0.2.1/v1/continue"]
    );
    assert_eq!(config.listen_port, 8);
}
