//! Extension `standby`, and `image.install_bootloader`: images, power, the end of a deploy.

use serde_json::Value;

use super::{InstallBootloader, Object, Plan, Workplace};
use crate::failure::Failure;
use crate::task::Task;

fn missing() -> Failure {
    Failure::execution("This part of the agent is not built yet")
}

/// Checks what can be checked before `prepare_image` is admitted.
///
/// # Errors
/// `InvalidCommandParams`: the order is refused and leaves no record.
pub fn validate_image(_place: &Workplace, _image_info: &Object) -> Result<(), Failure> {
    Ok(())
}

/// Writes an image to the root device of the remembered node. Answers a sentence.
///
/// # Errors
/// Whatever keeps the image from being on the disk.
pub async fn prepare_image(
    _place: &Workplace,
    _task: &Task,
    _image_info: &Object,
    _configdrive: Option<&str>,
) -> Result<Value, Failure> {
    Err(missing())
}

/// What `prepare_image` would do.
///
/// # Errors
/// Whatever would keep it from starting.
pub async fn plan_prepare_image(
    _place: &Workplace,
    _image_info: &Object,
    _configdrive: Option<&str>,
) -> Result<Plan, Failure> {
    Err(missing())
}

/// Reboots. Answers null.
///
/// # Errors
/// `SystemReboot`.
pub async fn run_image(_place: &Workplace, _task: &Task) -> Result<Value, Failure> {
    Err(missing())
}

/// Powers off. Answers null.
///
/// # Errors
/// `SystemReboot`.
pub async fn power_off(_place: &Workplace, _task: &Task) -> Result<Value, Failure> {
    Err(missing())
}

/// Flushes caches to the disks. Answers null.
///
/// # Errors
/// The first hardware manager's that fails.
pub async fn sync(_place: &Workplace, _task: &Task) -> Result<Value, Failure> {
    Err(missing())
}

/// What the last image write left behind; an empty object before any.
#[must_use]
pub fn get_partition_uuids(_place: &Workplace) -> Value {
    Value::Object(Object::new())
}

/// Makes the firmware boot what was written. Answers null.
///
/// # Errors
/// Whatever keeps the machine from booting, unless failures are to be ignored.
pub async fn install_bootloader(
    _place: &Workplace,
    _task: &Task,
    _arguments: &InstallBootloader,
) -> Result<Value, Failure> {
    Err(missing())
}

/// What `install_bootloader` would do.
///
/// # Errors
/// Whatever would keep it from starting.
pub async fn plan_install_bootloader(
    _place: &Workplace,
    _arguments: &InstallBootloader,
) -> Result<Plan, Failure> {
    Err(missing())
}
