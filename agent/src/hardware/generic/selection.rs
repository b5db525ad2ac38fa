//! Which devices a step erases, and what it says about the others.

use std::collections::BTreeSet;

use ironic_document::JsonObject;
use serde_json::{Value, json};

use crate::disk::erase::guard::{self, Scope, Selection};
use crate::failure::Failure;
use crate::hardware::{OrderedDisks, PlannedAction, StepContext};

/// The devices that may be erased. An order hears which they are.
pub(super) async fn select(ctx: StepContext<'_>, scope: Scope) -> Result<Selection, Failure> {
    let guard = ctx.config.guard_special_filesystems;
    let named = ctx.ordered.and_then(OrderedDisks::named);
    let selection = guard::select_ordered(ctx.system, ctx.node, guard, scope, named).await?;
    if let Some(ordered) = ctx.ordered {
        ordered.note_selected(names(&selection));
    }
    Ok(selection)
}

/// The names of what is erased or stopped.
fn names(selection: &Selection) -> BTreeSet<String> {
    let erasable = selection.erasable.iter();
    let names = erasable.map(|erasable| erasable.device().name.clone());
    names.chain(selection.firmware.to_stop.clone()).collect()
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
