//! Step `apply_configuration`: removes the software RAID that there is and makes another.

use std::borrow::Cow;

use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use super::{create_configuration, delete_configuration};
use crate::config::AgentConfig;
use crate::disk::raid;
use crate::hardware::{
    Argument, ArgumentKind, Description, Offer, PlanFuture, RunFuture, Step, StepContext, StepPhase,
};

/// The step.
#[derive(Debug)]
pub(super) struct ApplyConfiguration;

static DESCRIPTION: Description = Description {
    name: Cow::Borrowed("apply_configuration"),
    interface: Cow::Borrowed("raid"),
    reboot_requested: false,
    arguments: Cow::Borrowed(&[
        Argument {
            name: Cow::Borrowed("raid_config"),
            description: Cow::Borrowed("The RAID configuration to apply."),
            required: true,
            kind: ArgumentKind::Object,
            advertised: true,
        },
        Argument {
            name: Cow::Borrowed("delete_existing"),
            description: Cow::Borrowed(
                "Whether the existing RAID configuration is removed first; true by default.",
            ),
            required: false,
            kind: ArgumentKind::Flag,
            advertised: true,
        },
    ]),
};

impl Step for ApplyConfiguration {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, _config: &AgentConfig) -> Option<Offer> {
        (phase != StepPhase::Clean).then(|| Offer::at(0))
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let (config, deletes) = read(arguments);
            let mut actions = Vec::new();
            if deletes {
                actions = delete_configuration::actions(ctx).await?;
            }
            let creation = create_configuration::plan(ctx, config, deletes).await?;
            actions.extend(
                creation
                    .layout
                    .iter()
                    .flat_map(create_configuration::actions),
            );
            Ok(actions)
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let (config, deletes) = read(arguments);
            raid::validate(ctx.node, config)?;
            if deletes {
                // What is wrong is found before anything is removed.
                create_configuration::plan(ctx, config, true).await?;
                delete_configuration::delete(ctx).await?;
            }
            create_configuration::create(ctx, config).await
        }
        .boxed()
    }
}

fn read(arguments: &JsonObject) -> (&Value, bool) {
    let deletes = arguments.get("delete_existing").and_then(Value::as_bool);
    let config = arguments.get("raid_config").unwrap_or(&Value::Null);
    (config, deletes.unwrap_or(true))
}
