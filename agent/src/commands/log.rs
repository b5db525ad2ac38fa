//! Extension `log`: the log archive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Workplace;
use crate::failure::Failure;
use crate::logs::archive;

/// The log archive as Ironic takes it: `{"system_logs": base64 of a gzip of a tar}`.
///
/// # Errors
/// The archive cannot be made.
pub async fn collect_system_logs(place: &Workplace) -> Result<Value, Failure> {
    let archive = archive(place).await?;
    Ok(json!({ "system_logs": STANDARD.encode(archive) }))
}

/// The archive itself: a gzip of a tar.
///
/// # Errors
/// The archive cannot be made.
pub async fn archive(place: &Workplace) -> Result<Vec<u8>, Failure> {
    let config = place.config.current();
    archive::collect(&place.system, &config, None).await
}
