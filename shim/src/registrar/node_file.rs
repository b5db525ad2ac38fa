//! A file that describes nodes: one, or a list of them, as YAML or JSON.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use serde_saphyr::{Spanned, UserMessageFormatter};
use thiserror::Error;
use uuid::Uuid;

/// YAML nodes in a file: enough for 100,000 machines, and an end for what is none of ours.
const MAX_YAML_NODES: usize = 4_000_000;
const MAX_DEPTH: usize = 32;

/// The longest name, in characters, as in Ironic.
const MAX_NAME_CHARS: usize = 255;

/// Octets of a MAC address: of Ethernet, and of InfiniBand.
const MAC_OCTETS: [usize; 2] = [6, 20];

/// A node as its file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeDescription {
    /// UUID, lower case with hyphens.
    pub uuid: String,
    /// Its name; empty when it has none.
    pub name: String,
    /// MAC addresses of its cards, lower case with colons.
    pub macs: Vec<String>,
    /// The UUID that its firmware says; empty when it is not known by it.
    pub system_uuid: String,
    /// The serial number that its firmware says; empty when it is not known by it.
    pub serial_number: String,
    /// Labels.
    pub labels: HashMap<String, String>,
    /// Ironic's `properties`, with the root device hints as `root_device`.
    pub properties: Map<String, Value>,
    /// Where it is described.
    pub location: FileLocation,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileLocation {
    /// The file.
    pub path: Arc<PathBuf>,
    /// The line, from 1; 0 when it is not known.
    pub line: u64,
}

impl fmt::Display for FileLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// A file whose nodes do not count.
#[derive(Debug, Error)]
#[error("{location}: {source}")]
pub struct NodeFileError {
    /// Where the fault is.
    pub location: FileLocation,
    /// What it is.
    pub source: InvalidNodeFile,
}

/// What is wrong with a file of nodes.
#[derive(Debug, Error)]
pub enum InvalidNodeFile {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[from] std::io::Error),
    /// It is longer than a file of nodes ever is.
    #[error("the file is larger than {} MiB", .0 / (1024 * 1024))]
    TooLarge(u64),
    /// It is not YAML, or a key or value in it is wrong.
    #[error("{}", .0.render_with_formatter(&UserMessageFormatter))]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// A UUID makes no sense.
    #[error("{key}: {text:?} is not a UUID, which looks like 1be26c0b-03f2-4d2e-ae87-c02d7f33c781")]
    Uuid {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// A MAC address makes no sense.
    #[error("macs: {0:?} is not a MAC address, which looks like 52:54:00:12:34:56")]
    Mac(String),
    /// A name could not be used in a call.
    #[error(
        "name: {0:?} must have 1 to {MAX_NAME_CHARS} characters, none of them a blank or control character, and must not look like a UUID"
    )]
    Name(String),
    /// Nothing says which machine the node is.
    #[error(
        "node {0} needs macs, system_uuid or serial_number: without them no machine is known to be this node"
    )]
    Unidentified(String),
}

/// What a file holds.
struct NodeDocuments(Vec<Spanned<NodeDocument>>);

/// One node of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeDocument {
    uuid: Spanned<String>,
    name: Option<Spanned<String>>,
    #[serde(default)]
    macs: Vec<Spanned<String>>,
    system_uuid: Option<Spanned<String>>,
    #[serde(default)]
    serial_number: String,
    root_device: Option<BTreeMap<RootDeviceHint, Value>>,
    #[serde(default)]
    labels: HashMap<String, String>,
    #[serde(default)]
    properties: Map<String, Value>,
}

/// A root device hint of Ironic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum RootDeviceHint {
    Model,
    Vendor,
    Serial,
    Size,
    Wwn,
    WwnWithExtension,
    WwnVendorExtension,
    Rotational,
    Name,
    Hctl,
    ByPath,
    Tran,
}

impl<'de> Deserialize<'de> for NodeDocuments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = NodeDocuments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node or a list of nodes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NodeDocuments, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(NodeDocuments(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NodeDocuments, A::Error> {
        let entry = NodeDocument::deserialize(MapAccessDeserializer::new(map))?;
        let location = entry.uuid.referenced;
        Ok(NodeDocuments(vec![Spanned::new(entry, location, location)]))
    }

    // An empty file describes no node.
    fn visit_unit<E>(self) -> Result<NodeDocuments, E> {
        Ok(NodeDocuments(Vec::new()))
    }
}

/// Reads the text of a file. JSON is YAML.
///
/// # Errors
/// The first fault, with its line.
pub fn parse(path: &Arc<PathBuf>, text: &str) -> Result<Vec<NodeDescription>, NodeFileError> {
    let at = |line, source| NodeFileError {
        location: FileLocation {
            path: Arc::clone(path),
            line,
        },
        source,
    };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_YAML_NODES, max_depth: MAX_DEPTH },
        with_snippet: false,
    };
    let entries: NodeDocuments =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            // A fault of the document as a whole has no place of its own.
            let line = error
                .location()
                .map_or(1, |location| location.line().max(1));
            at(line, InvalidNodeFile::Yaml(Box::new(error)))
        })?;
    let described = |entry: Spanned<NodeDocument>| {
        let line = entry.value.uuid.referenced.line();
        let location = FileLocation {
            path: Arc::clone(path),
            line,
        };
        describe(entry.value, location).map_err(|(line, source)| at(line, source))
    };
    entries.0.into_iter().map(described).collect()
}

type Misplaced = (u64, InvalidNodeFile);

fn describe(entry: NodeDocument, location: FileLocation) -> Result<NodeDescription, Misplaced> {
    let uuid = uuid_of("uuid", &entry.uuid)?;
    let name = entry.name.map(checked_name).transpose()?;
    let macs = entry.macs.iter().map(mac).collect::<Result<Vec<_>, _>>()?;
    let system_uuid = entry.system_uuid.as_ref();
    let system_uuid = system_uuid
        .map(|text| uuid_of("system_uuid", text))
        .transpose()?;
    let system_uuid = system_uuid.unwrap_or_default();
    let serial_number = entry.serial_number.trim().to_owned();
    if macs.is_empty() && system_uuid.is_empty() && serial_number.is_empty() {
        return Err((location.line, InvalidNodeFile::Unidentified(uuid)));
    }
    let mut properties = entry.properties;
    if let Some(hints) = entry.root_device
        && let Ok(hints) = serde_json::to_value(hints)
    {
        properties.insert("root_device".to_owned(), hints);
    }
    Ok(NodeDescription {
        uuid,
        name: name.unwrap_or_default(),
        macs,
        system_uuid,
        serial_number,
        labels: entry.labels,
        properties,
        location,
    })
}

fn uuid_of(key: &'static str, text: &Spanned<String>) -> Result<String, Misplaced> {
    let uuid = Uuid::try_parse(text.value.trim());
    uuid.map(|uuid| uuid.hyphenated().to_string()).map_err(|_| {
        let invalid = InvalidNodeFile::Uuid {
            key,
            text: text.value.clone(),
        };
        (text.referenced.line(), invalid)
    })
}

fn checked_name(name: Spanned<String>) -> Result<String, Misplaced> {
    let length = name.value.chars().count();
    let is_plain = !name
        .value
        .chars()
        .any(|c| c.is_control() || c.is_whitespace());
    if (1..=MAX_NAME_CHARS).contains(&length) && is_plain && Uuid::try_parse(&name.value).is_err() {
        Ok(name.value)
    } else {
        Err((name.referenced.line(), InvalidNodeFile::Name(name.value)))
    }
}

fn mac(text: &Spanned<String>) -> Result<String, Misplaced> {
    normal_mac(&text.value).ok_or_else(|| {
        (
            text.referenced.line(),
            InvalidNodeFile::Mac(text.value.clone()),
        )
    })
}

/// A MAC address in lower case with colons; `None` if it is none.
pub(super) fn normal_mac(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase().replace('-', ":");
    let octets: Vec<&str> = text.split(':').collect();
    let is_octet =
        |octet: &&str| octet.len() == 2 && octet.bytes().all(|byte| byte.is_ascii_hexdigit());
    (MAC_OCTETS.contains(&octets.len()) && octets.iter().all(is_octet)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "1be26c0b-03f2-4d2e-ae87-c02d7f33c781";

    fn read(text: &str) -> Result<Vec<NodeDescription>, String> {
        let path = Arc::new(PathBuf::from("n.yaml"));
        parse(&path, text).map_err(|error| error.to_string())
    }

    #[test]
    fn one_node_or_a_list_of_them_in_yaml_or_json() {
        let yaml = format!(
            "uuid: {UUID}\nname: one\nmacs: [52-54-00-AB-CD-EF]\nserial_number: S1\n\
             root_device: {{model: QEMU, size: '>= 10'}}\nlabels: {{rack: '1'}}\n\
             properties: {{capabilities: 'boot_mode:uefi', cpus: 4}}\n"
        );
        let [node] = read(&yaml).unwrap().try_into().unwrap();
        assert_eq!((node.uuid.as_str(), node.name.as_str()), (UUID, "one"));
        assert_eq!(node.macs, ["52:54:00:ab:cd:ef"]);
        assert_eq!(node.labels["rack"], "1");
        assert_eq!(
            Value::from(node.properties),
            serde_json::json!({
                "capabilities": "boot_mode:uefi", "cpus": 4,
                "root_device": {"model": "QEMU", "size": ">= 10"},
            })
        );
        assert_eq!(node.location.line, 1);
        let json = format!(
            "[{{\"uuid\": \"{UUID}\", \"serial_number\": \"S\"}},\n {{\"uuid\": \"{}\", \"system_uuid\": \"{UUID}\"}}]",
            UUID.to_uppercase()
        );
        let [first, second] = read(&json).unwrap().try_into().unwrap();
        assert_eq!(first.uuid, second.uuid);
        assert_eq!((first.location.line, second.location.line), (1, 2));
        assert_eq!(read("").unwrap(), []);
        assert_eq!(read("[]").unwrap(), []);
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        let node = format!("- uuid: {UUID}\n  serial_number: S\n");
        let with = |rest: &str| format!("{node}  {rest}\n");
        for (text, line, words) in [
            (with("rom: 1"), 3, "rom"),
            (with("name: a b"), 3, "name:"),
            (with(&format!("name: {UUID}")), 3, "name:"),
            (with("macs: [52:54:00]"), 3, "macs:"),
            (with("macs: ['zz:54:00:00:00:00']"), 3, "macs:"),
            (with("system_uuid: x"), 3, "system_uuid:"),
            (with("root_device: {colour: red}"), 3, "colour"),
            (with("labels: [1]"), 3, ""),
            (format!("{node}- uuid: u\n  serial_number: S\n"), 3, "uuid:"),
            (format!("{node}- uuid: {UUID}\n"), 3, "needs macs"),
            (format!("{node}- serial_number: S\n"), 3, "uuid"),
            (with("serial_number: T"), 3, "serial_number"),
            (format!("{node} x: [\n"), 3, ""),
            ("just text".to_owned(), 1, "a node or a list of nodes"),
        ] {
            let error = read(&text).unwrap_err();
            let location = format!("n.yaml:{line}: ");
            assert!(error.starts_with(&location), "{text}\n{error}");
            assert!(error.contains(words), "{text}\n{error}");
        }
    }
}
