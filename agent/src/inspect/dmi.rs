//! Collector `dmi-decode`: what the firmware says of itself, the processors and the memory, in
//! the words of `dmidecode`, which readers of the report expect.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::{Map, Value, json};

use super::{Collector, CollectorError, Inspection};
use crate::system::Cmd;

/// Runs `dmidecode` and sorts what it prints.
#[derive(Debug)]
pub(super) struct DmiDecode;

impl Collector for DmiDecode {
    fn name(&self) -> &'static str {
        "dmi-decode"
    }

    fn collect<'a>(
        &'a self,
        inspection: Inspection<'a>,
    ) -> BoxFuture<'a, Result<JsonObject, CollectorError>> {
        async move {
            let args = ["-t", "bios", "-t", "processor", "-t", "memory"];
            let output = inspection.system.run.run(Cmd::new("dmidecode").args(args));
            let dmi = parse(&output.await?.text())?;
            Ok(Map::from_iter([("dmi".to_owned(), dmi)]))
        }
        .boxed()
    }
}

const BIOS: u32 = 0;
const PROCESSOR: u32 = 4;
const MEMORY_ARRAY: u32 = 16;
const MEMORY_DEVICE: u32 = 17;
const DEVICES: &str = "Number Of Devices";

/// `{"bios": {...}, "cpu": [...], "memory": {..., "devices": [...]}}`.
fn parse(text: &str) -> Result<Value, CollectorError> {
    let mut bios = Map::new();
    let mut cpus: Vec<Value> = Vec::new();
    let mut memory: Option<JsonObject> = None;
    let mut devices: Vec<Value> = Vec::new();
    let mut slots: u64 = 0;
    for block in text.split("\n\n").map(str::trim_start) {
        let Some(kind) = kind(block) else {
            continue;
        };
        let mut facts = facts(block);
        match kind {
            BIOS => bios = facts,
            PROCESSOR => cpus.push(facts.into()),
            MEMORY_ARRAY => {
                let devices = facts.get(DEVICES).and_then(Value::as_str);
                let devices = devices.ok_or(CollectorError::NoMemoryDevices)?;
                let Ok(number) = devices.parse::<u64>() else {
                    tracing::warn!(
                        number = devices,
                        "dmidecode tells no number of memory devices"
                    );
                    return Ok(json!({}));
                };
                slots += number;
                facts.remove("Handle");
                memory.get_or_insert(facts);
            }
            MEMORY_DEVICE => devices.push(facts.into()),
            _ => {}
        }
    }
    let mut memory = memory.unwrap_or_default();
    if memory.contains_key(DEVICES) {
        memory.insert(DEVICES.to_owned(), slots.into());
    }
    memory.insert("devices".to_owned(), devices.into());
    Ok(json!({"bios": bios, "cpu": cpus, "memory": memory}))
}

/// The type in `Handle 0x0011, DMI type 17, 84 bytes`; `None` for other text.
fn kind(block: &str) -> Option<u32> {
    let line = block.lines().next()?;
    if !line.starts_with("Handle 0x") {
        return None;
    }
    let number = line.split(',').nth(1)?.trim().strip_prefix("DMI type ");
    let kind = number.and_then(|number| number.trim().parse().ok());
    if kind.is_none() {
        tracing::warn!(line, "dmidecode tells no type");
    }
    kind
}

/// Keys and values. A key without a value has the list of the lines below it that have no
/// colon.
fn facts(block: &str) -> JsonObject {
    let mut facts = Map::new();
    let mut open: Option<String> = None;
    for line in block.lines().map(str::trim) {
        if line.starts_with("Handle 0x") {
            facts.insert("Handle".to_owned(), line.into());
            continue;
        }
        match line.split_once(':') {
            Some((key, value)) => {
                let (key, value) = (key.trim(), value.trim());
                if value.is_empty() {
                    open = Some(key.to_owned());
                    facts.insert(key.to_owned(), json!([]));
                } else {
                    open = None;
                    facts.insert(key.to_owned(), value.into());
                }
            }
            // The title has no list above it.
            None => {
                let list = open.as_ref().and_then(|key| facts.get_mut(key));
                if let Some(Value::Array(list)) = list {
                    list.push(line.into());
                }
            }
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::AgentConfig;
    use crate::hardware::ManagerRegistry;
    use crate::machine::testing::FakeMachine;
    use crate::system::RunError;
    use crate::system::process::Script;

    const COMMAND: &str = "dmidecode -t bios -t processor -t memory";

    const PRINTED: &str = "# dmidecode 3.4\nGetting SMBIOS data from sysfs.\nSMBIOS 2.8 present.\n\n\
        Handle 0x0000, DMI type 0, 26 bytes\nBIOS Information\n\tVendor: SeaBIOS\n\
        \tCharacteristics:\n\t\tPCI is supported\n\t\tBoot from CD is supported\n\tBIOS Revision: 0.0\n\n\
        Handle 0x0400, DMI type 4, 42 bytes\nProcessor Information\n\tSocket Designation: CPU 0\n\tVersion: a: b\n\n\
        Handle 0x1000, DMI type 16, 23 bytes\nPhysical Memory Array\n\tUse: System Memory\n\tNumber Of Devices: 4\n\n\
        Handle 0x1001, DMI type 16, 23 bytes\nPhysical Memory Array\n\tUse: Flash\n\tNumber Of Devices: 2\n\n\
        Handle 0x1100, DMI type 17, 40 bytes\nMemory Device\n\tSize: 3 GB\n\n\
        Handle 0x1300, DMI type 19, 31 bytes\nMemory Array Mapped Address\n\tPartition Width: 1\n\n\
        Handle 0x1301, DMI type ?, 31 bytes\n\tX: 1\n";

    #[test]
    fn sorts_what_is_printed() {
        assert_eq!(
            parse(PRINTED).unwrap(),
            json!({
                "bios": {
                    "Handle": "Handle 0x0000, DMI type 0, 26 bytes", "Vendor": "SeaBIOS", "BIOS Revision": "0.0",
                    "Characteristics": ["PCI is supported", "Boot from CD is supported"],
                },
                "cpu": [{"Handle": "Handle 0x0400, DMI type 4, 42 bytes", "Socket Designation": "CPU 0", "Version": "a: b"}],
                "memory": {
                    "Use": "System Memory", "Number Of Devices": 6,
                    "devices": [{"Handle": "Handle 0x1100, DMI type 17, 40 bytes", "Size": "3 GB"}],
                },
            })
        );
        let array = "Handle 0x1, DMI type 16, 2 bytes\nPhysical Memory Array\n";
        assert!(parse(array).is_err());
        let odd = format!("{array}\tNumber Of Devices: many\n");
        assert_eq!(parse(&odd).unwrap(), json!({}));
    }

    #[tokio::test]
    async fn without_the_program_it_fails() {
        let missing = RunError::Missing {
            program: "dmidecode".to_owned(),
        };
        let script = Script::new().expect_result(COMMAND, Err(missing));
        let system = FakeMachine::new().system_with(Arc::new(script));
        let registry = ManagerRegistry::compiled_in(&system).unwrap();
        let inspection = Inspection {
            system: &system,
            config: &AgentConfig::default(),
            registry: &registry,
            collectors: &[],
        };
        let failed = DmiDecode.collect(inspection).await.unwrap_err();
        assert_eq!(failed.to_string(), "dmidecode is not installed");
    }
}
