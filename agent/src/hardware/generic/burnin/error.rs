//! Why a burn-in failed.

use std::fmt;

use thiserror::Error;

use crate::failure::Failure;
use crate::system::RunError;
use crate::system::coordination::CoordinationError;
use crate::task::Cancelled;

/// Why a burn-in failed.
#[derive(Debug, Error)]
pub enum BurnInError {
    /// A program did not do its work.
    #[error(transparent)]
    Program(#[from] BurnInProgramError),
    /// `agent_burnin_gpu_count` is invalid.
    #[error("agent_burnin_gpu_count must be a whole number, not '{value}'")]
    GpuCount {
        /// What the node says.
        value: String,
    },
    /// The machine has another number of graphics cards.
    #[error("gpu_burn found {found} graphics cards, agent_burnin_gpu_count is {expected}")]
    GpusMissing {
        /// As `gpu_burn` lists them.
        found: usize,
        /// As the node says.
        expected: usize,
    },
    /// No disk may be overwritten.
    #[error("There is no disk that may be burnt in")]
    NoDisk,
    /// A drive did not start its self-test.
    #[error("The self-test of {disk} did not start: {source}")]
    SelfTestNotStarted {
        /// The disk's name.
        disk: String,
        /// Why not.
        source: Box<BurnInError>,
    },
    /// Drives say that they are broken, or did not end their self-tests in time.
    #[error("Self-tests failed: {}", list(.0))]
    SelfTests(Vec<FailedSelfTest>),
    /// No partner, or no role, is configured.
    #[error(transparent)]
    Network(#[from] NetworkConfigError),
    /// No partner was found.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// The command was cancelled.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The disks could not be selected.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl BurnInError {
    /// The error of a program that was to run `command`.
    pub(super) fn of_program(command: String, error: RunError) -> Self {
        match error {
            RunError::Missing { program } => BurnInProgramError::Missing { program, command },
            error => BurnInProgramError::Run(error),
        }
        .into()
    }
}

/// Why a program that makes the load did not do its work.
#[derive(Debug, Error)]
pub enum BurnInProgramError {
    /// The ramdisk does not have it.
    #[error("Burn-in failed: {program} is not in this ramdisk ({command})")]
    Missing {
        /// Its name.
        program: String,
        /// The whole command line.
        command: String,
    },
    /// It failed.
    #[error("Burn-in failed: {0}")]
    Run(#[source] RunError),
}

/// A drive whose self-test did not pass.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedSelfTest {
    /// The disk's name.
    pub disk: String,
    /// What the drive says about the test; `None` when it did not end in time.
    pub result: Option<String>,
}

impl fmt::Display for FailedSelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = self.result.as_deref();
        let result = result.unwrap_or("still at it after four days");
        write!(f, "{}: {result}", self.disk)
    }
}

fn list(failed: &[FailedSelfTest]) -> String {
    let lines: Vec<_> = failed.iter().map(FailedSelfTest::to_string).collect();
    lines.join("; ")
}

/// Why `agent_burnin_fio_network_config` names no partner.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum NetworkConfigError {
    /// Neither a partner nor a service that knows one is configured.
    #[error(
        "agent_burnin_fio_network_config must be an object with role and partner, or \
         agent_burnin_fio_network_pairing_backend_url must be set"
    )]
    Missing,
    /// The role is invalid.
    #[error("agent_burnin_fio_network_config: role must be writer or reader, not '{role}'")]
    Role {
        /// What the node says.
        role: String,
    },
    /// The partner is missing.
    #[error("agent_burnin_fio_network_config: partner must be the other machine's name or address")]
    Partner,
}

/// Why no partner was found through a coordination service.
#[derive(Debug, Error)]
pub enum PairingError {
    /// The service's address is invalid, or the service is another one.
    #[error(
        "agent_burnin_fio_network_pairing_backend_url must be zookeeper://HOST[:PORT][,...], \
         not '{url}': this agent meets others over ZooKeeper only"
    )]
    Url {
        /// What the node says.
        url: String,
    },
    /// The group's name is invalid.
    #[error(
        "agent_burnin_fio_network_pairing_group_name must be letters, digits, dots and dashes, \
         not '{group}'"
    )]
    Group {
        /// What the node says.
        group: String,
    },
    /// The timeout is invalid.
    #[error(
        "agent_burnin_fio_network_pairing_timeout must be a whole number of seconds, not '{value}'"
    )]
    Timeout {
        /// What the node says.
        value: String,
    },
    /// No session with the service could be opened.
    #[error(transparent)]
    NoSession(CoordinationError),
    /// The session failed.
    #[error("No partner was found: {0}")]
    Session(#[source] CoordinationError),
    /// A third machine has come between.
    #[error("More than two machines are in the group {group} at once")]
    Crowded {
        /// The group.
        group: String,
    },
    /// Nobody came.
    #[error("No partner came to the group {group} within {seconds} s")]
    TimedOut {
        /// The group.
        group: String,
        /// How long the machine waited.
        seconds: u64,
    },
}
