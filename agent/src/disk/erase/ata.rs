//! ATA secure erase by `hdparm`: the drive erases itself, if its security state lets us. The
//! states are those of the ATA command set's security feature.

use std::time::Duration;

use ironic_text::error_chain;

use super::run::{EraseWatch, text_of};
use crate::disk::erase::error::MethodError;
use crate::system::{Cmd, RunError, System};

/// What our password is while a drive erases itself. Old versions of `hdparm` take the word
/// literally, newer ones as an empty password.
const PASSWORDS: [&str; 2] = ["NULL", ""];

/// The security state of a drive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    lines: Vec<String>,
    /// How long a plain and an enhanced erase take, as the drive says.
    times: (Option<Duration>, Option<Duration>),
}

impl Security {
    /// Reads what `hdparm -I` prints; a drive without the feature has an empty state.
    #[must_use]
    pub fn parse(output: &str) -> Self {
        let after = output
            .lines()
            .skip_while(|line| line.trim_end() != "Security:")
            .skip(1)
            .take_while(|line| line.starts_with('\t'));
        let lines: Vec<String> = after.map(|line| line.trim().replace('\t', " ")).collect();
        Self {
            times: lines
                .iter()
                .map(|line| times(line))
                .fold((None, None), |(plain, enhanced), (p, e)| {
                    (plain.or(p), enhanced.or(e))
                }),
            lines,
        }
    }

    fn says(&self, line: &str) -> bool {
        self.lines.iter().any(|known| known == line)
    }

    /// Whether the drive has the feature.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.says("supported")
    }

    /// Whether firmware has frozen the state: it stays until the drive loses power.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        !self.says("not frozen")
    }

    /// Whether a password must be given.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !self.says("not locked")
    }

    /// Whether a password is set.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.says("not enabled")
    }

    /// Whether the drive can also erase what it has set aside.
    #[must_use]
    pub fn is_enhanced(&self) -> bool {
        !self.says("not supported: enhanced erase")
    }

    /// How long the better erase takes, as the drive says.
    #[must_use]
    pub fn estimate(&self) -> Option<Duration> {
        if self.is_enhanced() {
            self.times.1.or(self.times.0)
        } else {
            self.times.0
        }
    }
}

/// `24min for SECURITY ERASE UNIT. 26min for ENHANCED SECURITY ERASE UNIT.`
fn times(line: &str) -> (Option<Duration>, Option<Duration>) {
    let (mut plain, mut enhanced) = (None, None);
    for sentence in line.split('.') {
        let Some((minutes, what)) = sentence.trim().split_once("min for ") else {
            continue;
        };
        // "more than 508min": the drive cannot say how long.
        let minutes = minutes.trim().parse::<u64>().ok();
        let time = minutes.map(|minutes| Duration::from_secs(60 * minutes));
        match what {
            "SECURITY ERASE UNIT" => plain = time,
            "ENHANCED SECURITY ERASE UNIT" => enhanced = time,
            _ => {}
        }
    }
    (plain, enhanced)
}

/// Asks a drive for its state. `None`: it does not have the feature, or something between us
/// and it may not pass the commands on.
pub(super) async fn inspect(system: &System, device: &str) -> Option<Security> {
    let security = state(system, device).await;
    let smart = Cmd::new("smartctl")
        .args(["-d", "ata", device, "-g", "security"])
        .accept([0, 127]);
    let bridged = match system.run.run(smart).await {
        // A SAS bridge in front of a SATA drive answers `hdparm` and drops the erase.
        Ok(output) => text_of(&output).contains("Unavailable"),
        Err(RunError::Missing { .. }) => false,
        Err(error) => {
            tracing::debug!(device, %error, "is not spoken to as an ATA drive");
            true
        }
    };
    let security = security.ok().filter(Security::is_supported)?;
    (!bridged).then_some(security)
}

async fn state(system: &System, device: &str) -> Result<Security, RunError> {
    let output = system
        .run
        .run(Cmd::new("hdparm").args(["-I", device]))
        .await?;
    Ok(Security::parse(&output.text()))
}

/// Lets the drive erase itself and waits for it.
///
/// # Errors
/// Why it is not erased, for a person. The password is gone from the drive if it let us.
pub(super) async fn erase(
    system: &System,
    device: &str,
    security: &Security,
    watch: &EraseWatch<'_>,
) -> Result<(), MethodError> {
    let mut security = security.clone();
    if security.is_locked() {
        security = unlock(system, device, security).await?;
        if security.is_locked() {
            return Err(MethodError::Locked);
        }
    }
    if !security.is_enabled() {
        security_command(system, device, &["--security-set-pass", PASSWORDS[0]])
            .await
            .map_err(MethodError::NoPassword)?;
        // What is between us and the drive may drop commands, and then the erase, too.
        let checked = match state(system, device).await {
            Ok(after) if after.is_enabled() => Ok(()),
            Ok(_) => Err(MethodError::PasswordDropped),
            Err(error) => Err(MethodError::SecurityUnknown(error)),
        };
        if checked.is_err() {
            clean_up(system, device).await;
            return checked;
        }
    }
    let option = if security.is_enhanced() {
        "--security-erase-enhanced"
    } else {
        "--security-erase"
    };
    let command = hdparm(device, &[option, PASSWORDS[0]]);
    if let Err(error) = watch.run(system, command, security.estimate()).await {
        clean_up(system, device).await;
        return Err(MethodError::NotErased(Box::new(error)));
    }
    let after = state(system, device)
        .await
        .map_err(MethodError::SecurityLost)?;
    if after.is_enabled() {
        clean_up(system, device).await;
        return Err(MethodError::PasswordStays);
    }
    Ok(())
}

fn hdparm(device: &str, arguments: &[&str]) -> Cmd {
    Cmd::new("hdparm")
        .args(["--user-master", "u"])
        .args(arguments.iter().copied())
        .arg(device)
}

async fn security_command(
    system: &System,
    device: &str,
    arguments: &[&str],
) -> Result<(), RunError> {
    system.run.run(hdparm(device, arguments)).await.map(|_| ())
}

/// Unlocks a drive that an erase which was interrupted left locked: it answers no read before.
/// Answers whether it was one. Nothing on the drive changes.
///
/// # Errors
/// It stays locked, or does not tell its state.
pub(super) async fn unlock_interrupted(system: &System, device: &str) -> Result<bool, MethodError> {
    // What does not answer is no ATA drive, or is broken.
    let Ok(security) = state(system, device).await else {
        return Ok(false);
    };
    if !security.is_supported() || !security.is_locked() || security.is_frozen() {
        return Ok(false);
    }
    let security = unlock(system, device, security).await?;
    if security.is_locked() {
        return Err(MethodError::Locked);
    }
    Ok(true)
}

/// Tries our passwords: an erase that was interrupted leaves one behind.
async fn unlock(
    system: &System,
    device: &str,
    mut security: Security,
) -> Result<Security, MethodError> {
    for password in PASSWORDS {
        if !security.is_locked() {
            break;
        }
        let arguments = ["--security-unlock", password];
        if let Err(error) = security_command(system, device, &arguments).await {
            tracing::info!(device, %error, "not unlocked");
        }
        security = state(system, device)
            .await
            .map_err(MethodError::SecurityUnknown)?;
    }
    Ok(security)
}

/// A drive that keeps our password is lost to its next user.
async fn clean_up(system: &System, device: &str) {
    let cleaned = async {
        let security = state(system, device).await?;
        let security = unlock(system, device, security).await?;
        if security.is_enabled() && !security.is_locked() {
            security_command(system, device, &["--security-disable", PASSWORDS[0]]).await?;
        }
        Ok::<_, MethodError>(security.is_locked())
    };
    match cleaned.await {
        Ok(false) => {}
        Ok(true) => tracing::error!(device, "the drive stays locked with the password NULL"),
        Err(error) => {
            let error = error_chain(&error);
            tracing::error!(device, error, "the drive may keep the password NULL");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What `hdparm -I` prints, with these lines as its security section.
    pub(crate) fn identity(lines: &[&str]) -> String {
        let section: String = lines.iter().map(|line| format!("\t{line}\n")).collect();
        format!(
            "/dev/sda:\n\nATA device, with non-removable media\n\tModel Number:  X\n\
             Security: \n{section}Logical Unit WWN Device Identifier: 5000\n\tsupported\n"
        )
    }

    pub(crate) const READY: [&str; 8] = [
        "Master password revision code = 65534",
        "\tsupported",
        "not\tenabled",
        "not\tlocked",
        "not\tfrozen",
        "not\texpired: security count",
        "\tsupported: enhanced erase",
        "24min for SECURITY ERASE UNIT. 26min for ENHANCED SECURITY ERASE UNIT.",
    ];

    #[test]
    fn the_state_is_read_as_printed() {
        let state = Security::parse(&identity(&READY));
        assert!(state.is_supported() && state.is_enhanced());
        assert!(!state.is_frozen() && !state.is_locked() && !state.is_enabled());
        assert_eq!(state.estimate(), Some(Duration::from_secs(26 * 60)));

        let other = [
            "\tsupported",
            "\tenabled",
            "\tlocked",
            "\tfrozen",
            "not\tsupported: enhanced erase",
            "more than 508min for SECURITY ERASE UNIT.",
        ];
        let state = Security::parse(&identity(&other));
        assert!(state.is_supported() && !state.is_enhanced());
        assert!(state.is_frozen() && state.is_locked() && state.is_enabled());
        assert_eq!(state.estimate(), None);

        // The word elsewhere does not count.
        for output in ["", "/dev/vda:\n", &identity(&["not\tsupported"])] {
            assert!(!Security::parse(output).is_supported(), "{output}");
        }
    }
}
