use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ironic_text::Secret;

use super::*;
use crate::{Program, Tool, opt, section};

/// Settings of a program that there is not.
#[derive(Debug, Clone, PartialEq, Default)]
struct Sample {
    listen_port: u16,
    listen_host: String,
    advertise_port: u16,
    insecure: bool,
    standalone: bool,
    enable_auto_tls: bool,
    debug: bool,
    mdns: Mdns,
    lookup_timeout: Duration,
    token: Option<Secret>,
    password: Option<Secret>,
    certfile: Option<PathBuf>,
    keyfile: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Mdns {
    use_mdns: bool,
    lookup_attempts: u32,
}

impl Settings for Sample {
    const PROGRAM: Program = Program {
        name: "sample",
        about: "Is a program in a test.",
        tools: &[Tool {
            name: "look",
            about: "Look around.",
        }],
        sources: "From wherever.",
        version: "1.2.3 (commit abc)",
        file: "etc/ironic-python-agent.conf",
        directories: &[
            "etc/ironic-python-agent.conf.d",
            "etc/ironic-python-agent.d",
        ],
    };

    fn defaults(_: &Path) -> Self {
        Self {
            listen_port: 9999,
            listen_host: "0.0.0.0".to_owned(),
            advertise_port: 9999,
            enable_auto_tls: true,
            lookup_timeout: Duration::from_secs(600),
            ..Self::default()
        }
    }

    fn options() -> Vec<Opt<Self>> {
        let options = vec![
            opt!(listen_port, "Port to listen at.").kernel("ipa-listen-port"),
            opt!(listen_host, "Address to listen at.").old(&[("old", "host")]),
            opt!(advertise_port, "Port of the URL.").kernel("ipa-advertise-port"),
            opt!(insecure, "Verify nothing."),
            opt!(standalone, "Alone."),
            opt!(enable_auto_tls, "A certificate."),
            opt!(debug, "More lines.").kernel_final("ipa-debug"),
            opt!(mdns.use_mdns, "Look around.").group("mdns"),
            opt!(mdns.lookup_attempts if |n| *n <= 9, "How often.")
                .group("mdns")
                .expecting("a whole number from 0 to 9"),
            opt!(lookup_timeout, "How long.").kernel("ipa-lookup-timeout"),
            opt!(token, "The token.")
                .kernel("ipa-token")
                .environment("SAMPLE_TOKEN")
                .secret()
                .word("TOKEN"),
            Opt::file_of("token", "token_file", "File that holds token."),
            opt!(password, "The password.").secret(),
            Opt::file_of("password", "password_file", "File that holds password."),
            opt!(certfile, "Certificate.").pair("keyfile"),
            opt!(keyfile, "Key."),
            Opt::not_offered("metrics", "backend", "there is no client"),
            Opt::not_offered("", "log_file", "the log goes elsewhere"),
            Opt::switch_not_offered("", "use_journal", "the log goes elsewhere"),
        ];
        section("All", options).collect()
    }
}

/// A root with a kernel command line, a default file and a virtual medium.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(cmdline: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.file("proc/cmdline", cmdline);
        machine
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, args: &[&str]) -> Result<Loaded<Sample>, ConfigError> {
        self.load_with(args, None)
    }

    /// With this text in the environment.
    fn load_with(&self, args: &[&str], token: Option<&str>) -> Result<Loaded<Sample>, ConfigError> {
        let args = std::iter::once("sample").chain(args.iter().copied());
        let medium = self.0.path().join("medium");
        CommandLine::parse(args.map(OsString::from), self.0.path())?.load_from(
            self.0.path(),
            Some(&medium),
            |variable| {
                assert_eq!(variable, "SAMPLE_TOKEN");
                token.map(OsString::from)
            },
        )
    }

    fn config(&self, args: &[&str]) -> Sample {
        self.load(args).unwrap().settings
    }
}

#[test]
fn the_more_important_source_wins() {
    let machine = Machine::new("boot_method=vmedia");
    assert_eq!(machine.config(&[]).listen_port, 9999);
    machine.file(
        "proc/cmdline",
        "boot_method=vmedia ipa-listen-port=1 ipa-listen-port=2 ipa-advertise-port=20",
    );
    assert_eq!(machine.config(&[]).listen_port, 2);
    machine.file("medium/parameters.txt", "ipa-listen-port=3\n");
    assert_eq!(machine.config(&[]).listen_port, 3);
    machine.file(
        "etc/ironic-python-agent.conf",
        "[DEFAULT]\nlisten_port = 4\n",
    );
    assert_eq!(machine.config(&[]).listen_port, 4);
    machine.file(
        "etc/ironic-python-agent.d/b.conf",
        "[DEFAULT]\nlisten_port = 6\nlisten_port = 7\n",
    );
    machine.file(
        "etc/ironic-python-agent.d/a.conf",
        "[DEFAULT]\nlisten_port = 5\n",
    );
    machine.file("etc/ironic-python-agent.d/c.txt", "nonsense");
    assert_eq!(machine.config(&[]).listen_port, 7);
    assert_eq!(machine.config(&["--listen_port", "8"]).listen_port, 8);
    assert_eq!(machine.config(&["--listen-port=9"]).listen_port, 9);
    assert_eq!(
        machine.config(&[]).advertise_port,
        20,
        "what only the kernel says, counts"
    );
}

#[test]
fn virtual_media_count_only_when_booted_from_them() {
    let machine = Machine::new("ipa-listen-port=2");
    machine.file("medium/parameters.txt", "ipa-listen-port=3 ipa-token=T");
    assert_eq!(machine.config(&[]).listen_port, 2);
    machine.file("proc/cmdline", "boot_method=vmedia");
    let loaded = machine.load(&[]).unwrap();
    assert_eq!(loaded.settings.token, Some(Secret::new("T")));
    assert_eq!(loaded.parameters.get("ipa-listen-port"), Some("3"));
}

#[test]
fn debug_on_the_kernel_command_line_beats_everything() {
    let cases = [
        ("", &[][..], false),
        ("", &["--debug"], true),
        ("ipa-debug=1", &["--nodebug"], true),
        ("ipa-debug=0", &["--debug"], false),
    ];
    for (cmdline, args, debug) in cases {
        let machine = Machine::new(cmdline);
        machine.file("etc/ironic-python-agent.conf", "[DEFAULT]\ndebug = false\n");
        assert_eq!(machine.config(args).debug, debug, "{cmdline} {args:?}");
    }
}

#[test]
fn given_files_replace_the_default_ones_of_their_kind_and_count_in_their_order() {
    let machine = Machine::new("");
    machine.file(
        "etc/ironic-python-agent.conf",
        "[DEFAULT]\nlisten_port = 1\nlisten_host = default\n",
    );
    machine.file(
        "etc/ironic-python-agent.conf.d/x.conf",
        "[DEFAULT]\nadvertise_port = 11\n",
    );
    let one = machine.file("one", "[DEFAULT]\nlisten_port = 2\n");
    let two = machine.file("dir/two.conf", "[DEFAULT]\nlisten_port = 3\n");
    let (one, dir) = (
        one.to_str().unwrap(),
        two.parent().unwrap().to_str().unwrap(),
    );

    let config = machine.config(&["--config-file", one]);
    assert_eq!(
        (
            config.listen_port,
            config.listen_host.as_str(),
            config.advertise_port
        ),
        (2, "0.0.0.0", 11)
    );
    let config = machine.config(&["--config-dir", dir]);
    assert_eq!(
        (
            config.listen_port,
            config.listen_host.as_str(),
            config.advertise_port
        ),
        (3, "default", 9999)
    );
    assert_eq!(
        machine
            .config(&["--config-dir", dir, "--config-file", one])
            .listen_port,
        2
    );
    assert_eq!(
        machine
            .config(&["--config_file", one, "--config_dir", dir])
            .listen_port,
        3
    );
    assert!(matches!(
        machine.load(&["--config-file", "/nowhere"]),
        Err(ConfigError::Unreadable { .. })
    ));
    assert!(matches!(
        machine.load(&["--config-dir", "/nowhere"]),
        Err(ConfigError::Unreadable { .. })
    ));
}

#[test]
fn a_file_without_a_secret_is_named_and_not_quoted() {
    let machine = Machine::new("");
    let large = "x".repeat(MAX_SECRET_BYTES + 1);
    for text in ["", "\n", "hunter2\nhunter3", "hunter2\u{1b}", &large] {
        let file = machine.file("token", text);
        let file = file.to_str().unwrap();
        let error = machine.load(&["--token_file", file]).unwrap_err();
        let sentence = format!("{file}: expected token, on one line of at most 4096 bytes");
        assert_eq!(error.to_string(), sentence);
    }
    let error = machine.load(&["--token_file", "/nonexistent"]).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn switches_have_every_spelling() {
    let machine = Machine::new("");
    machine.file(
        "etc/ironic-python-agent.conf",
        "[DEFAULT]\ninsecure = yes\n[mdns]\nuse_mdns = on\n",
    );
    let config = machine.config(&[
        "--noinsecure",
        "--standalone",
        "--noenable-auto-tls",
        "--mdns-nouse_mdns",
    ]);
    assert!(!config.insecure && config.standalone);
    assert!(!config.enable_auto_tls && !config.mdns.use_mdns);
    let config = machine.config(&["--insecure=false", "--enable_auto_tls=0"]);
    assert!(!config.insecure && !config.enable_auto_tls);
    let config = machine.config(&["--noinsecure", "--insecure", "--mdns-lookup_attempts=2"]);
    assert!(config.insecure && config.mdns.lookup_attempts == 2);
}

#[test]
fn errors_name_the_option_the_source_and_what_is_expected() {
    let machine = Machine::new("");
    let conf = machine.file("x.conf", "[DEFAULT]\n# first\nlookup_timeout = soon\n");
    let broken = machine.file("broken.conf", "[DEFAULT]\nnonsense\n");
    let (conf, broken) = (conf.display().to_string(), broken.display().to_string());
    let cases: [(&str, &[&str], String); 5] = [
        ("ipa-listen-port=x", &[], "kernel parameter ipa-listen-port: listen_port: expected a port from 0 to 65535, not \"x\"".into()),
        ("", &["--mdns-lookup_attempts", "10"], "--mdns-lookup_attempts: [mdns] lookup_attempts: expected a whole number from 0 to 9, not \"10\"".into()),
        ("", &["--config-file", &conf], format!("{conf}:3: lookup_timeout: expected a number of seconds, not negative, not \"soon\"")),
        ("", &["--config-file", &broken], format!("{broken}:2: an option is written as name = value, a comment begins with #")),
        ("ipa-debug=perhaps", &[], "kernel parameter ipa-debug: debug: expected true or false, not \"perhaps\"".into()),
    ];
    for (cmdline, args, message) in cases {
        machine.file("proc/cmdline", cmdline);
        assert_eq!(machine.load(args).unwrap_err().to_string(), message);
    }
    machine.file("proc/cmdline", "");
    let error = machine.load(&["--lisen_port", "1"]).unwrap_err();
    assert!(
        matches!(&error, ConfigError::CommandLine(text) if text.contains("--lisen_port")),
        "{error}"
    );
}

#[test]
fn options_without_effect_are_named() {
    let machine = Machine::new("ipa-inspection-benchmarks=cpu");
    let conf = machine.file(
        "etc/ironic-python-agent.conf",
        "[DEFAULT]\nother_program = 1\ncertfile = /c\n[metrics]\nbackend = statsd\n[elsewhere]\nlisten_port = 1\n[old]\nhost = h\n",
    );
    let loaded = machine
        .load(&["--log-file", "/tmp/x", "--nouse_journal"])
        .unwrap();
    let warnings: Vec<_> = loaded.warnings.iter().map(Warning::to_string).collect();
    let conf = conf.display();
    assert_eq!(
        warnings,
        [
            format!("[metrics] backend has no effect here: there is no client ({conf}:5)"),
            "log_file has no effect here: the log goes elsewhere (--log_file)".to_owned(),
            "use_journal has no effect here: the log goes elsewhere (--use_journal)".to_owned(),
            "certfile is set and keyfile is not: both are needed, neither is used".to_owned(),
        ]
    );
    assert_eq!(
        loaded.unknown,
        [
            "kernel parameter ipa-inspection-benchmarks".to_owned(),
            format!("other_program ({conf}:2)"),
            format!("listen_port ({conf}:7)"),
        ]
    );
    assert_eq!(loaded.settings.listen_host, "h");
}

#[test]
fn secrets_are_in_no_text() {
    let machine = Machine::new("ipa-token=hunter2");
    machine.file(
        "etc/ironic-python-agent.conf",
        "[DEFAULT]\npassword = hunter2\n",
    );
    let loaded = machine.load(&[]).unwrap();
    assert_eq!(loaded.settings.password, Some(Secret::new("hunter2")));
    assert!(
        !format!("{loaded:?}").contains("hunter2"),
        "the parameters hold the token"
    );
}

#[test]
fn a_secret_may_stand_in_a_file_or_in_the_environment() {
    let machine = Machine::new("ipa-token=K");
    let secret = |text: &str| Some(Secret::new(text));
    let file = machine.file("token", "F\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    // The more important source counts, whichever of the two it gives.
    let cases: [(&[&str], Option<&str>, &str); 5] = [
        (&[], None, "K"),
        (&[], Some("E"), "E"),
        (&["--token_file", file], Some("E"), "F"),
        (&["--token", "C"], Some("E"), "C"),
        (&["--password_file", file], None, "K"),
    ];
    for (args, environment, expected) in cases {
        let loaded = machine.load_with(args, environment).unwrap();
        assert_eq!(loaded.settings.token, secret(expected), "{args:?}");
        let warnings: Vec<_> = loaded.warnings.iter().map(Warning::to_string).collect();
        let is_shown = args.contains(&"--token");
        assert_eq!(warnings.len(), usize::from(is_shown), "{warnings:?}");
    }
    let loaded = machine.load(&["--password_file", file]).unwrap();
    assert_eq!(loaded.settings.password, secret("F"));
    let conf = format!("[DEFAULT]\ntoken_file = {file}\n");
    machine.file("etc/ironic-python-agent.conf", &conf);
    assert_eq!(machine.load(&[]).unwrap().settings.token, secret("F"));
    let loaded = machine.load_with(&[], Some("E")).unwrap();
    assert_eq!(loaded.settings.token, secret("E"));

    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = machine.load(&[]).unwrap().warnings;
    assert!(
        matches!(&warnings[..], [Warning::SecretForAll { .. }]),
        "{warnings:?}"
    );
}

#[test]
fn a_secret_may_come_through_a_pipe() {
    let machine = Machine::new("");
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"P\n").unwrap();
    drop(writer);
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&reader);
    let path = format!("/proc/self/fd/{descriptor}");
    let loaded = machine.load(&["--token_file", &path]).unwrap();
    assert_eq!(loaded.settings.token, Some(Secret::new("P")));
}

#[test]
fn the_preview_is_what_the_command_line_says_alone() {
    let machine = Machine::new("ipa-listen-port=1");
    let args = ["sample", "--standalone", "--advertise_port", "7"];
    let args = args.into_iter().map(OsString::from);
    let line = CommandLine::<Sample>::parse(args, machine.0.path()).unwrap();
    let preview = line.preview(machine.0.path());
    assert!(preview.standalone);
    assert_eq!((preview.listen_port, preview.advertise_port), (9999, 7));
}

#[test]
fn help_shows_what_is_offered() {
    let machine = Machine::new("");
    let Err(ConfigError::Asked(help)) = machine.load(&["--help"]) else {
        panic!("help is an end")
    };
    assert!(help.lines().all(|line| line.len() <= 100), "wrapped");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for shown in [
        "Tools: look Look around.",
        "--listen_port <PORT>",
        "[kernel: ipa-lookup-timeout]",
        "[default: 0.0.0.0]",
        "--config-dir",
        "From wherever.",
    ] {
        assert!(help.contains(shown), "{shown}: {help}");
    }
    assert!(!help.contains("log_file"));
    let Err(ConfigError::Asked(version)) = machine.load(&["--version"]) else {
        panic!("the version is an end")
    };
    assert_eq!(version.trim_end(), "sample 1.2.3 (commit abc)");
}

#[test]
fn the_reference_lists_every_option_once() {
    let page = crate::reference(&[crate::entries::<Sample>(), crate::entries::<Sample>()]);
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.count(), Sample::options().len());
    assert!(page.contains(
        "| `listen_port` | sample, sample | PORT | `9999` | `ipa-listen-port` | Port to listen at. |"
    ));
    assert!(page.contains("| `[metrics] backend` | there is no client |"));
}
