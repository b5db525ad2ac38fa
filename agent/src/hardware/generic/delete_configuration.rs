//! Step `delete_configuration`: the machine's software RAID goes, but for what the node's skip
//! list keeps.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::config::Config;
use crate::disk::keep::Fate;
use crate::disk::raid;
use crate::hardware::{Action, Description, Object, Offer, Phase, Step, StepContext, StepError};

/// The step.
#[derive(Debug)]
pub(super) struct DeleteConfiguration;

static DESCRIPTION: Description = Description {
    name: Cow::Borrowed("delete_configuration"),
    interface: Cow::Borrowed("raid"),
    reboot_requested: false,
    arguments: Cow::Borrowed(&[]),
};

impl Step for DeleteConfiguration {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: Phase, _config: &Config) -> Option<Offer> {
        (phase != Phase::Deploy).then(|| Offer::abortable_at(0))
    }

    fn plan<'a>(
        &'a self,
        ctx: StepContext<'a>,
        _arguments: &'a Object,
    ) -> BoxFuture<'a, Result<Vec<Action>, StepError>> {
        async move { actions(ctx).await }.boxed()
    }

    fn run<'a>(
        &'a self,
        ctx: StepContext<'a>,
        _arguments: &'a Object,
    ) -> BoxFuture<'a, Result<Value, StepError>> {
        async move {
            delete(ctx).await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

pub(super) async fn delete(ctx: StepContext<'_>) -> Result<(), StepError> {
    let guard = ctx.config.guard_special_filesystems;
    Ok(raid::delete(ctx.system, ctx.node, guard, ctx.task).await?)
}

pub(super) async fn actions(ctx: StepContext<'_>) -> Result<Vec<Action>, StepError> {
    let guard = ctx.config.guard_special_filesystems;
    let arrays = raid::plan_deletion(ctx.system, ctx.node, guard).await?;
    let actions = arrays.into_iter().map(|(array, fate)| {
        let name = &array.name;
        let description = match &fate {
            Fate::Keep => format!("Leave array {name} alone"),
            Fate::Wipe { because_of } => {
                format!("Wipe array {name}, which shares disks with {because_of}")
            }
            Fate::Delete => format!(
                "Remove array {name} and all that is on {}",
                array.disks.join(", ")
            ),
        };
        Action {
            description,
            destructive: fate != Fate::Keep,
            device: array.name,
        }
    });
    Ok(actions.collect())
}
