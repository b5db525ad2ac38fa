//! The file that describes steps in containers, in YAML.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use ironic_document::JsonObject;
use serde_json::Value;

use super::error::InvalidSteps;
use super::options::options;

/// Bytes of a file that are read: far more than steps ever need.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What a file may hold once its aliases are expanded. A few lines of them can stand for
/// gigabytes.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 32;

/// A step of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileStep {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) interface: String,
    pub(super) priority: u32,
    pub(super) reboot_requested: bool,
    pub(super) abortable: bool,
    pub(super) pull_options: Vec<String>,
    pub(super) run_options: Vec<String>,
}

/// Reads the file; one that does not exist has no steps.
///
/// # Errors
/// What is wrong, for an operator.
pub(super) fn read(path: &Path, reserved: &[&str]) -> Result<Vec<FileStep>, InvalidSteps> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64;
        if read > MAX_FILE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {MAX_FILE_BYTES} bytes"),
            ));
        }
        Ok(())
    });
    match read {
        Ok(()) => parse(&text, reserved),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(InvalidSteps::Unreadable(error)),
    }
}

fn parse(text: &str, reserved: &[&str]) -> Result<Vec<FileStep>, InvalidSteps> {
    let document = document(text)?;
    let steps = match &document {
        Value::Null => return Ok(Vec::new()),
        Value::Object(document) => document.get("steps").unwrap_or(&Value::Null),
        _ => return Err(InvalidSteps::NotAMapping),
    };
    let steps = match steps {
        Value::Null => return Ok(Vec::new()),
        Value::Array(steps) => steps,
        _ => return Err(InvalidSteps::NotAList),
    };
    let mut found: Vec<FileStep> = Vec::new();
    for step in steps {
        let Value::Object(step) = step else {
            return Err(InvalidSteps::StepNotAMapping);
        };
        let step = StepReader::new(step).read()?;
        let name = step.name.as_str();
        if reserved.contains(&name) || found.iter().any(|other| other.name == name) {
            return Err(InvalidSteps::NameTaken(step.name));
        }
        found.push(step);
    }
    Ok(found)
}

/// The document as YAML says it: aliases, merges and blocks of text are resolved, `yes` and
/// `no` are flags. A key that stands twice is refused.
fn document(text: &str) -> Result<Value, InvalidSteps> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_depth: MAX_DEPTH },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| InvalidSteps::Yaml(Box::new(error)))
}

/// Reads one step.
struct StepReader<'a> {
    step: &'a JsonObject,
    /// What the step is called in errors.
    name: &'a str,
}

impl<'a> StepReader<'a> {
    fn new(step: &'a JsonObject) -> Self {
        let name = step.get("name").and_then(Value::as_str);
        Self {
            step,
            name: name.unwrap_or("<unnamed>"),
        }
    }

    fn read(&self) -> Result<FileStep, InvalidSteps> {
        let name = self.text("name")?;
        // Ironic takes any text. Names of the Python agent's own methods are not looked for here.
        if name.starts_with('_') || name.chars().any(char::is_control) || name.trim() != name {
            return Err(InvalidSteps::Name(name));
        }
        Ok(FileStep {
            priority: self.priority()?,
            // A block of text ends with a line break.
            image: self.text("image")?.trim().to_owned(),
            interface: self.text("interface")?.trim().to_owned(),
            reboot_requested: self.flag("reboot_requested")?,
            abortable: self.flag("abortable")?,
            pull_options: self.options("pull_options"),
            run_options: self.options("run_options"),
            name,
        })
    }

    fn text(&self, key: &'static str) -> Result<String, InvalidSteps> {
        match self.step.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            None | Some(Value::Null | Value::String(_)) => Err(self.missing(key)),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    fn flag(&self, key: &'static str) -> Result<bool, InvalidSteps> {
        let value = self.step.get(key).ok_or_else(|| self.missing(key))?;
        value
            .as_bool()
            .ok_or_else(|| self.wrong(key, "true or false"))
    }

    fn priority(&self) -> Result<u32, InvalidSteps> {
        let key = "priority";
        let value = self.step.get(key).ok_or_else(|| self.missing(key))?;
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.wrong(key, "a whole number"))
    }

    fn options(&self, key: &str) -> Vec<String> {
        options(self.step.get(key).unwrap_or(&Value::Null))
    }

    fn missing(&self, key: &'static str) -> InvalidSteps {
        InvalidSteps::MissingKey {
            step: self.name.to_owned(),
            key,
        }
    }

    fn wrong(&self, key: &'static str, expected: &'static str) -> InvalidSteps {
        InvalidSteps::WrongType {
            step: self.name.to_owned(),
            key,
            expected,
        }
    }
}

#[cfg(test)]
mod tests;
