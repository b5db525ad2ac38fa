//! What operators write to have files injected, and what is wrong with it.

use serde_json::Value;

use crate::disk::inject::Place;
use crate::failure::{Failure, FailureKind};
use crate::hardware::Object;
use crate::machine::ironic_node::Node;
use crate::system::foreign_root::Attributes;

/// All that a file may say about itself.
const KEYS: [&str; 8] = [
    "path",
    "partition",
    "content",
    "deleted",
    "mode",
    "dirmode",
    "owner",
    "group",
];
/// All permission bits.
const MODES: u32 = 0o7777;

/// One file as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub path: String,
    pub place: Place,
    pub source: Source,
    pub attributes: Attributes,
    pub directory_mode: Option<u32>,
}

/// Where the content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Nowhere: the file is to be gone.
    Removed,
    /// In the file itself.
    Kept,
    /// Base64.
    Inline(String),
    /// At a URL, in which the node is still to be filled in.
    Template(String),
}

/// The files of the node's properties, then those of the step.
///
/// # Errors
/// `InvalidCommandParams` with everything that is wrong.
pub(super) fn read(node: &Node, arguments: &Object) -> Result<Vec<Wanted>, Failure> {
    let mut problems = Vec::new();
    let mut wanted = Vec::new();
    let sources = [
        (
            "properties.inject_files",
            node.value("properties", "inject_files"),
        ),
        ("files", arguments.get("files")),
    ];
    for (name, files) in sources {
        let files = match files {
            None | Some(Value::Null) => continue,
            Some(Value::Array(files)) => files,
            Some(_) => {
                problems.push(format!("{name} must be a list"));
                continue;
            }
        };
        for (index, file) in files.iter().enumerate() {
            let place = format!("{name}[{index}]");
            match file {
                Value::Object(file) => wanted.extend(one(file, &place, &mut problems)),
                _ => problems.push(format!("{place} must be an object")),
            }
        }
    }
    if problems.is_empty() {
        return Ok(wanted);
    }
    Err(Failure::new(
        FailureKind::InvalidCommandParams,
        format!("Validation of files failed: {}", problems.join("; ")),
    ))
}

fn one(file: &Object, place: &str, problems: &mut Vec<String>) -> Option<Wanted> {
    let before = problems.len();
    let mut wrong = |text: String| problems.push(format!("{place}: {text}"));
    for key in file.keys() {
        if !KEYS.contains(&key.as_str()) {
            wrong(format!(
                "unexpected key '{key}'; known are {}",
                KEYS.join(", ")
            ));
        }
    }
    let given = |key: &str| file.get(key).filter(|value| !value.is_null());
    let path = match given("path") {
        Some(Value::String(path)) => path.as_str(),
        Some(_) => {
            wrong("'path' must be a text".to_owned());
            ""
        }
        None => {
            wrong("'path' is required".to_owned());
            ""
        }
    };
    if path.ends_with('/') {
        wrong("'path' must not end with a slash".to_owned());
    }
    if path.split('/').any(|name| name == "..") || path.contains('\0') {
        wrong("'path' must not hold '..'".to_owned());
    }
    let named = given("partition").filter(|partition| *partition != "");
    let target = match named {
        None => {
            let names = path.split('/').filter(|name| !name.is_empty()).count();
            if names == 1 && !path.ends_with('/') {
                wrong(format!(
                    "a file directly in / needs a 'partition' number: {path}"
                ));
            }
            Place::Found
        }
        Some(Value::String(name)) if is_device(name) => Place::Named(name.clone()),
        Some(number) => match partition_number(number) {
            Some(number) if number > 0 => Place::Partition(number),
            _ => {
                wrong("'partition' must be a number from 1 or a device".to_owned());
                Place::Found
            }
        },
    };
    let is_deleted = match given("deleted") {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            wrong("'deleted' must be true or false".to_owned());
            false
        }
    };
    let source = match given("content") {
        Some(_) if is_deleted => {
            wrong("'content' and 'deleted' exclude each other".to_owned());
            Source::Removed
        }
        _ if is_deleted => Source::Removed,
        None => Source::Kept,
        Some(Value::String(text)) if text.contains("://") => Source::Template(text.clone()),
        Some(Value::String(text)) => Source::Inline(text.clone()),
        Some(_) => {
            wrong("'content' must be a text".to_owned());
            Source::Kept
        }
    };
    let mut number = |key: &str, largest: u32, may_be_negative: bool| match given(key) {
        None => None,
        // What Python's chown takes for "as it is".
        Some(value) if may_be_negative && value.as_i64() == Some(-1) => None,
        Some(value) => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            let fits = number.filter(|number| *number <= largest);
            if fits.is_none() {
                wrong(format!("'{key}' must be an integer from 0 to {largest}"));
            }
            fits
        }
    };
    let wanted = Wanted {
        path: path.to_owned(),
        place: target,
        source,
        directory_mode: number("dirmode", MODES, false),
        attributes: Attributes {
            mode: number("mode", MODES, false),
            owner: number("owner", u32::MAX - 1, true),
            group: number("group", u32::MAX - 1, true),
        },
    };
    (problems.len() == before).then_some(wanted)
}

/// Whether a text names a device rather than a partition's number.
fn is_device(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && partition_number(&name.into()).is_none()
}

/// A partition's number, which may come as text: options that were set on a command line do.
fn partition_number(value: &Value) -> Option<u32> {
    match value {
        Value::String(digits) => digits.trim().parse().ok(),
        number => u32::try_from(number.as_u64()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    fn read_files(property: Value, argument: Value) -> Result<Vec<Wanted>, String> {
        let node = Node(object(json!({"properties": {"inject_files": property}})));
        read(&node, &object(json!({"files": argument}))).map_err(|failure| {
            assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
            failure.details
        })
    }

    #[test]
    fn the_nodes_files_come_before_the_steps() {
        let files = read_files(
            json!([{"path": "/etc/a", "content": "eA=="}]),
            json!([
                {"path": "b", "partition": 2, "deleted": true},
                {"path": "/c/d", "partition": "LABEL=x", "content": "http://h/{node[uuid]}",
                 "mode": 0o602, "dirmode": 0o703, "owner": 42, "group": -1},
                {"path": "/e/f", "deleted": false},
            ]),
        )
        .unwrap();
        let shown: Vec<_> = files
            .iter()
            .map(|file| (file.path.as_str(), file.place.clone(), file.source.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("/etc/a", Place::Found, Source::Inline("eA==".into())),
                ("b", Place::Partition(2), Source::Removed),
                (
                    "/c/d",
                    Place::Named("LABEL=x".into()),
                    Source::Template("http://h/{node[uuid]}".into())
                ),
                ("/e/f", Place::Found, Source::Kept),
            ]
        );
        assert_eq!(
            files[2].attributes,
            Attributes {
                mode: Some(0o602),
                owner: Some(42),
                group: None,
            }
        );
        assert_eq!(files[2].directory_mode, Some(0o703));
        assert_eq!(read_files(Value::Null, Value::Null), Ok(Vec::new()));
    }

    #[test]
    fn a_partition_may_be_a_number_in_a_text() {
        let place = |partition: Value| {
            let files = json!([{"path": "/etc/a", "partition": partition}]);
            read_files(files, Value::Null).map(|files| files[0].place.clone())
        };
        for (partition, expected) in [
            (json!(2), Place::Partition(2)),
            (json!("2"), Place::Partition(2)),
            (json!(" 12 "), Place::Partition(12)),
            (json!("/dev/sda2"), Place::Named("/dev/sda2".into())),
            (json!("2x"), Place::Named("2x".into())),
            (json!(""), Place::Found),
            (json!(null), Place::Found),
        ] {
            assert_eq!(place(partition.clone()), Ok(expected), "{partition}");
        }
        for bad in [json!("0"), json!(0), json!(-1), json!(1.5), json!(true)] {
            assert!(place(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let text = read_files(
            json!([{"content": "x"}, {"path": "/a/b", "extra": 1}, 5]),
            json!([
                {"path": "/a"},
                {"path": "/a/b/"},
                {"path": "/a/../b"},
                {"path": "/a/b", "content": "x", "deleted": true},
                {"path": "/a/b", "mode": "0644", "dirmode": 0o10000, "owner": -2},
                {"path": "/a/b", "partition": 0},
                {"path": "/a/b", "partition": "-o"},
                {"path": 1, "content": 1, "deleted": 1},
            ]),
        )
        .unwrap_err();
        for problem in [
            "Validation of files failed: properties.inject_files[0]: 'path' is required",
            "properties.inject_files[1]: unexpected key 'extra'",
            "properties.inject_files[2] must be an object",
            "files[0]: a file directly in / needs a 'partition' number",
            "files[1]: 'path' must not end with a slash",
            "files[2]: 'path' must not hold '..'",
            "files[3]: 'content' and 'deleted' exclude each other",
            "files[4]: 'dirmode' must be an integer from 0 to 4095",
            "files[4]: 'mode' must be an integer from 0 to 4095",
            "files[4]: 'owner' must be an integer",
            "files[5]: 'partition' must be a number from 1 or a device",
            "files[6]: 'partition' must be a number from 1 or a device",
            "files[7]: 'path' must be a text",
            "files[7]: 'deleted' must be true or false",
            "files[7]: 'content' must be a text",
        ] {
            assert!(text.contains(problem), "{problem}: {text}");
        }
        for (property, argument, problem) in [
            (
                json!({}),
                json!(null),
                "properties.inject_files must be a list",
            ),
            (json!(null), json!("x"), "files must be a list"),
        ] {
            let text = read_files(property, argument).unwrap_err();
            assert!(text.contains(problem), "{text}");
        }
    }
}
