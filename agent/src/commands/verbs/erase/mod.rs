//! Erases disks, as a typed command says it. What is done is what the clean steps of that name do.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::document_fields::{DocumentFields, FieldProblem, InvalidOrderField};
use crate::commands::erase_order::{self, EraseGroup};
use crate::commands::failure::Failure;
use crate::commands::ordered_step::OrderedStep;
use crate::commands::plan::{CommandPlan, PlannedAction};
use crate::commands::root_device::disks;
use crate::machine::ironic_node::Node;
use crate::steps::StepPhase;
use crate::task::Task;

/// The verb with its arguments.
#[derive(Debug, Clone)]
pub struct Erase {
    fields: DocumentFields,
    groups: OnceLock<Vec<EraseGroup>>,
}

/// A group whose disks are known.
struct ChosenGroup {
    step: OrderedStep,
    /// Disks that are there and not meant.
    others: Vec<String>,
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
        let mut actions = Vec::new();
        for group in self.chosen(context).await? {
            let planned = group.step.plan(context).await?;
            actions.extend(planned.into_iter().filter(|action| group.is_meant(action)));
        }
        Ok(CommandPlan { actions })
    }

    /// Answers an `EraseResult`.
    ///
    /// # Errors
    /// A disk could not be erased, or must not be.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let mut found = JsonObject::new();
        for group in self.chosen(context).await? {
            let planned = group.step.plan(context).await?;
            let erased = planned.iter().filter(|action| action.destructive);
            let erased: BTreeSet<_> = erased.map(|action| action.device.clone()).collect();
            let answer = group.step.run(context, task).await?;
            for (device, reason) in left_alone(&answer) {
                if !group.others.contains(&device) {
                    let entry = entry(&device, "ERASE_OUTCOME_LEFT_ALONE", &reason);
                    found.insert(device, entry);
                }
            }
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
    async fn chosen(&self, context: &CommandContext) -> Result<Vec<ChosenGroup>, Failure> {
        let node = context.node.current();
        let devices = disks(context).await?;
        let mut taken: Vec<(String, String)> = Vec::new();
        let mut chosen = Vec::new();
        for group in self.groups()? {
            let mut own = Vec::new();
            for selector in group.disks.iter().flatten() {
                let disk = selector.choose(&devices, &node)?.name;
                if let Some((_, earlier)) = taken.iter().find(|(name, _)| *name == disk) {
                    return Err(InvalidOrderField {
                        path: selector.path.clone(),
                        problem: FieldProblem::SelectedTwice {
                            disk,
                            earlier: earlier.clone(),
                        },
                    }
                    .into());
                }
                taken.push((disk.clone(), selector.path.clone()));
                own.push(disk);
            }
            let names = devices.iter().map(|device| device.name.clone());
            let others = match &group.disks {
                Some(_) => names.filter(|name| !own.contains(name)).collect(),
                None => Vec::new(),
            };
            chosen.push(ChosenGroup {
                step: step(group, &node, &others),
                others,
            });
        }
        Ok(chosen)
    }
}

impl ChosenGroup {
    /// Whether an action is about a disk that is meant, and not about one that is left alone
    /// because it is not.
    fn is_meant(&self, action: &PlannedAction) -> bool {
        action.destructive || !self.others.contains(&action.device)
    }
}

fn step(group: &EraseGroup, node: &Node, others: &[String]) -> OrderedStep {
    OrderedStep {
        phase: StepPhase::Clean,
        interface: "deploy",
        name: group.policy.step,
        arguments: JsonObject::new(),
        node: group.policy.node(node, others),
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
