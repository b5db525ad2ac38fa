//! What operators write to have files injected, and what is wrong with it.

use ironic_document::JsonObject;
use serde_json::Value;

use super::error::{FileKeyProblem, InjectFilesError, InvalidFile};
use crate::disk::inject::FileSystemChoice;
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
pub(super) struct FileRequest {
    pub path: String,
    pub file_system: FileSystemChoice,
    pub source: FileSource,
    pub attributes: Attributes,
    pub directory_mode: Option<u32>,
}

/// Where the content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileSource {
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
/// Everything that is wrong.
pub(super) fn read(
    node: &Node,
    arguments: &JsonObject,
) -> Result<Vec<FileRequest>, InjectFilesError> {
    let mut problems = Vec::new();
    let mut requests = Vec::new();
    let sources = [
        (
            "properties.inject_files",
            node.value("properties", "inject_files"),
        ),
        ("files", arguments.get("files")),
    ];
    for (field, files) in sources {
        let files = match files {
            None | Some(Value::Null) => continue,
            Some(Value::Array(files)) => files,
            Some(_) => {
                problems.push(InvalidFile::NotAList { field });
                continue;
            }
        };
        for (index, file) in files.iter().enumerate() {
            let name = format!("{field}[{index}]");
            match file {
                Value::Object(file) => match FileReader::new(file).read() {
                    Ok(request) => requests.push(request),
                    Err(wrong) => problems.extend(wrong.into_iter().map(|problem| {
                        let file = name.clone();
                        InvalidFile::Key { file, problem }
                    })),
                },
                _ => problems.push(InvalidFile::NotAnObject { file: name }),
            }
        }
    }
    if problems.is_empty() {
        Ok(requests)
    } else {
        Err(InjectFilesError::Invalid(problems))
    }
}

/// Reads one file and gathers what is wrong with it.
struct FileReader<'a> {
    file: &'a JsonObject,
    problems: Vec<FileKeyProblem>,
}

impl<'a> FileReader<'a> {
    fn new(file: &'a JsonObject) -> Self {
        Self {
            file,
            problems: Vec::new(),
        }
    }

    fn read(mut self) -> Result<FileRequest, Vec<FileKeyProblem>> {
        self.check_keys();
        let path = self.path();
        let request = FileRequest {
            file_system: self.file_system(&path),
            source: self.source(),
            directory_mode: self.number("dirmode", MODES),
            attributes: Attributes {
                mode: self.number("mode", MODES),
                owner: self.owner("owner"),
                group: self.owner("group"),
            },
            path,
        };
        if self.problems.is_empty() {
            Ok(request)
        } else {
            Err(self.problems)
        }
    }

    fn check_keys(&mut self) {
        let unknown = |key: &&String| !KEYS.contains(&key.as_str());
        for key in self.file.keys().filter(unknown) {
            self.problems.push(FileKeyProblem::Unexpected {
                key: key.clone(),
                known: &KEYS,
            });
        }
    }

    fn given(&self, key: &str) -> Option<&'a Value> {
        self.file.get(key).filter(|value| !value.is_null())
    }

    fn path(&mut self) -> String {
        let path = match self.given("path") {
            Some(Value::String(path)) => path.clone(),
            Some(_) => {
                self.problems.push(FileKeyProblem::NotText { key: "path" });
                String::new()
            }
            None => {
                self.problems.push(FileKeyProblem::PathMissing);
                String::new()
            }
        };
        if path.ends_with('/') {
            self.problems.push(FileKeyProblem::Directory);
        }
        if path.split('/').any(|name| name == "..") || path.contains('\0') {
            self.problems.push(FileKeyProblem::Outside);
        }
        path
    }

    /// The partition that is named, or the one that has the file's first directory.
    fn file_system(&mut self, path: &str) -> FileSystemChoice {
        let named = self.given("partition").filter(|partition| *partition != "");
        match named {
            None => {
                let names = path.split('/').filter(|name| !name.is_empty()).count();
                if names == 1 && !path.ends_with('/') {
                    let path = path.to_owned();
                    self.problems
                        .push(FileKeyProblem::PartitionMissing { path });
                }
                FileSystemChoice::WithDirectory
            }
            Some(Value::String(name)) if is_device(name) => FileSystemChoice::Named(name.clone()),
            Some(number) => match partition_number(number) {
                Some(number) if number > 0 => FileSystemChoice::Partition(number),
                _ => {
                    self.problems.push(FileKeyProblem::Partition);
                    FileSystemChoice::WithDirectory
                }
            },
        }
    }

    fn source(&mut self) -> FileSource {
        let is_deleted = match self.given("deleted") {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.problems.push(FileKeyProblem::Deleted);
                false
            }
        };
        match self.given("content") {
            Some(_) if is_deleted => {
                self.problems.push(FileKeyProblem::ContentOfDeleted);
                FileSource::Removed
            }
            _ if is_deleted => FileSource::Removed,
            None => FileSource::Kept,
            Some(Value::String(text)) if text.contains("://") => FileSource::Template(text.clone()),
            Some(Value::String(text)) => FileSource::Inline(text.clone()),
            Some(_) => {
                self.problems
                    .push(FileKeyProblem::NotText { key: "content" });
                FileSource::Kept
            }
        }
    }

    fn number(&mut self, key: &'static str, largest: u32) -> Option<u32> {
        let value = self.given(key)?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let fits = number.filter(|number| *number <= largest);
        if fits.is_none() {
            self.problems.push(FileKeyProblem::Number { key, largest });
        }
        fits
    }

    /// The number of a user or group; -1 is what Python's chown takes for "as it is".
    fn owner(&mut self, key: &'static str) -> Option<u32> {
        let is_unchanged = self.given(key).and_then(Value::as_i64) == Some(-1);
        if is_unchanged {
            None
        } else {
            self.number(key, u32::MAX - 1)
        }
    }
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

    fn object(value: Value) -> JsonObject {
        match value {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    fn read_files(property: Value, argument: Value) -> Result<Vec<FileRequest>, String> {
        let node = Node(object(json!({"properties": {"inject_files": property}})));
        read(&node, &object(json!({"files": argument}))).map_err(|error| {
            assert!(matches!(error, InjectFilesError::Invalid(_)), "{error:?}");
            error.to_string()
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
            .map(|file| {
                (
                    file.path.as_str(),
                    file.file_system.clone(),
                    file.source.clone(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "/etc/a",
                    FileSystemChoice::WithDirectory,
                    FileSource::Inline("eA==".into())
                ),
                ("b", FileSystemChoice::Partition(2), FileSource::Removed),
                (
                    "/c/d",
                    FileSystemChoice::Named("LABEL=x".into()),
                    FileSource::Template("http://h/{node[uuid]}".into())
                ),
                ("/e/f", FileSystemChoice::WithDirectory, FileSource::Kept),
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
        assert_eq!(read_files(Value::Null, Value::Null).unwrap(), Vec::new());
    }

    #[test]
    fn a_partition_may_be_a_number_in_a_text() {
        let file_system = |partition: Value| {
            let files = json!([{"path": "/etc/a", "partition": partition}]);
            read_files(files, Value::Null).map(|files| files[0].file_system.clone())
        };
        for (partition, expected) in [
            (json!(2), FileSystemChoice::Partition(2)),
            (json!("2"), FileSystemChoice::Partition(2)),
            (json!(" 12 "), FileSystemChoice::Partition(12)),
            (
                json!("/dev/sda2"),
                FileSystemChoice::Named("/dev/sda2".into()),
            ),
            (json!("2x"), FileSystemChoice::Named("2x".into())),
            (json!(""), FileSystemChoice::WithDirectory),
            (json!(null), FileSystemChoice::WithDirectory),
        ] {
            assert_eq!(
                file_system(partition.clone()).unwrap(),
                expected,
                "{partition}"
            );
        }
        for bad in [json!("0"), json!(0), json!(-1), json!(1.5), json!(true)] {
            assert!(file_system(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_invalid_field_is_reported_at_once() {
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
