//! A disk as a typed command describes it: the root device hints that Ironic would send.

use ironic_document::JsonObject;
use serde_json::{Value, json};

use super::document_fields::{DocumentFields, FieldProblem, InvalidOrderField};
use super::failure::Failure;
use crate::machine::block::BlockDevice;
use crate::machine::block::hints;
use crate::machine::ironic_node::Node;

/// Where udev names disks by what they hang on.
const BY_PATH: &str = "/dev/disk/by-path/";

/// Texts of a selector and the hints that they are.
const TEXTS: [(&str, &str); 7] = [
    ("model", "model"),
    ("vendor", "vendor"),
    ("serial", "serial"),
    ("wwn", "wwn"),
    ("wwn_with_extension", "wwn_with_extension"),
    ("hctl", "hctl"),
    ("transport", "tran"),
];

/// A disk that an order describes, and by which field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskSelector {
    /// The field.
    pub(super) path: String,
    /// The hints.
    pub(super) hints: Value,
}

impl DiskSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// It describes no disk, or any.
    pub(super) fn read(fields: &DocumentFields) -> Result<Self, InvalidOrderField> {
        let mut hints = JsonObject::new();
        if let Some(device) = fields.text("device") {
            let is_path = device.starts_with('/') && device.len() > 1;
            let is_link = device.starts_with("/dev/disk/") && !device.starts_with(BY_PATH);
            if !is_path || is_link {
                let expected = "a path such as /dev/sda or /dev/disk/by-path/pci-...";
                return Err(fields.must_be("device", expected, device));
            }
            let name = if device.starts_with(BY_PATH) {
                "by_path"
            } else {
                "name"
            };
            // Literally, whatever operator it looks like.
            hints.insert(name.to_owned(), format!("s== {device}").into());
        }
        for (field, hint) in TEXTS {
            if let Some(text) = fields.text(field) {
                hints.insert(hint.to_owned(), text.into());
            }
        }
        if let Some(rotational) = fields.optional_flag("rotational") {
            hints.insert("rotational".to_owned(), rotational.into());
        }
        if let Some(gib) = fields.number("min_size_gib") {
            if gib == 0 {
                return Err(fields.must_be("min_size_gib", "at least 1", gib));
            }
            hints.insert("size".to_owned(), format!(">= {gib}").into());
        }
        if hints.is_empty() {
            return Err(InvalidOrderField {
                path: fields.own_path(),
                problem: FieldProblem::Missing("say which disk, for example by its device"),
            });
        }
        Ok(Self {
            path: fields.own_path(),
            hints: Value::Object(hints),
        })
    }

    /// The disk.
    ///
    /// # Errors
    /// No disk is the one that is described, or the node leaves it alone.
    pub(super) fn choose(
        &self,
        devices: &[BlockDevice],
        node: &Node,
    ) -> Result<BlockDevice, Failure> {
        let described = hints::described_device(devices, node, &self.hints);
        described.map_err(|error| {
            let failure = Failure::from(error);
            let details = format!("{}: {}", self.path, failure.details);
            Failure { details, ..failure }
        })
    }
}

/// The node, with more in some of its documents: what an order says goes before what the node
/// says.
pub(super) fn node_with(node: &Node, document: &str, entries: JsonObject) -> Node {
    let mut node = node.clone();
    let within = node.0.entry(document).or_insert_with(|| json!({}));
    if !within.is_object() {
        *within = json!({});
    }
    if let Value::Object(within) = within {
        within.extend(entries);
    }
    node
}
