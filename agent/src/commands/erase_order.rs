//! A typed command to erase, as what Ironic would write into the node before it cleans.

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::disk_selector::{DiskSelector, node_with};
use super::document_fields::{DocumentFields, FieldProblem, InvalidOrderField};
use crate::machine::ironic_node::Node;

/// The longest deadline in minutes, as that of the node.
const MAX_DEADLINE_MINUTES: u64 = 100_000;

/// By step and scope, the wishes about which the step can do nothing.
const UNKEPT: [(&str, &str, &[&str]); 2] = [
    (
        "erase_devices_metadata",
        "ERASE_SCOPE_METADATA",
        &[
            "sanitize",
            "overwrite_passes",
            "overwrite_on_failure",
            "deadline_minutes",
            "stall_minutes",
        ],
    ),
    (
        "erase_devices_express",
        "ERASE_SCOPE_EXPRESS",
        &[
            "without_nvme_format",
            "overwrite_passes",
            "overwrite_on_failure",
        ],
    ),
];

/// Disks that are erased in the same way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EraseGroup {
    /// The disks; `None`: all.
    pub(super) disks: Option<Vec<DiskSelector>>,
    /// How.
    pub(super) policy: EraseOrderPolicy,
}

/// How disks are erased.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EraseOrderPolicy {
    /// The clean step that does it.
    pub(super) step: &'static str,
    /// What the conductor would write into `driver_internal_info`.
    options: JsonObject,
    /// What the operator would write into `driver_info/agent_erase_plan`.
    plan: JsonObject,
}

/// Reads an order.
///
/// # Errors
/// What is wrong with it, by field.
pub(super) fn groups(order: &DocumentFields) -> Result<Vec<EraseGroup>, InvalidOrderField> {
    let disks = order.documents("disks");
    if let Some(policy) = order.document("policy") {
        if !disks.is_empty() {
            return Err(order.invalid("policy", FieldProblem::Exclusive("disks")));
        }
        return Ok(vec![EraseGroup {
            disks: None,
            policy: EraseOrderPolicy::read(&policy)?,
        }]);
    }
    if disks.is_empty() {
        let problem = FieldProblem::Missing("give a policy for all disks, or disks");
        return Err(order.invalid("policy", problem));
    }
    let mut groups: Vec<EraseGroup> = Vec::new();
    for disk in disks {
        let selector = disk.required("disk", "say which disk")?;
        let selector = DiskSelector::read(&selector)?;
        let policy = disk.required("policy", "say how the disk is erased")?;
        let policy = EraseOrderPolicy::read(&policy)?;
        match groups.iter_mut().find(|group| group.policy == policy) {
            Some(group) => group.disks.get_or_insert_default().push(selector),
            None => groups.push(EraseGroup {
                disks: Some(vec![selector]),
                policy,
            }),
        }
    }
    Ok(groups)
}

/// Refuses wishes that the scope does not keep: who orders them believes that more is gone, or
/// sooner, than is.
fn refuse_unkept(fields: &DocumentFields, step: &str) -> Result<(), InvalidOrderField> {
    let Some((_, scope, names)) = UNKEPT.iter().find(|(unkept, ..)| *unkept == step) else {
        return Ok(());
    };
    let is_given = |name: &&&str| fields.flag(name) || fields.number(name).is_some();
    let Some(name) = names.iter().find(is_given) else {
        return Ok(());
    };
    let problem = FieldProblem::Unused {
        with: format!("scope {scope}"),
        fix: "leave it out, or order another scope",
    };
    Err(fields.invalid(name, problem))
}

impl EraseOrderPolicy {
    fn read(fields: &DocumentFields) -> Result<Self, InvalidOrderField> {
        let scope = fields.word("scope", "ERASE_SCOPE_");
        let step = match scope.as_deref() {
            Some("data") => "erase_devices",
            Some("metadata") => "erase_devices_metadata",
            Some("express") => "erase_devices_express",
            other => {
                let expected = "ERASE_SCOPE_DATA, ERASE_SCOPE_METADATA or ERASE_SCOPE_EXPRESS";
                let found = other.unwrap_or("unspecified");
                return Err(fields.must_be("scope", expected, found));
            }
        };
        refuse_unkept(fields, step)?;
        let number = |name: &str, default| fields.number(name).unwrap_or(default);
        let mut plan =
            JsonObject::from_iter([("sanitize".to_owned(), Value::Bool(fields.flag("sanitize")))]);
        for name in ["deadline_minutes", "stall_minutes"] {
            if let Some(minutes) = fields.number(name) {
                if !(1..=MAX_DEADLINE_MINUTES).contains(&minutes) {
                    let expected = "a number of minutes from 1 to 100000";
                    return Err(fields.must_be(name, expected, minutes));
                }
                plan.insert(name.to_owned(), minutes.into());
            }
        }
        let options = json!({
            "disk_erasure_concurrency": number("concurrency", 0).max(1),
            "agent_erase_devices_iterations": number("overwrite_passes", 1),
            "agent_erase_devices_zeroize": !fields.flag("without_zeros"),
            "agent_enable_ata_secure_erase": !fields.flag("without_ata_secure_erase"),
            "agent_enable_nvme_secure_erase": !fields.flag("without_nvme_format"),
            "agent_continue_if_secure_erase_failed": fields.flag("overwrite_on_failure"),
            "agent_erase_skip_read_only": fields.flag("skip_read_only"),
        });
        if fields.flag("without_nvme_format") && fields.flag("sanitize") {
            // An NVMe drive that is not to be formatted is not asked for a sanitize either.
            let problem = FieldProblem::Exclusive("sanitize");
            return Err(fields.invalid("without_nvme_format", problem));
        }
        let passes = number("overwrite_passes", 1);
        if passes == 0 && fields.flag("without_zeros") {
            let problem = FieldProblem::Exclusive("without_zeros");
            return Err(fields.invalid("overwrite_passes", problem));
        }
        Ok(Self {
            step,
            options: match options {
                Value::Object(options) => options,
                _ => JsonObject::new(),
            },
            plan,
        })
    }

    /// The node as this policy wants it; the disks of these names are left alone.
    pub(super) fn node(&self, node: &Node, others: &[String]) -> Node {
        let node = node_with(node, "driver_internal_info", self.options.clone());
        let plan = ("agent_erase_plan".to_owned(), self.plan.clone().into());
        let node = node_with(&node, "driver_info", JsonObject::from_iter([plan]));
        if others.is_empty() {
            return node;
        }
        let known = node.skip_block_devices().cloned();
        let others = others
            .iter()
            .map(|name| json!({"name": format!("s== {name}")}));
        let skipped = match known {
            Some(Value::Array(entries)) => entries.into_iter().chain(others).collect(),
            // Not a list: the step says so.
            Some(other) => other,
            None => others.collect(),
        };
        let skipped = ("skip_block_devices".to_owned(), skipped);
        node_with(&node, "properties", JsonObject::from_iter([skipped]))
    }
}
