//! Erases disks, as a typed command says it. What is done is what the clean steps of that name do.

use std::sync::OnceLock;

use ironic_document::JsonObject;
use serde_json::{Value, json};

use chosen_group::{ChosenGroup, refuse_twice};

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::document_fields::DocumentFields;
use crate::commands::erase_order::{self, EraseGroup};
use crate::commands::failure::Failure;
use crate::commands::plan::CommandPlan;
use crate::commands::root_device::disks;
use crate::commands::step_context::wait_for_disks;
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::task::Task;

mod chosen_group;

/// The verb with its arguments.
#[derive(Debug, Clone)]
pub struct Erase {
    fields: DocumentFields,
    groups: OnceLock<Vec<EraseGroup>>,
}

impl Verb for Erase {
    fn read(arguments: VerbArguments) -> Option<Self> {
        let path = arguments.verb().verb;
        Some(Self {
            fields: DocumentFields::new(path, arguments.named()),
            groups: OnceLock::new(),
        })
    }

    fn check(&self, _context: &CommandContext) -> Result<(), Failure> {
        self.groups().map(drop)
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let (node, devices) = (context.node.current(), disks(context).await?);
        let mut actions = Vec::new();
        for group in self.chosen(&devices, &node)? {
            let group = group.ready(&devices, &node)?;
            let planned = group.step.plan(context, Some(&group.ordered)).await?;
            let planned = planned.into_iter();
            actions.extend(planned.filter(|action| group.is_meant_by(action)));
        }
        Ok(CommandPlan { actions })
    }

    /// Answers an `EraseResult`.
    ///
    /// # Errors
    /// A disk could not be erased, or must not be.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let (node, config) = (context.node.current(), context.config.current());
        wait_for_disks(context, &config, &node).await;
        let devices = disks(context).await?;
        let mut found = JsonObject::new();
        for group in self.chosen(&devices, &node)? {
            // The former group may have taken hours.
            let group = group.ready(&disks(context).await?, &node)?;
            let planned = group.step.plan(context, Some(&group.ordered)).await?;
            let answer = group.step.run(context, task, Some(&group.ordered)).await?;
            for (device, reason) in left_alone(&answer) {
                if group.is_meant(&device) {
                    let entry = entry(&device, "ERASE_OUTCOME_LEFT_ALONE", &reason);
                    found.insert(device, entry);
                }
            }
            // A manager that is a program of its own does not say what it selected.
            let erased = group.ordered.selected().unwrap_or_else(|| {
                let planned = planned.into_iter().filter(|action| action.destructive);
                planned.map(|action| action.device).collect()
            });
            for device in erased {
                let entry = entry(&device, "ERASE_OUTCOME_ERASED", "");
                found.entry(device).or_insert(entry);
            }
        }
        let entries = found.into_iter().map(|(_, entry)| entry);
        Ok(json!({"disks": entries.collect::<Vec<_>>()}))
    }
}

impl Erase {
    fn groups(&self) -> Result<&[EraseGroup], Failure> {
        if let Some(groups) = self.groups.get() {
            return Ok(groups);
        }
        let groups = erase_order::groups(&self.fields)?;
        Ok(self.groups.get_or_init(|| groups))
    }

    /// The groups with their disks, of which none is in two.
    fn chosen(
        &self,
        devices: &[BlockDevice],
        node: &Node,
    ) -> Result<Vec<ChosenGroup<'_>>, Failure> {
        let groups = self.groups()?.iter();
        let chosen = groups.map(|group| ChosenGroup::new(group, devices, node));
        let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
        refuse_twice(&chosen)?;
        Ok(chosen)
    }
}

/// What a step says that it left alone, and why.
fn left_alone(answer: &Value) -> Vec<(String, String)> {
    let entries = answer.get("left_alone").unwrap_or(answer).as_object();
    let entries = entries.into_iter().flatten();
    let left = entries.filter_map(|(device, reason)| {
        let reason = reason.as_str()?;
        let reason = reason.strip_prefix("left alone: ").unwrap_or(reason);
        Some((device.clone(), reason.to_owned()))
    });
    left.collect()
}

fn entry(device: &str, outcome: &str, reason: &str) -> Value {
    json!({"device": device, "outcome": outcome, "reason": reason})
}

#[cfg(test)]
mod tests;
