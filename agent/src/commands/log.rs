//! Extension `log`: the log archive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Workplace;
use crate::failure::Failure;
use crate::task::Task;

/// The log archive as Ironic takes it: `{"system_logs": base64 of a gzip of a tar}`.
///
/// # Errors
/// The archive cannot be made.
pub async fn collect_system_logs(place: &Workplace, task: &Task) -> Result<Value, Failure> {
    let archive = archive(place, task).await?;
    Ok(json!({ "system_logs": STANDARD.encode(archive) }))
}

/// The archive itself: a gzip of a tar.
///
/// # Errors
/// The archive cannot be made.
pub async fn archive(_place: &Workplace, _task: &Task) -> Result<Vec<u8>, Failure> {
    Err(Failure::execution(
        "This part of the agent is not built yet",
    ))
}
