//! Sanitizing SCSI drives by the programs of sg3_utils: the drive erases itself, what it has
//! set aside included. SBC-4, the command SANITIZE (48h).

use futures_util::FutureExt as _;

use super::nvme::Sanitize;
use super::run::{EraseState, EraseWatch, LOOK, text_of};
use crate::disk::erase::error::{MethodError, StatusError};
use crate::system::{Cmd, RunError, System};

/// `sg_turs` ends with this status when the drive is not ready.
const NOT_READY: i32 = 2;
/// And with these after the bus was reset and when a command was aborted: nothing is wrong.
const ASK_AGAIN: [i32; 2] = [6, 11];
/// With this one when its medium is damaged.
const MEDIUM_ERROR: i32 = 3;

/// Kinds with the service action by which a drive says that it has them, best first.
const KINDS: [(Sanitize, u8, &str); 3] = [
    (Sanitize::Cryptographic, 3, "--crypto"),
    (Sanitize::Block, 2, "--block"),
    (Sanitize::Overwrite, 1, "--overwrite"),
];

/// The best sanitize that a drive has, if it has one and can be asked.
pub(super) async fn inspect(system: &System, device: &str) -> Option<Sanitize> {
    for (kind, service_action, _) in KINDS {
        let opcode = format!("--opcode=0x48,{service_action}");
        let command = Cmd::new("sg_opcodes").args([opcode.as_str(), device]);
        match system.run.run(command).await {
            Ok(output) if is_supported(&output.text()) => return Some(kind),
            Ok(_) | Err(RunError::Failed { .. }) => {}
            Err(error) => {
                tracing::debug!(device, %error, "is not asked whether it sanitizes itself");
                return None;
            }
        }
    }
    None
}

/// `Command is supported [conforming to SCSI standard]`, of newer and older versions.
fn is_supported(output: &str) -> bool {
    output.lines().any(|line| {
        let line = line.trim();
        line.starts_with("Command is supported") || line.starts_with("Command supported")
    })
}

/// Sanitizes a drive and waits until it is done.
pub(super) async fn sanitize(
    system: &System,
    device: &str,
    action: Sanitize,
    watch: &EraseWatch<'_>,
) -> Result<(), MethodError> {
    let options = KINDS.iter().filter(|(kind, ..)| *kind == action);
    let mut command = Cmd::new("sg_sanitize").args(options.map(|(_, _, option)| *option));
    if action == Sanitize::Overwrite {
        command = command.arg("--zero");
    }
    let command = command.args(["--quick", "--early", device]);
    watch.run(system, command, None).await?;
    watch.poll(|| look(system, device).boxed()).await
}

/// Where a sanitize stands: a drive that is ready again is done.
async fn look(system: &System, device: &str) -> Result<EraseState, MethodError> {
    let command = Cmd::new("sg_turs")
        .args(["--progress", device])
        .accept([0, NOT_READY, ASK_AGAIN[0], ASK_AGAIN[1]])
        .timeout(LOOK);
    let output = match system.run.run(command).await {
        Ok(output) => output,
        Err(
            error @ RunError::Failed {
                status: MEDIUM_ERROR,
                ..
            },
        ) => return Err(MethodError::MediumError(error)),
        Err(error) => return Ok(EraseState::Unknown(error.into())),
    };
    Ok(match (progress(&text_of(&output)), output.status) {
        (Some(done), _) => EraseState::At(done),
        (None, 0) => EraseState::Done,
        (None, NOT_READY) => EraseState::At(0),
        (None, _) => EraseState::Unknown(StatusError::Condition(text_of(&output))),
    })
}

/// `Progress indication: 45.21% done` in thousandths.
fn progress(text: &str) -> Option<u64> {
    let rest = text.split("rogress indication:").nth(1)?;
    let percent = rest.split('%').next()?.trim();
    let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
    let tenth = part.chars().next()?.to_digit(10)?;
    Some(whole.parse::<u64>().ok()? * 10 + u64::from(tenth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn support_and_progress_are_read() {
        for (text, supported) in [
            (
                "\n  Opcode=0x48  Service_action=0x1\n  Command is supported [conforming to SCSI standard]\n",
                true,
            ),
            ("  Command supported [conforming to SCSI standard]\n", true),
            ("  Command is not supported\n", false),
            ("", false),
        ] {
            assert_eq!(is_supported(text), supported, "{text}");
        }
        for (text, done) in [
            ("Progress indication: 45.21% done\n", Some(452)),
            ("Progress indication: 7% done", Some(70)),
            ("device not ready, progress indication: 0.00% done", Some(0)),
            ("", None),
            ("Progress indication: soon", None),
        ] {
            assert_eq!(progress(text), done, "{text}");
        }
    }
}
