//! What a caller asks for: a verb, its arguments as far as they fit, and conditions.

use std::time::Duration;

use ironic_text::Secret;
use sha2::{Digest, Sha256};

use super::record::CommandId;
use super::verb::{Misuse, Verb};
use super::{BootcInstall, Command, ExecuteStep, InstallBootloader, Object};

/// One order, checked for shape. A verb that is called wrongly is still an order: Ironic
/// expects a record that says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The identifier to use; `None` lets the agent choose.
    pub id: Option<CommandId>,
    /// The verb.
    pub verb: Verb,
    /// The arguments, or the names of those that are missing.
    pub arguments: Result<Command, Vec<&'static str>>,
    /// The first argument that was sent and that the verb does not have.
    pub unexpected: Option<String>,
    /// Cancel the command after this time, waiting for its turn included.
    pub deadline: Option<Duration>,
}

impl Order {
    /// An order without conditions.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self {
            id: None,
            verb: command.verb(),
            arguments: Ok(command),
            unexpected: None,
            deadline: None,
        }
    }

    /// What is wrong with the call. Like Python, which looks at what it was given before it
    /// looks for what it needs.
    #[must_use]
    pub fn misuse(&self) -> Option<Misuse> {
        match (&self.unexpected, &self.arguments) {
            (Some(name), _) => Some(Misuse::Unexpected(name.clone())),
            (None, Err(missing)) => Some(Misuse::Missing(missing.clone())),
            (None, Ok(_)) => None,
        }
    }

    /// What tells this order from another one, whoever sends it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }
}

/// What tells two orders apart without keeping either: a digest of verb and arguments.
///
/// The orders themselves are not kept: they hold credentials and config drives of many MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of an order that is no longer known: no order has it.
    pub const LOST: Self = Self([0; 32]);

    fn of(order: &Order) -> Self {
        let mut ink = Ink(Sha256::new());
        ink.text(Some(order.verb.name()));
        ink.text(order.unexpected.as_deref());
        match &order.arguments {
            Ok(command) => ink.command(command),
            Err(missing) => missing.iter().for_each(|name| ink.text(Some(name))),
        }
        Self(ink.0.finalize().into())
    }
}

/// Feeds a digest. Every item is followed by a separator that JSON text cannot hold, so two
/// different lists of items never read the same.
struct Ink(Sha256);

impl Ink {
    fn command(&mut self, command: &Command) {
        match command {
            Command::GetSteps {
                phase: _,
                node,
                ports,
            } => {
                self.object(node);
                self.objects(ports);
            }
            Command::ExecuteStep(step) => {
                let ExecuteStep {
                    phase: _,
                    step,
                    node,
                    ports,
                    version,
                    arguments,
                } = step.as_ref();
                self.object(step);
                self.object(node);
                self.objects(ports);
                self.json(version);
                self.object(arguments);
            }
            Command::PrepareImage {
                image_info,
                configdrive,
            } => {
                self.object(image_info);
                self.text(configdrive.as_deref());
            }
            Command::InstallBootloader(arguments) => {
                let InstallBootloader {
                    root_uuid,
                    efi_system_part_uuid,
                    prep_boot_part_uuid,
                    target_boot_mode,
                    ignore_bootloader_failure,
                } = arguments;
                self.text(Some(root_uuid));
                self.text(efi_system_part_uuid.as_deref());
                self.text(prep_boot_part_uuid.as_deref());
                self.text(Some(target_boot_mode));
                self.json(ignore_bootloader_failure);
            }
            Command::ExecuteBootcInstall(arguments) => {
                let BootcInstall {
                    image_source,
                    instance_info,
                    pull_secret,
                    configdrive,
                } = arguments;
                self.text(Some(image_source));
                self.object(instance_info);
                self.text(pull_secret.as_ref().map(Secret::reveal));
                self.text(configdrive.as_deref());
            }
            Command::StartFlow { flow } => self.json(flow),
            Command::SetNodeInfo { node_info } => self.object(node_info),
            Command::FinalizeRescue { password, hashed } => {
                self.text(Some(password.reveal()));
                self.json(hashed);
            }
            Command::RunImage
            | Command::PowerOff
            | Command::Sync
            | Command::GetPartitionUuids
            | Command::CollectSystemLogs
            | Command::Lockdown
            | Command::GetHardwareInfo => {}
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.json(&text);
    }

    fn object(&mut self, object: &Object) {
        self.json(object);
    }

    fn objects(&mut self, objects: &[Object]) {
        self.json(&objects);
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        // A digest takes every byte, and no type above has a key that is not a string.
        let _ = serde_json::to_writer(InkWriter(&mut self.0), value);
        self.0.update([0]);
    }
}

struct InkWriter<'a>(&'a mut Sha256);

impl std::io::Write for InkWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::steps::Phase;

    #[test]
    fn orders_that_differ_anywhere_have_different_fingerprints() {
        let object = |value: Value| match value {
            Value::Object(object) => object,
            _ => unreachable!("the table holds objects"),
        };
        let prepare = |image: Value, drive: Option<&str>| Command::PrepareImage {
            image_info: object(image),
            configdrive: drive.map(str::to_owned),
        };
        let step = |step: Value, node: Value, version: Option<Value>| {
            Command::ExecuteStep(Box::new(ExecuteStep {
                phase: Phase::Clean,
                step: object(step),
                node: object(node),
                ports: Vec::new(),
                version,
                arguments: Object::new(),
            }))
        };
        let bootc = |source: &str, secret: Option<&str>| {
            Command::ExecuteBootcInstall(BootcInstall {
                image_source: source.to_owned(),
                instance_info: Object::new(),
                pull_secret: secret.map(Secret::new),
                configdrive: None,
            })
        };
        let orders = [
            prepare(json!({}), None),
            prepare(json!({"id": "a"}), None),
            prepare(json!({"id": "a"}), Some("")),
            prepare(json!({"id": "a"}), Some("drive")),
            step(json!({}), json!({}), None),
            step(json!({"step": "a"}), json!({}), None),
            step(json!({}), json!({"step": "a"}), None),
            step(json!({}), json!({}), Some(json!(null))),
            step(json!({}), json!({}), Some(json!({"m": "1"}))),
            Command::StartFlow { flow: Vec::new() },
            Command::StartFlow {
                flow: vec![json!({"standby.sync": {}})],
            },
            bootc("oci://a", None),
            bootc("oci://b", None),
            bootc("oci://b", Some("s")),
            Command::Sync,
            Command::PowerOff,
        ];
        let prints: std::collections::HashSet<Fingerprint> = orders
            .iter()
            .map(|order| Order::new(order.clone()).fingerprint())
            .collect();
        // `None` and `Some(null)` mean the same to the verb, and read the same.
        assert_eq!(prints.len(), orders.len() - 1);
        let sync = Order::new(Command::Sync);
        assert_eq!(sync.fingerprint(), Order::new(Command::Sync).fingerprint());
        let odd = Order {
            unexpected: Some("x".to_owned()),
            ..Order::new(Command::Sync)
        };
        assert_ne!(sync.fingerprint(), odd.fingerprint());
    }
}
