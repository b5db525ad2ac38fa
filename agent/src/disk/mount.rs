//! File systems of the deployed system, mounted for a moment.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::system::{Cmd, RunError, System};

/// How often a file system that is busy is asked to go.
const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Mounts `source` at `place`, an absolute path that is made if need be. Answers where that
/// is on this machine.
///
/// # Errors
/// What the system or `mount` said.
pub async fn mount(
    system: &System,
    options: &[&str],
    source: &str,
    place: &str,
) -> Result<PathBuf, RunError> {
    let path = system.root.path(place);
    let shown = path.display().to_string();
    let cmd = Cmd::new("mount")
        .args(options.iter().copied())
        .args([source, &shown]);
    fs::create_dir_all(&path).map_err(|error| RunError::Broken {
        command: cmd.to_string(),
        reason: error.to_string(),
    })?;
    system.run.run(cmd).await?;
    Ok(path)
}

/// Unmounts what is at `place`. It may stay busy for a moment.
///
/// # Errors
/// The last of three refusals.
pub async fn unmount(system: &System, place: &str) -> Result<(), RunError> {
    let shown = system.root.path(place).display().to_string();
    let mut attempt = 1;
    loop {
        match system.run.run(Cmd::new("umount").arg(&shown)).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
