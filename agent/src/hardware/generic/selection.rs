//! Which devices a step erases, and what it says about the others.

use ironic_document::JsonObject;
use serde_json::{Value, json};

use crate::disk::erase::guard::{self, Scope, Selection};
use crate::failure::Failure;
use crate::hardware::{PlannedAction, StepContext};

/// The devices that may be erased.
pub(super) async fn select(ctx: StepContext<'_>, scope: Scope) -> Result<Selection, Failure> {
    let guard = ctx.config.guard_special_filesystems;
    Ok(guard::select(ctx.system, ctx.node, guard, scope).await?)
}

/// The arrays of firmware that are stopped, for a dry run.
pub(super) fn stopped(selection: &Selection) -> Vec<PlannedAction> {
    let arrays = selection.firmware.to_stop.iter();
    let action = |name: &String| PlannedAction {
        description: format!("Stop array {name}, whose disks are erased"),
        device: name.clone(),
        destructive: true,
    };
    arrays.map(action).collect()
}

/// What is not touched and why, for the result, which must not look as if it were erased.
pub(super) fn left_alone_entries(
    selection: &Selection,
) -> impl Iterator<Item = (String, Value)> + '_ {
    let left = selection.left_alone.iter();
    left.map(|(name, reason)| (name.clone(), Value::from(format!("left alone: {reason}"))))
}

/// The result of a step that has none but this.
pub(super) fn left_alone_result<'a>(
    left_alone: impl IntoIterator<Item = &'a (String, String)>,
) -> Value {
    let entries: JsonObject = left_alone
        .into_iter()
        .map(|(name, reason)| (name.clone(), Value::from(reason.clone())))
        .collect();
    if entries.is_empty() {
        return Value::Null;
    }
    json!({ "left_alone": entries })
}

/// What is not touched and why, for a dry run.
pub(super) fn left_alone(selection: &Selection) -> impl Iterator<Item = PlannedAction> + '_ {
    selection
        .left_alone
        .iter()
        .map(|(name, reason)| PlannedAction {
            description: format!("Leave {name} alone: {reason}"),
            device: name.clone(),
            destructive: false,
        })
}
