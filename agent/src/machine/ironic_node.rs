//! The node document as Ironic stores it, with typed views of what the agent reads.

use std::collections::HashMap;

use ironic_document::JsonObject;
use serde_json::Value;

use crate::machine::firmware::boot::BootMode;

/// A node as a lookup or a command gave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node(pub JsonObject);

/// A kind of partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskLabel {
    /// GUID partition table.
    Gpt,
    /// An MBR partition table.
    Msdos,
}

/// How disks are to be erased: the conductor writes its options into the node before it
/// cleans. The defaults are the agent's own, for a conductor that wrote none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EraseOptions {
    /// Disks erased at the same time, at least 1.
    pub concurrency: u32,
    /// Passes of random data.
    pub iterations: u32,
    /// Whether a pass of zeros follows.
    pub zeroize: bool,
    /// Whether ATA drives are asked to erase themselves.
    pub ata_secure_erase: bool,
    /// Whether NVMe drives are formatted.
    pub nvme_secure_erase: bool,
    /// Whether a drive that fails to erase itself is overwritten instead.
    pub continue_if_secure_erase_failed: bool,
    /// Whether read-only disks are skipped instead of being a failure.
    pub skip_read_only: bool,
}

impl Node {
    /// The node's UUID; empty when the document has none.
    #[must_use]
    pub fn uuid(&self) -> &str {
        self.0
            .get("uuid")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A value in one of the node's sub-documents, for example `properties`, `root_device`.
    #[must_use]
    pub fn value(&self, document: &str, key: &str) -> Option<&Value> {
        self.0
            .get(document)?
            .get(key)
            .filter(|value| !value.is_null())
    }

    /// The root device hints: the instance's, or else the node's. `None` when both are empty.
    #[must_use]
    pub fn root_hints(&self) -> Option<&Value> {
        let given = |value: &&Value| !matches!(value, Value::Object(hints) if hints.is_empty());
        let of = |document| self.value(document, "root_device").filter(given);
        of("instance_info").or_else(|| of("properties"))
    }

    /// The hints of disks that are left alone; empty when there are none.
    #[must_use]
    pub fn skip_block_devices(&self) -> Option<&Value> {
        self.value("properties", "skip_block_devices")
    }

    /// How the deployed system is to boot; `ramdisk` is how this ramdisk did, for a node that
    /// does not say.
    #[must_use]
    pub fn boot_mode(&self, ramdisk: BootMode) -> BootMode {
        if self.wants_secure_boot() {
            return BootMode::Uefi;
        }
        let text = |document| {
            let value = self.value(document, "deploy_boot_mode");
            value.and_then(Value::as_str).map(str::to_owned)
        };
        let said = text("instance_info")
            .or_else(|| self.capability("boot_mode", &["properties"]))
            .or_else(|| text("driver_internal_info"));
        match said.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("uefi") => BootMode::Uefi,
            Some("bios") => BootMode::Bios,
            _ => ramdisk,
        }
    }

    /// Whether the deployed system is to be started by Secure Boot, which only UEFI has.
    #[must_use]
    pub fn wants_secure_boot(&self) -> bool {
        let secure = self.capability("secure_boot", &["instance_info", "properties"]);
        secure.is_some_and(|word| word.eq_ignore_ascii_case("true"))
    }

    /// Whether the node asks for an MBR partition table.
    #[must_use]
    pub fn wants_msdos_label(&self) -> bool {
        let label = self.capability("disk_label", &["instance_info", "properties"]);
        label.as_deref() == Some("msdos")
    }

    /// The partition table that the deployed system needs.
    #[must_use]
    pub fn disk_label(&self, boot_mode: BootMode) -> DiskLabel {
        let label = self.capability("disk_label", &["instance_info", "properties"]);
        if boot_mode == BootMode::Uefi || label.as_deref() == Some("gpt") {
            DiskLabel::Gpt
        } else {
            DiskLabel::Msdos
        }
    }

    /// How disks are to be erased.
    #[must_use]
    pub fn erase_options(&self) -> EraseOptions {
        let number = |key, default| self.internal(key).and_then(as_number).unwrap_or(default);
        let flag = |key, default| self.internal(key).and_then(as_flag).unwrap_or(default);
        EraseOptions {
            concurrency: number("disk_erasure_concurrency", 1).max(1),
            iterations: number("agent_erase_devices_iterations", 1),
            zeroize: flag("agent_erase_devices_zeroize", true),
            ata_secure_erase: flag("agent_enable_ata_secure_erase", true),
            nvme_secure_erase: flag("agent_enable_nvme_secure_erase", true),
            continue_if_secure_erase_failed: flag(
                "agent_continue_if_secure_erase_failed",
                flag("agent_continue_if_ata_erase_failed", false),
            ),
            skip_read_only: flag("agent_erase_skip_read_only", false),
        }
    }

    /// Whether the operator allows to erase file systems that other machines may be using.
    /// Only a clear yes counts, in the place that Ironic's documentation names or where the
    /// conductor would put it.
    #[must_use]
    pub fn may_wipe_special_filesystems(&self) -> bool {
        const KEY: &str = "wipe_special_filesystems";
        ["driver_info", "driver_internal_info"]
            .into_iter()
            .any(|document| self.value(document, KEY).and_then(as_flag) == Some(true))
    }

    fn internal(&self, key: &str) -> Option<&Value> {
        self.value("driver_internal_info", key)
    }

    /// A capability of the first document that has it.
    fn capability(&self, name: &str, documents: &[&str]) -> Option<String> {
        documents
            .iter()
            .find_map(|document| capabilities(self.value(document, "capabilities")?).remove(name))
    }
}

/// Capabilities are an object, the same as JSON text, or `key:value,key:value`.
fn capabilities(value: &Value) -> HashMap<String, String> {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                (key.clone(), text)
            })
            .collect(),
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(parsed @ Value::Object(_)) => capabilities(&parsed),
            _ => text
                .split(',')
                .filter_map(|item| item.split_once(':'))
                .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        },
        _ => HashMap::new(),
    }
}

/// A number, also as text.
fn as_number(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => u32::try_from(value.as_u64()?).ok(),
    }
}

/// `true` or `false`, also as one of the words that OpenStack takes for them.
pub(crate) fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
            "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(value: Value) -> Node {
        let Value::Object(document) = value else {
            panic!("{value}")
        };
        Node(document)
    }

    #[test]
    fn the_instances_hints_win_and_empty_ones_do_not_count() {
        let hints = |value| node(value).root_hints().cloned();
        let instance = json!({"size": 10});
        let own = json!({"size": 20});
        assert_eq!(
            hints(json!({"instance_info": {"root_device": instance},
                "properties": {"root_device": own}})),
            Some(instance)
        );
        for empty in [json!({}), json!(null)] {
            assert_eq!(
                hints(json!({"instance_info": {"root_device": empty},
                    "properties": {"root_device": own}})),
                Some(own.clone())
            );
        }
        assert_eq!(hints(json!({"properties": {"root_device": {}}})), None);
        assert_eq!(hints(json!({})), None);
    }

    #[test]
    fn boot_mode_and_label() {
        use BootMode::{Bios, Uefi};
        use DiskLabel::{Gpt, Msdos};
        let cases = [
            (json!({}), Bios, Bios, Msdos),
            (json!({}), Uefi, Uefi, Gpt),
            (
                json!({"instance_info": {"deploy_boot_mode": "UEFI"}}),
                Bios,
                Uefi,
                Gpt,
            ),
            (
                json!({"properties": {"capabilities": "boot_mode:bios,disk_label:gpt"}}),
                Uefi,
                Bios,
                Gpt,
            ),
            (
                json!({"properties": {"capabilities": {"boot_mode": "bios"}},
                    "instance_info": {"capabilities": r#"{"secure_boot": "True"}"#}}),
                Bios,
                Uefi,
                Gpt,
            ),
            (
                json!({"driver_internal_info": {"deploy_boot_mode": "uefi"}}),
                Bios,
                Uefi,
                Gpt,
            ),
            (
                json!({"instance_info": {"deploy_boot_mode": "odd"}}),
                Bios,
                Bios,
                Msdos,
            ),
            (
                json!({"properties": {"capabilities": "boot_mode,,x:y:z,disk_label:msdos"}}),
                Uefi,
                Uefi,
                Gpt,
            ),
        ];
        for (document, ramdisk, mode, label) in cases {
            let node = node(document.clone());
            assert_eq!(node.boot_mode(ramdisk), mode, "{document}");
            assert_eq!(node.disk_label(mode), label, "{document}");
        }
    }

    #[test]
    fn erase_options_have_the_agents_defaults() {
        let options = node(json!({})).erase_options();
        assert_eq!(
            options,
            EraseOptions {
                concurrency: 1,
                iterations: 1,
                zeroize: true,
                ata_secure_erase: true,
                nvme_secure_erase: true,
                continue_if_secure_erase_failed: false,
                skip_read_only: false,
            }
        );
        let options = node(json!({"driver_internal_info": {
            "disk_erasure_concurrency": "4", "agent_erase_devices_iterations": 0,
            "agent_erase_devices_zeroize": "false", "agent_continue_if_ata_erase_failed": true,
            "agent_erase_skip_read_only": 1}}))
        .erase_options();
        assert_eq!((options.concurrency, options.iterations), (4, 0));
        assert!(!options.zeroize && options.continue_if_secure_erase_failed);
        assert!(options.skip_read_only);
    }

    #[test]
    fn only_a_clear_yes_lifts_the_guard() {
        let cases = [
            (json!({}), false),
            (
                json!({"driver_internal_info": {"wipe_special_filesystems": false}}),
                false,
            ),
            (
                json!({"driver_internal_info": {"wipe_special_filesystems": "maybe"}}),
                false,
            ),
            (
                json!({"driver_internal_info": {"wipe_special_filesystems": true}}),
                true,
            ),
            (
                json!({"driver_info": {"wipe_special_filesystems": "True"}}),
                true,
            ),
        ];
        for (document, allowed) in cases {
            assert_eq!(node(document).may_wipe_special_filesystems(), allowed);
        }
    }
}
