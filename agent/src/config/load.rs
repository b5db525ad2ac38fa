//! From the sources to one [`Config`], least important source first:
//!
//! ```text
//! default < kernel command line < virtual media < files < environment < command line
//!         < ipa-debug
//! ```
//!
//! The environment has one variable, for the token, which a command line shows to every user
//! of the machine. An option that names a file with a secret is as good as the secret.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ironic_text::Secret;
use ironic_text::{printable, printable_lines};
use thiserror::Error;

use super::command_line::{self, Given};
use super::ini::{self, Fault};
use super::options::{Opt, Standing, all};
use super::{Config, Parameters, Program, TOKEN_VARIABLE, VIRTUAL_MEDIA};

/// The longest secret in a file.
const LONGEST_SECRET: usize = 4096;

/// Read without `--config-file`, when it exists.
const DEFAULT_FILE: &str = "etc/ironic-python-agent.conf";
/// Read without `--config-dir`, when they exist.
const DEFAULT_DIRECTORIES: [&str; 3] = [
    "etc/ironic-python-agent.conf.d",
    "etc/ironic-python-agent",
    "etc/ironic-python-agent.d",
];

/// A configuration, and what has to be said about it once there is a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What will not work as it was asked for.
    pub warnings: Vec<Warning>,
    /// Settings that are no option of ours or of ironic-python-agent, `name (where)`: other
    /// programs may share the files.
    pub unknown: Vec<String>,
    /// The kernel's and the virtual medium's parameters, the latter after the former.
    pub parameters: Parameters,
}

/// Where a setting was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the kernel command line.
    Kernel {
        /// The key.
        key: String,
    },
    /// In `parameters.txt` on virtual media.
    VirtualMedia {
        /// The key.
        key: String,
    },
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In the environment.
    Environment {
        /// The variable.
        variable: &'static str,
    },
    /// On the command line.
    CommandLine {
        /// The flag without dashes.
        flag: String,
    },
}

/// Something that was set and has no or another effect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Warning {
    /// An option that we deliberately do not have.
    #[error("{option} has no effect here: {reason} ({origin})")]
    NotOffered {
        /// The option.
        option: String,
        /// Why we do not have it.
        reason: &'static str,
        /// Where it was set.
        origin: Origin,
    },
    /// A certificate without its key, or the other way round.
    #[error("{present} is set and {missing} is not: both are needed, neither is used")]
    HalfPair {
        /// The option that is set.
        present: &'static str,
        /// The option that has to be set, too.
        missing: &'static str,
    },
    /// A secret where every user of the machine can read it.
    #[error(
        "{option} is on the command line, where every user of this machine can read it: put it into a file and name that by --{option}_file"
    )]
    SecretOnCommandLine {
        /// The option.
        option: String,
    },
    /// A secret's file that every user of the machine can read.
    #[error("{} holds {option} and can be read by every user of this machine: take the permission away by chmod o-r", path.display())]
    SecretForAll {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// `--help` or `--version`: no error, but the end. The text is for standard output.
    #[error("{0}")]
    Asked(String),
    /// The command line is wrong. The text is for standard error.
    #[error("{0}")]
    CommandLine(String),
    /// A value makes no sense.
    #[error("{origin}: {option}: expected {expected}{}", instead(.given))]
    Invalid {
        /// The option.
        option: String,
        /// Where it was set.
        origin: Origin,
        /// What it should have been.
        expected: &'static str,
        /// What it was; `None` for secrets.
        given: Option<String>,
    },
    /// A file makes no sense.
    #[error("{}:{line}: {fault}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A file that shall hold a secret holds something else.
    #[error("{}: expected {option}, on one line of at most {LONGEST_SECRET} bytes", path.display())]
    NoSecret {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file or directory that was asked for cannot be read.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ConfigError {
    /// Tells the person who started the program, and the program's end.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        match self {
            Self::Asked(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            // Of clap's, several lines with what was given.
            Self::CommandLine(text) => {
                eprintln!("{}", printable_lines(text));
                ExitCode::FAILURE
            }
            Self::Unreadable { source, .. } => {
                eprintln!("{}", printable(&format!("error: {self}: {source}")));
                ExitCode::FAILURE
            }
            Self::Invalid { .. } | Self::Syntax { .. } | Self::NoSecret { .. } => {
                eprintln!("{}", printable(&format!("error: {self}")));
                ExitCode::FAILURE
            }
        }
    }
}

fn instead(given: &Option<String>) -> String {
    given
        .as_ref()
        .map(|given| format!(", not {given:?}"))
        .unwrap_or_default()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { key } => write!(f, "kernel parameter {key}"),
            Self::VirtualMedia { key } => write!(f, "virtual media parameter {key}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::CommandLine { flag } => write!(f, "--{flag}"),
        }
    }
}

impl Config {
    /// Reads every source of a machine that was not booted from virtual media.
    ///
    /// `args` begin with the program's name; `root` stands for `/` where `/proc/cmdline` and
    /// the default files are looked for.
    ///
    /// # Errors
    /// The first thing that makes no sense, with its source; also `--help` and `--version`.
    pub fn load(
        program: Program,
        args: impl Iterator<Item = OsString>,
        root: &Path,
    ) -> Result<Loaded, ConfigError> {
        let medium = root.join(VIRTUAL_MEDIA.trim_start_matches('/'));
        let token = std::env::var_os(TOKEN_VARIABLE);
        Self::load_from(program, args, root, Some(&medium), token)
    }

    /// Like [`Config::load`], with a mounted virtual medium and the token of the environment.
    /// The medium's `parameters.txt` is read when the kernel command line says
    /// `boot_method=vmedia`.
    fn load_from(
        program: Program,
        args: impl Iterator<Item = OsString>,
        root: &Path,
        virtual_media: Option<&Path>,
        token: Option<OsString>,
    ) -> Result<Loaded, ConfigError> {
        let mut layers = Layers::new(program.defaults(root));
        let command_line =
            command_line::parse(program, &layers.config, args).map_err(command_line_error)?;

        let kernel = Parameters::of_kernel(root);
        layers.parameters(&kernel, |key| Origin::Kernel { key })?;
        let medium = virtual_media
            .filter(|_| kernel.boots_from_virtual_media())
            .map(Parameters::of_virtual_media)
            .unwrap_or_default();
        layers.parameters(&medium, |key| Origin::VirtualMedia { key })?;

        for file in files(&command_line.files, root)? {
            layers.file(&file)?;
        }
        if let Some(option) = Opt::in_file("", "agent_token")
            && let Some(token) = token
        {
            let variable = TOKEN_VARIABLE;
            layers.set(
                option,
                &token.to_string_lossy(),
                Origin::Environment { variable },
            )?;
        }
        for (option, text) in &command_line.settings {
            let flag = option.flag();
            if option.slot.secret && option.is_for(program) {
                let option = option.flag();
                layers
                    .warnings
                    .push(Warning::SecretOnCommandLine { option });
            }
            layers.set(option, text, Origin::CommandLine { flag })?;
        }

        let parameters = kernel.followed_by(medium);
        // An operator who boots a machine to debug it must win over the image's files.
        if let Some(debug) = parameters.get("ipa-debug") {
            let origin = Origin::Kernel {
                key: "ipa-debug".to_owned(),
            };
            let option = Opt::in_file("", "debug");
            option.map_or(Ok(()), |option| layers.set(option, debug, origin))?;
        }
        layers.secrets()?;
        Ok(layers.finish(parameters))
    }
}

fn command_line_error(error: clap::Error) -> ConfigError {
    if error.use_stderr() {
        ConfigError::CommandLine(error.to_string().trim_end().to_owned())
    } else {
        ConfigError::Asked(error.to_string())
    }
}

/// A configuration in the making.
struct Layers {
    config: Config,
    warnings: Vec<Warning>,
    unknown: Vec<String>,
}

impl Layers {
    fn new(config: Config) -> Self {
        Self {
            config,
            warnings: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn set(&mut self, option: &Opt, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let title = option.title();
        match option.standing {
            Standing::NotOffered(reason) => self.warnings.push(Warning::NotOffered {
                option: title,
                reason,
                origin,
            }),
            _ if !(option.slot.set)(&mut self.config, text.trim()) => {
                return Err(ConfigError::Invalid {
                    option: title,
                    origin,
                    expected: option.slot.expected,
                    given: (!option.slot.secret).then(|| text.to_owned()),
                });
            }
            Standing::Agent | Standing::Shim | Standing::Both => {}
        }
        // Of a secret and the file that holds it, the more important source counts.
        let config = &mut self.config;
        match option.name {
            "agent_token" => config.agent_token_file = None,
            "image_server_password" => config.image_server_password_file = None,
            _ => {}
        }
        Ok(())
    }

    /// Reads the files that hold secrets.
    fn secrets(&mut self) -> Result<(), ConfigError> {
        let config = &mut self.config;
        let files = [
            (
                "agent_token",
                &config.agent_token_file,
                &mut config.agent_token,
            ),
            (
                "image_server_password",
                &config.image_server_password_file,
                &mut config.image_server_password,
            ),
        ];
        for (option, path, slot) in files {
            let Some(path) = path else { continue };
            let (secret, is_for_all) = secret(option, path)?;
            *slot = Some(secret);
            let path = path.clone();
            let warning = is_for_all.then_some(Warning::SecretForAll { option, path });
            self.warnings.extend(warning);
        }
        Ok(())
    }

    fn parameters(
        &mut self,
        parameters: &Parameters,
        origin: impl Fn(String) -> Origin,
    ) -> Result<(), ConfigError> {
        for key in parameters.agent_keys().filter(|key| *key != "ipa-debug") {
            let origin = origin(key.to_owned());
            let text = parameters.get(key).unwrap_or_default();
            match all().find(|option| option.kernel == Some(key)) {
                Some(option) => self.set(option, text, origin)?,
                None => self.unknown.push(origin.to_string()),
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let assignments = ini::parse(&text).map_err(|(line, fault)| ConfigError::Syntax {
            path: path.to_owned(),
            line,
            fault,
        })?;
        for assignment in assignments {
            let origin = Origin::File {
                path: path.to_owned(),
                line: assignment.line,
            };
            match Opt::in_file(&assignment.group, &assignment.key) {
                Some(option) => self.set(option, &assignment.value, origin)?,
                None => self.unknown.push(format!("{} ({origin})", assignment.key)),
            }
        }
        Ok(())
    }

    fn finish(mut self, parameters: Parameters) -> Loaded {
        let config = &self.config;
        let pairs = [
            ("certfile", &config.certfile, "keyfile", &config.keyfile),
            (
                "tls_cert_file",
                &config.tls_cert_file,
                "tls_key_file",
                &config.tls_key_file,
            ),
        ];
        for (certificate, certificate_path, key, key_path) in pairs {
            let half = match (certificate_path, key_path) {
                (Some(_), None) => Some((certificate, key)),
                (None, Some(_)) => Some((key, certificate)),
                _ => None,
            };
            self.warnings
                .extend(half.map(|(present, missing)| Warning::HalfPair { present, missing }));
        }
        Loaded {
            config: self.config,
            warnings: self.warnings,
            unknown: self.unknown,
            parameters,
        }
    }
}

/// The secret in a file, and whether every user can read it.
fn secret(option: &'static str, path: &Path) -> Result<(Secret, bool), ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST_SECRET).unwrap_or(u64::MAX);
    let mut file = file.take(most + 2);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let text = text.trim_end();
    if text.is_empty() || text.len() > LONGEST_SECRET || text.contains(char::is_control) {
        return Err(ConfigError::NoSecret {
            option,
            path: path.to_owned(),
        });
    }
    Ok((Secret::new(text), mode & 0o004 != 0))
}

/// The files to read, in order: the defaults of each kind that was not given, then what was.
fn files(given: &[Given], root: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    if !given.iter().any(|given| matches!(given, Given::File(_))) {
        files.extend(Some(root.join(DEFAULT_FILE)).filter(|path| path.is_file()));
    }
    if !given
        .iter()
        .any(|given| matches!(given, Given::Directory(_)))
    {
        let directories = DEFAULT_DIRECTORIES.map(|name| root.join(name));
        for directory in directories.iter().filter(|path| path.is_dir()) {
            files.extend(files_in(directory)?);
        }
    }
    for given in given {
        match given {
            Given::File(path) => files.push(path.clone()),
            Given::Directory(path) => files.extend(files_in(path)?),
        }
    }
    Ok(files)
}

/// The `*.conf` files of a directory in the order of their names; hidden ones do not count.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "conf")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Loaded {
    /// Tells the log what the operator should know.
    pub fn report(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        for unknown in &self.unknown {
            tracing::debug!(setting = %unknown, "unknown option");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ironic_text::Secret;

    use super::super::{Endpoint, TlsVersion};
    use super::*;

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

        fn load(&self, args: &[&str]) -> Result<Loaded, ConfigError> {
            self.load_as(Program::Agent, args)
        }

        fn load_as(&self, program: Program, args: &[&str]) -> Result<Loaded, ConfigError> {
            let args = std::iter::once(program.name()).chain(args.iter().copied());
            let medium = self.0.path().join("medium");
            Config::load_from(
                program,
                args.map(OsString::from),
                self.0.path(),
                Some(&medium),
                None,
            )
        }

        fn config(&self, args: &[&str]) -> Config {
            self.load(args).unwrap().config
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
        machine.file(
            "medium/parameters.txt",
            "ipa-listen-port=3 ipa-agent-token=T",
        );
        assert_eq!(machine.config(&[]).listen_port, 2);
        machine.file("proc/cmdline", "boot_method=vmedia");
        let loaded = machine.load(&[]).unwrap();
        assert_eq!(loaded.config.agent_token, Some(Secret::new("T")));
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
    fn kernel_keys_are_those_of_the_python_agent() {
        let machine = Machine::new(
            "ipa-api-url=http://a:1,http://b:2/ ipa-ip-lookup-timeout=3 ipa-use-mdns=yes ipa-insecure=1 \
             ipa-agent-token=K ipa-tls-min-version=1.3 ipa-guard-special-filesystems=no ipa-lookup-interval=0.5",
        );
        let config = machine.config(&[]);
        assert_eq!(config.api_url, ["http://a:1", "http://b:2/"]);
        assert_eq!(config.ip_lookup_sleep.as_secs(), 3);
        assert!(config.mdns.use_mdns && config.insecure && !config.guard_special_filesystems);
        assert_eq!(config.agent_token, Some(Secret::new("K")));
        assert_eq!(config.tls_min_version, TlsVersion::V1_3);
        assert_eq!(config.lookup_interval.as_millis(), 500);
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
        assert!(
            !config.insecure
                && config.standalone
                && !config.enable_auto_tls
                && !config.mdns.use_mdns
        );
        let config = machine.config(&["--insecure=false", "--enable_auto_tls=0"]);
        assert!(!config.insecure && !config.enable_auto_tls);
        let config = machine.config(&[
            "--noinsecure",
            "--insecure",
            "--disk_utils-bios_boot_partition_size=2",
        ]);
        assert!(config.insecure && config.disk_utils.bios_boot_partition_size == 2);
    }

    #[test]
    fn the_documented_command_lines_work() {
        let machine = Machine::new("");
        let config = machine.config(&[
            "--standalone",
            "--grpc-listen",
            "127.0.0.1:9998",
            "--agent_token",
            "T",
        ]);
        assert!(config.standalone && config.grpc_listen == "127.0.0.1:9998".parse().unwrap());
        let line = [
            "--listen_host",
            "127.0.0.1",
            "--listen_port",
            "9999",
            "--agent",
            "http://127.0.0.1:9998",
            "--agent_token",
            "T",
        ];
        let config = machine.load_as(Program::Shim, &line).unwrap().config;
        assert_eq!(config.agent, Endpoint::Http("http://127.0.0.1:9998".into()));
        assert_eq!(config.listen_host, "127.0.0.1");
        assert_eq!(config.state_dir, Path::new("/run/ironic-shim"));
        assert_eq!(
            machine.config(&[]).state_dir,
            Path::new("/run/ironic-agent")
        );
    }

    #[test]
    fn listens_on_ipv6_where_the_kernel_has_it() {
        for (disabled, host) in [
            (None, "0.0.0.0"),
            (Some("1\n"), "0.0.0.0"),
            (Some("0\n"), "::"),
        ] {
            let machine = Machine::new("");
            if let Some(disabled) = disabled {
                machine.file("proc/sys/net/ipv6/conf/default/disable_ipv6", disabled);
            }
            assert_eq!(machine.config(&[]).listen_host, host, "{disabled:?}");
        }
    }

    #[test]
    fn errors_name_the_option_the_source_and_what_is_expected() {
        let machine = Machine::new("");
        let conf = machine.file("x.conf", "[DEFAULT]\n# first\nlookup_timeout = soon\n");
        let broken = machine.file("broken.conf", "[DEFAULT]\nnonsense\n");
        let (conf, broken) = (conf.display().to_string(), broken.display().to_string());
        let cases: [(&str, &[&str], String); 5] = [
            ("ipa-listen-port=x", &[], "kernel parameter ipa-listen-port: listen_port: expected a port from 0 to 65535, not \"x\"".into()),
            ("", &["--api_url", "ftp://x"], "--api_url: api_url: expected addresses beginning with http:// or https://, separated by commas, or mdns, not \"ftp://x\"".into()),
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
    fn what_has_no_effect_is_named() {
        let machine = Machine::new("ipa-inspection-benchmarks=cpu");
        let conf = machine.file(
            "etc/ironic-python-agent.conf",
            "[DEFAULT]\nuse_syslog = true\nother_program = 1\ncertfile = /c\n[metrics]\nbackend = statsd\n[elsewhere]\nlisten_port = 1\n",
        );
        let loaded = machine
            .load(&["--log-file", "/tmp/x", "--nouse_journal"])
            .unwrap();
        let warnings: Vec<_> = loaded.warnings.iter().map(Warning::to_string).collect();
        let conf = conf.display();
        assert_eq!(warnings, [
            format!("use_syslog has no effect here: the log goes to standard error, one line each ({conf}:2)"),
            format!("[metrics] backend has no effect here: there is no statsd client: the backend is always noop ({conf}:6)"),
            "log_file has no effect here: the log goes to standard error, one line each (--log_file)".to_owned(),
            "use_journal has no effect here: the log goes to standard error, one line each (--use_journal)".to_owned(),
            "certfile is set and keyfile is not: both are needed, neither is used".to_owned(),
        ]);
        assert_eq!(
            loaded.unknown,
            [
                "kernel parameter ipa-inspection-benchmarks".to_owned(),
                format!("other_program ({conf}:3)"),
                format!("listen_port ({conf}:8)"),
            ]
        );
    }

    #[test]
    fn secrets_are_in_no_text() {
        let machine = Machine::new("ipa-agent-token=hunter2");
        machine.file(
            "etc/ironic-python-agent.conf",
            "[DEFAULT]\nimage_server_password = hunter2\n",
        );
        let loaded = machine.load(&[]).unwrap();
        assert_eq!(
            loaded.config.image_server_password,
            Some(Secret::new("hunter2"))
        );
        assert!(!format!("{:?}", loaded.config).contains("hunter2"));
        assert!(
            !format!("{loaded:?}").contains("hunter2"),
            "the parameters hold the token"
        );
    }

    #[test]
    fn a_secret_may_stand_in_a_file_or_in_the_environment() {
        let machine = Machine::new("ipa-agent-token=K");
        let token = |token: &str| Some(Secret::new(token));
        let load = |args: &[&str], environment: Option<&str>| {
            let args = std::iter::once("ironic-agent").chain(args.iter().copied());
            let args = args.map(OsString::from);
            let environment = environment.map(OsString::from);
            Config::load_from(Program::Agent, args, machine.0.path(), None, environment)
        };
        let file = machine.file("token", "F\n");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let file = file.to_str().unwrap();
        // The more important source counts, whichever of the two it gives.
        let cases: [(&[&str], Option<&str>, &str); 5] = [
            (&[], None, "K"),
            (&[], Some("E"), "E"),
            (&["--agent_token_file", file], Some("E"), "F"),
            (&["--agent-token", "C"], Some("E"), "C"),
            (&["--image_server_password_file", file], None, "K"),
        ];
        for (args, environment, expected) in cases {
            let loaded = load(args, environment).unwrap();
            assert_eq!(loaded.config.agent_token, token(expected), "{args:?}");
            let warnings: Vec<_> = loaded.warnings.iter().map(Warning::to_string).collect();
            let is_shown = args.contains(&"--agent-token");
            assert_eq!(warnings.len(), usize::from(is_shown), "{warnings:?}");
        }
        let loaded = load(&["--image_server_password_file", file], None).unwrap();
        assert_eq!(loaded.config.image_server_password, token("F"));
        let conf = format!("[DEFAULT]\nagent_token_file = {file}\n");
        machine.file("etc/ironic-python-agent.conf", &conf);
        assert_eq!(load(&[], None).unwrap().config.agent_token, token("F"));
        assert_eq!(load(&[], Some("E")).unwrap().config.agent_token, token("E"));

        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = load(&[], None).unwrap().warnings;
        assert!(
            matches!(&warnings[..], [Warning::SecretForAll { .. }]),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_file_without_a_secret_is_named_and_not_quoted() {
        let machine = Machine::new("");
        let large = "x".repeat(LONGEST_SECRET + 1);
        for text in ["", "\n", "hunter2\nhunter3", "hunter2\u{1b}", &large] {
            let file = machine.file("token", text);
            let file = file.to_str().unwrap();
            let error = machine.load(&["--agent_token_file", file]).unwrap_err();
            let sentence =
                format!("{file}: expected agent_token, on one line of at most 4096 bytes");
            assert_eq!(error.to_string(), sentence);
        }
        let error = machine
            .load(&["--agent_token_file", "/nonexistent"])
            .unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }));
    }

    #[test]
    fn help_shows_a_program_its_own_options() {
        let machine = Machine::new("");
        let help = |program| match machine.load_as(program, &["--help"]) {
            Err(ConfigError::Asked(text)) => text,
            other => panic!("{other:?}"),
        };
        let (agent, shim) = (help(Program::Agent), help(Program::Shim));
        assert!(agent.lines().all(|line| line.len() <= 100), "wrapped");
        let unwrapped = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (agent, shim) = (unwrapped(agent), unwrapped(shim));
        for (text, agent_has, shim_has) in [
            ("--grpc_listen", true, false),
            ("--listen_port", false, true),
            ("--agent_token", true, true),
            ("--config-dir", true, true),
            ("[kernel: ipa-lookup-timeout]", true, false),
            ("[default: unix:/run/ironic-agent/agent.sock]", true, true),
            ("[default: /run/ironic-shim]", false, true),
            ("--log_file", false, false),
            ("--container-runner", true, false),
        ] {
            assert_eq!(
                (agent.contains(text), shim.contains(text)),
                (agent_has, shim_has),
                "{text}"
            );
        }
    }

    #[test]
    fn version_tells_the_commit() {
        let version = match Machine::new("").load(&["--version"]) {
            Err(ConfigError::Asked(text)) => text,
            other => panic!("{other:?}"),
        };
        let rest = version
            .strip_prefix(concat!(
                "ironic-agent ",
                env!("CARGO_PKG_VERSION"),
                " (commit "
            ))
            .unwrap();
        let commit = rest.trim_end().strip_suffix(')').unwrap();
        assert!(
            commit == "unknown" || commit.chars().all(|c| c.is_ascii_hexdigit()),
            "{commit}"
        );
    }
}
