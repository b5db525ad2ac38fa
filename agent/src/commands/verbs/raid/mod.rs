//! Makes or removes software RAID, as a typed command says it. What is done is what the RAID steps
//! do.

use std::sync::OnceLock;

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::Verb;
use crate::commands::arguments::VerbArguments;
use crate::commands::context::CommandContext;
use crate::commands::disk_selector::DiskSelector;
use crate::commands::document_fields::{DocumentFields, FieldProblem, InvalidOrderField};
use crate::commands::failure::Failure;
use crate::commands::ordered_step::OrderedStep;
use crate::commands::plan::CommandPlan;
use crate::disk::raid::plan::{RaidConfigProblem, VolumeProblem};
use crate::disk::raid::{self, RaidError};
use crate::machine::ironic_node::Node;
use crate::steps::StepPhase;
use crate::task::Task;

/// Levels in the protocol and in Ironic's documents, and the fewest disks.
const LEVELS: [(&str, &str, usize); 5] = [
    ("RAID_LEVEL_0", "0", 1),
    ("RAID_LEVEL_1", "1", 2),
    ("RAID_LEVEL_10", "1+0", 2),
    ("RAID_LEVEL_5", "5", 3),
    ("RAID_LEVEL_6", "6", 4),
];
/// Volumes that fit on disks of the machine.
const MAX_VOLUMES: usize = 2;

/// The verb with its arguments.
#[derive(Debug, Clone)]
pub struct Raid {
    fields: DocumentFields,
    order: OnceLock<RaidOrder>,
}

/// What the arguments ask for.
#[derive(Debug, Clone)]
struct RaidOrder {
    /// Ironic's `logical_disks`.
    volumes: Vec<Value>,
    keeps_existing: bool,
}

impl Verb for Raid {
    fn read(arguments: VerbArguments) -> Option<Self> {
        let path = arguments.verb().verb;
        Some(Self {
            fields: DocumentFields::new(path, arguments.named()),
            order: OnceLock::new(),
        })
    }

    fn check(&self, context: &CommandContext) -> Result<(), Failure> {
        let order = self.order()?;
        let fitting = order.fit(&self.fields, &context.node.current());
        Ok(fitting?)
    }

    async fn plan(&self, context: &CommandContext) -> Result<CommandPlan, Failure> {
        let step = self.order()?.step(&context.node.current());
        let actions = step.plan(context, None).await?;
        Ok(CommandPlan { actions })
    }

    /// Answers a `RaidResult`.
    ///
    /// # Errors
    /// The RAID cannot be made or removed.
    async fn run(self, context: &CommandContext, task: &Task) -> Result<Value, Failure> {
        let step = self.order()?.step(&context.node.current());
        let answer = step.run(context, task, None).await?;
        let volumes = answer.get("logical_disks").and_then(Value::as_array);
        let volumes = volumes.into_iter().flatten().map(made);
        Ok(json!({"volumes": volumes.collect::<Vec<_>>()}))
    }
}

impl Raid {
    fn order(&self) -> Result<&RaidOrder, Failure> {
        if let Some(order) = self.order.get() {
            return Ok(order);
        }
        let order = RaidOrder::read(&self.fields)?;
        Ok(self.order.get_or_init(|| order))
    }
}

impl RaidOrder {
    fn read(fields: &DocumentFields) -> Result<Self, InvalidOrderField> {
        let keeps_existing = fields.flag("keep_existing");
        let given = fields.documents("volumes");
        if given.is_empty() && keeps_existing {
            let problem = FieldProblem::Missing("with keep_existing there is nothing to do");
            return Err(fields.invalid("volumes", problem));
        }
        if given.len() > MAX_VOLUMES {
            return Err(fields.must_be("volumes", "at most two", given.len()));
        }
        let mut roots = given.iter().filter(|volume| volume.flag("is_root"));
        if let (Some(_), Some(second)) = (roots.next(), roots.next()) {
            let expected = "true for one volume at most";
            return Err(second.must_be("is_root", expected, true));
        }
        if let [first, _] = given.as_slice()
            && first.number("size_gib").is_none()
        {
            let problem = FieldProblem::Missing("only the last volume takes what is left");
            return Err(first.invalid("size_gib", problem));
        }
        let volumes = given.iter().map(volume).collect::<Result<_, _>>()?;
        Ok(Self {
            volumes,
            keeps_existing,
        })
    }

    /// Ironic's `raid_config`.
    fn config(&self) -> Value {
        json!({"logical_disks": self.volumes})
    }

    /// Whether the step would take the volumes, on this node.
    fn fit(&self, fields: &DocumentFields, node: &Node) -> Result<(), InvalidOrderField> {
        if self.volumes.is_empty() {
            return Ok(());
        }
        match raid::validate(node, &self.config()) {
            Err(RaidError::Config { source, .. }) => match source.0.first() {
                Some(problem) => Err(unfit(fields, problem)),
                None => Ok(()),
            },
            // What the disks say is found out when they are looked at.
            _ => Ok(()),
        }
    }

    fn step(&self, node: &Node) -> OrderedStep {
        let (name, arguments) = if self.volumes.is_empty() {
            ("delete_configuration", JsonObject::new())
        } else {
            let arguments = [
                ("raid_config".to_owned(), self.config()),
                ("delete_existing".to_owned(), (!self.keeps_existing).into()),
            ];
            ("apply_configuration", JsonObject::from_iter(arguments))
        };
        OrderedStep {
            phase: StepPhase::Service,
            interface: "raid",
            name,
            arguments,
            node: node.clone(),
        }
    }
}

/// What is wrong with a volume, by the field of the order that says so.
fn unfit(fields: &DocumentFields, problem: &RaidConfigProblem) -> InvalidOrderField {
    let given = fields.documents("volumes");
    let (index, wrong) = match problem {
        RaidConfigProblem::Volume { index, problem } => (*index, Some(problem)),
        _ => (0, None),
    };
    let found =
        |volume: &DocumentFields, name: &str| volume.text(name).unwrap_or_default().to_owned();
    match (given.get(index), wrong) {
        (Some(first), None) if *problem == RaidConfigProblem::NotBootable => {
            let expected = "RAID_LEVEL_1 of the first volume, from which machines boot";
            first.must_be("level", expected, found(first, "level"))
        }
        (Some(volume), Some(VolumeProblem::Name(_))) => {
            let expected = "up to 32 letters, digits, '.', '_' and '-', the last not in front";
            volume.must_be("name", expected, found(volume, "name"))
        }
        (Some(volume), Some(VolumeProblem::NameTwice(_))) => {
            let expected = "another name than that of the first volume";
            volume.must_be("name", expected, found(volume, "name"))
        }
        (Some(volume), Some(VolumeProblem::NoName)) => {
            let why = "properties/skip_block_devices of the node keeps volumes by name";
            volume.invalid("name", FieldProblem::Missing(why))
        }
        _ => fields.must_be("volumes", "volumes of software RAID", problem),
    }
}

/// A volume as Ironic's document has it.
fn volume(fields: &DocumentFields) -> Result<Value, InvalidOrderField> {
    let level = fields.text("level").unwrap_or("RAID_LEVEL_UNSPECIFIED");
    let Some((_, level, fewest)) = LEVELS.iter().find(|(name, ..)| *name == level) else {
        let expected = "RAID_LEVEL_0, RAID_LEVEL_1, RAID_LEVEL_10, RAID_LEVEL_5 or RAID_LEVEL_6";
        return Err(fields.must_be("level", expected, level));
    };
    let size = match fields.number("size_gib") {
        None => Value::from("MAX"),
        Some(0) => return Err(fields.must_be("size_gib", "at least 1, or absent", 0)),
        Some(gib) => gib.into(),
    };
    let mut volume = JsonObject::from_iter([
        ("size_gb".to_owned(), size),
        ("raid_level".to_owned(), (*level).into()),
        ("controller".to_owned(), "software".into()),
    ]);
    if let Some(name) = fields.text("name") {
        volume.insert("volume_name".to_owned(), name.into());
    }
    if fields.flag("is_root") {
        volume.insert("is_root_volume".to_owned(), true.into());
    }
    let disks = fields.documents("disks");
    let fewest = fewest.max(&2);
    if !disks.is_empty() && disks.len() < *fewest {
        let expected = "none, for all disks, or as many as the level needs";
        return Err(fields.must_be("disks", expected, disks.len()));
    }
    if !disks.is_empty() {
        let hints = disks
            .iter()
            .map(|disk| Ok(DiskSelector::read(disk)?.hints))
            .collect::<Result<Vec<_>, InvalidOrderField>>()?;
        volume.insert("physical_disks".to_owned(), hints.into());
    }
    Ok(volume.into())
}

/// A volume as a `MadeRaidVolume` has it.
fn made(volume: &Value) -> Value {
    let level = volume.get("raid_level").and_then(Value::as_str);
    let level = LEVELS.iter().find(|(_, ironic, _)| Some(*ironic) == level);
    json!({
        "name": volume.get("volume_name").cloned().unwrap_or_default(),
        "level": level.map_or("RAID_LEVEL_UNSPECIFIED", |(name, ..)| *name),
        "disks": volume.get("block_devices").cloned().unwrap_or_else(|| json!([])),
    })
}

#[cfg(test)]
mod tests;
