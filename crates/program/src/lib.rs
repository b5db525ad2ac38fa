//! What both programs are around their work: the options that they share ([`CommonSettings`]),
//! how they start and end ([`start`]), their [`log`], their [files of
//! state](state_file), what an agent token is, and their version.

mod agent_token;
pub mod log;
mod settings;
mod start;
pub mod state_file;

pub use agent_token::{MASKED_TOKEN, is_agent_token};
pub use settings::{CommonSettings, is_url_list, not_offered};
pub use start::{EXIT_TIMEOUT, StopRequest, raise_descriptor_limit, runtime, shut_down, start};

/// The version that Ironic is given, for example `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version for a person: with the commit, or `unknown` outside a repository.
#[must_use]
pub const fn version() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (commit ",
        env!("IRONIC_AGENT_COMMIT"),
        ")"
    )
}

/// Where both programs look for options, as `--help` says it.
pub const SOURCES: &str = "An option comes from the command line, else from the configuration files, else from \
     virtual media, else from the kernel command line; the token may also come from the \
     environment variable IRONIC_AGENT_TOKEN, which counts before the files. --listen_host and --listen-host are \
     the same. A switch is turned off by --no before its name, for example \
     --noenable_auto_tls.\n\n\
     Without --config-file, /etc/ironic-python-agent.conf is read; without --config-dir, the \
     *.conf files of /etc/ironic-python-agent.conf.d, /etc/ironic-python-agent and \
     /etc/ironic-python-agent.d are.";

/// The file that both programs read without `--config-file`.
pub const DEFAULT_FILE: &str = "etc/ironic-python-agent.conf";

/// The directories that both programs read without `--config-dir`.
pub const DEFAULT_DIRECTORIES: &[&str] = &[
    "etc/ironic-python-agent.conf.d",
    "etc/ironic-python-agent",
    "etc/ironic-python-agent.d",
];

/// The environment variable of the agent token. No program that the agent starts inherits it.
pub const TOKEN_VARIABLE: &str = "IRONIC_AGENT_TOKEN";
