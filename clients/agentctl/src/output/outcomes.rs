//! What became of several nodes, and why some of them failed.

use ironic_text::{error_chain, printable};
use serde_json::{Value, json};

use super::message::to_json;
use super::{OutputError, Printer};
use crate::error::ControlError;
use crate::exit_kind::ExitKind;
use crate::targets::{NodeOutcomes, NodeRef};

impl Printer {
    /// Writes what became of several nodes, says on standard error what failed, and answers how
    /// they ended together.
    ///
    /// # Errors
    /// As [`Printer::text`].
    pub(crate) fn outcomes<T>(
        &self,
        outcomes: &NodeOutcomes<T>,
        value: impl Fn(&T) -> Result<Value, OutputError>,
        table: impl FnOnce(&[(&NodeRef, &T)]) -> String,
    ) -> Result<ExitKind, OutputError> {
        let document = || {
            let entries = outcomes.iter().map(|(node, outcome)| {
                let mut entry = json!({"node": {"uuid": node.uuid, "name": node.name}});
                match outcome {
                    Ok(result) => entry["result"] = value(result)?,
                    Err(error) => entry["error"] = failure(error)?,
                }
                Ok(entry)
            });
            entries
                .collect::<Result<Vec<_>, OutputError>>()
                .map(Value::Array)
        };
        let good: Vec<_> = outcomes
            .iter()
            .filter_map(|(node, outcome)| Some((node, outcome.as_ref().ok()?)))
            .collect();
        let names = || {
            good.iter()
                .map(|(node, _)| printable(node.shown()).into_owned())
                .collect()
        };
        let rows = || {
            if good.is_empty() {
                String::new()
            } else {
                table(&good)
            }
        };
        self.whole(document, names, rows)?;
        for (node, outcome) in outcomes {
            if let Err(error) = outcome {
                complain(Some(node), error);
            }
        }
        let kinds = outcomes.iter().map(|(_, outcome)| match outcome {
            Ok(_) => ExitKind::Done,
            Err(error) => error.kind(),
        });
        Ok(ExitKind::of_several(kinds))
    }
}

/// Says on standard error why a node failed, and what to do next.
pub(crate) fn complain(node: Option<&NodeRef>, error: &ControlError) {
    let prefix = node.map_or_else(String::new, |node| format!("{}: ", node.shown()));
    let line = format!("agentctl: {prefix}{}", error_chain(error));
    eprintln!("{}", printable(&line));
    if let Some(advice) = error.advice() {
        eprintln!("  {}", printable(&advice));
    }
}

/// A failure in `-o json`.
fn failure(error: &ControlError) -> Result<Value, OutputError> {
    let kind = error.kind();
    let mut value = json!({
        "kind": kind.word(),
        "exit_code": kind.code(),
        "reason": error.reason(),
        "message": error_chain(error),
        "advice": error.advice().unwrap_or_default(),
    });
    if let Some(id) = error.command_id() {
        value["command_id"] = Value::from(id);
    }
    if let Some(record) = error.record() {
        value["command"] = to_json(record)?;
    }
    Ok(value)
}
