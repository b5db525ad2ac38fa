//! Which steps are offered, and by whom: of steps with one name only the best manager's.

use std::cmp::Reverse;

use ironic_document::JsonObject;
use serde_json::{Map, Value, json};

use crate::config::AgentConfig;
use crate::hardware::{Description, ManagerRegistry, Offer, StepPhase, Support};

/// A step as one manager offers it.
#[derive(Debug)]
struct Candidate<'a> {
    class: &'a str,
    support: Support,
    description: &'a Description,
    offer: Offer,
}

impl<'a> Candidate<'a> {
    /// The lowest rank wins: the best support, then the highest priority, then the first
    /// class name.
    fn rank(&self) -> (Reverse<Support>, Reverse<u32>, &'a str) {
        (
            Reverse(self.support),
            Reverse(self.offer.priority),
            self.class,
        )
    }

    fn to_json(&self) -> Value {
        let mut step = Map::new();
        step.insert("step".to_owned(), self.description.name.clone().into());
        step.insert("priority".to_owned(), self.offer.priority.into());
        step.insert(
            "interface".to_owned(),
            self.description.interface.clone().into(),
        );
        step.insert(
            "reboot_requested".to_owned(),
            self.description.reboot_requested.into(),
        );
        if let Some(abortable) = self.offer.abortable {
            step.insert("abortable".to_owned(), abortable.into());
        }
        let arguments: JsonObject = self
            .description
            .arguments
            .iter()
            .filter(|argument| argument.advertised)
            .map(|argument| {
                let entry = json!({
                    "description": argument.description,
                    "required": argument.required,
                });
                (argument.name.clone().into_owned(), entry)
            })
            .collect();
        if !arguments.is_empty() {
            step.insert("argsinfo".to_owned(), arguments.into());
        }
        step.into()
    }
}

/// The steps of a phase by the class names of their managers, best manager first, in the
/// managers' own order. Managers without a step are left out.
pub(super) fn collect(
    phase: StepPhase,
    registry: &ManagerRegistry,
    config: &AgentConfig,
) -> JsonObject {
    let candidates: Vec<Candidate<'_>> = registry
        .managers()
        .iter()
        .flat_map(|ranked| {
            ranked.manager.steps().into_iter().filter_map(|step| {
                Some(Candidate {
                    class: &ranked.manager.identity().class,
                    support: ranked.support,
                    description: step.description(),
                    offer: step.offer(phase, config)?,
                })
            })
        })
        .collect();
    let mut steps: JsonObject = Map::new();
    for candidate in &candidates {
        let beaten = candidates.iter().any(|other| {
            other.description.name == candidate.description.name && other.rank() < candidate.rank()
        });
        if !beaten {
            let list = steps
                .entry(candidate.class)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(candidate.to_json());
            }
        }
    }
    steps
}
