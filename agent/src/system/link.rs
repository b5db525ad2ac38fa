//! The steps that bring a network interface up, and what each of them is given first. `ip` is busybox's
//! or iproute2's: only words that both know. Every VLAN of the agent is made here.

use std::fs;
use std::io;
use std::time::Duration;

use thiserror::Error;

use super::{Cmd, RunError, System};

/// Settings of IPv6; they are not there when the kernel runs without it.
pub const IPV6_SETTINGS: &str = "/proc/sys/net/ipv6/conf";
/// The status of `ip` for what is there already.
pub const EXISTS: i32 = 2;
/// None of these steps waits for anything outside of this machine.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupStep {
    /// Runs a program.
    Run(Cmd),
    /// Writes an attribute of the kernel.
    Write {
        /// Its file.
        path: String,
        /// What it shall be.
        value: String,
    },
}

/// Why a step of bringing an interface up failed.
#[derive(Debug, Error)]
pub enum StepRefused {
    /// A program failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The kernel does not take a setting.
    #[error("{path}: {value:?} is refused")]
    Write {
        /// The file of the setting.
        path: String,
        /// What was to be written there.
        value: String,
        /// What the kernel says.
        source: io::Error,
    },
}

impl SetupStep {
    /// Does it. A setting of IPv6 is nothing to do where the kernel runs without IPv6.
    ///
    /// # Errors
    /// The program failed, or the kernel does not take the setting.
    pub async fn carry_out(self, system: &System) -> Result<(), StepRefused> {
        match self {
            Self::Run(cmd) => {
                system.run.run(cmd).await?;
                Ok(())
            }
            Self::Write { path, .. }
                if path.starts_with(IPV6_SETTINGS) && !system.root.exists(IPV6_SETTINGS) =>
            {
                Ok(())
            }
            Self::Write { path, value } => {
                let written = system.root.writable(&path);
                let written = written.and_then(|file| fs::write(file, format!("{value}\n")));
                written.map_err(|source| StepRefused::Write {
                    path,
                    value,
                    source,
                })
            }
        }
    }
}

/// `ip` with these words.
#[must_use]
pub fn ip(words: &[&str]) -> Cmd {
    Cmd::new("ip").args(words.iter().copied()).timeout(TIMEOUT)
}

/// Makes a VLAN, unless it is there.
#[must_use]
pub fn add_vlan(name: &str, parent: &str, number: u16) -> SetupStep {
    let words = [
        "link", "add", "link", parent, "name", name, "type", "vlan", "id",
    ];
    SetupStep::Run(ip(&words).arg(number.to_string()).accept([0, EXISTS]))
}

/// Addresses of IPv6 may be used at once, as those of DHCPv4 are: nobody is asked whether they are
/// taken, which takes seconds on every link. What routers advertise is the DHCP client's to take.
#[must_use]
pub fn ipv6_settings(name: &str) -> Vec<SetupStep> {
    let setting = |setting: &str| SetupStep::Write {
        path: format!("{IPV6_SETTINGS}/{name}/{setting}"),
        value: "0".to_owned(),
    };
    vec![setting("accept_dad"), setting("accept_ra")]
}

/// Brings an interface up without addresses. The kernel would take those that routers advertise, and
/// their routes, as soon as there is a link.
#[must_use]
pub fn raise(name: &str) -> Vec<SetupStep> {
    let mut steps = ipv6_settings(name);
    steps.push(up(name));
    steps
}

/// Brings an interface up as it is.
#[must_use]
pub fn up(name: &str) -> SetupStep {
    SetupStep::Run(ip(&["link", "set", "dev", name, "up"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_raised_after_its_settings() {
        let steps = raise("eth0");
        let is_last = |step: &SetupStep| matches!(step, SetupStep::Run(cmd) if cmd.to_string() == "ip link set dev eth0 up");
        assert_eq!(steps.len(), 3);
        assert!(
            is_last(&steps[2]) && !steps[..2].iter().any(is_last),
            "{steps:?}"
        );
    }
}
