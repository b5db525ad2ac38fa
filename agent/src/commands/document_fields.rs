//! The documents of typed commands, read field by field. What is wrong is named by its path.

use std::fmt::Display;

use ironic_document::JsonObject;
use serde_json::Value;
use thiserror::Error;

/// A field of an order that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {problem}")]
pub struct InvalidOrderField {
    /// Where it is: `write_image.image.urls[1]`.
    pub path: String,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// It must be there.
    #[error("is missing: {0}")]
    Missing(&'static str),
    /// It has another value than it may have.
    #[error("must be {expected}, not {found}")]
    Value {
        /// What it must be.
        expected: &'static str,
        /// What it is; never a secret.
        found: String,
    },
    /// Another field says the same.
    #[error("cannot be given together with {0}: send one of them")]
    Exclusive(&'static str),
    /// Another field has to be there, too.
    #[error("needs {0}, too")]
    Needs(&'static str),
    /// Another field makes it mean nothing.
    #[error("means nothing with {with}: {fix}")]
    Unused {
        /// The other field and its value.
        with: String,
        /// What to do.
        fix: &'static str,
    },
    /// The node says otherwise.
    #[error("is {ordered}, and {node}")]
    AgainstNode {
        /// What was ordered.
        ordered: &'static str,
        /// What the node says, and what to do.
        node: &'static str,
    },
    /// The disk was selected before.
    #[error("{disk} is selected by {earlier}, too: select each disk once")]
    SelectedTwice {
        /// The disk.
        disk: String,
        /// The path of the earlier field.
        earlier: String,
    },
}

/// A document and where it is.
#[derive(Debug, Clone)]
pub(super) struct DocumentFields {
    path: String,
    fields: JsonObject,
}

impl DocumentFields {
    /// The document at a path.
    pub(super) fn new(path: impl Into<String>, fields: JsonObject) -> Self {
        Self {
            path: path.into(),
            fields,
        }
    }

    /// The path of a field.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The path of the document itself.
    pub(super) fn own_path(&self) -> String {
        self.path.clone()
    }

    /// Whether a field is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// What is wrong with a field.
    pub(super) fn invalid(&self, name: &str, problem: FieldProblem) -> InvalidOrderField {
        InvalidOrderField {
            path: self.path(name),
            problem,
        }
    }

    /// A field must be something else.
    pub(super) fn must_be(
        &self,
        name: &str,
        expected: &'static str,
        found: impl Display,
    ) -> InvalidOrderField {
        let found = found.to_string();
        self.invalid(name, FieldProblem::Value { expected, found })
    }

    /// Two fields must not both be set.
    pub(super) fn exclude(&self, name: &str, other: &'static str) -> Result<(), InvalidOrderField> {
        if self.has(name) && self.has(other) {
            return Err(self.invalid(name, FieldProblem::Exclusive(other)));
        }
        Ok(())
    }

    /// A text; an empty one is absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// The value of an enumeration without the beginning that all of them have, in lower case.
    pub(super) fn word(&self, name: &str, beginning: &str) -> Option<String> {
        let text = self.text(name)?;
        let word = text.strip_prefix(beginning).unwrap_or(text);
        Some(word.to_ascii_lowercase())
    }

    /// `true` where it is set and true.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.fields.get(name) == Some(&Value::Bool(true))
    }

    /// A flag that may be absent.
    pub(super) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.fields.get(name).and_then(Value::as_bool)
    }

    /// A number. One that a document cannot hold as a number arrives as its digits.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.fields.get(name)? {
            Value::String(digits) => digits.parse().ok(),
            value => value.as_u64(),
        }
    }

    /// A document within this one.
    pub(super) fn document(&self, name: &str) -> Option<Self> {
        match self.fields.get(name)? {
            Value::Object(fields) => Some(Self::new(self.path(name), fields.clone())),
            _ => None,
        }
    }

    /// A document that must be there.
    pub(super) fn required(
        &self,
        name: &str,
        what: &'static str,
    ) -> Result<Self, InvalidOrderField> {
        self.document(name)
            .ok_or_else(|| self.invalid(name, FieldProblem::Missing(what)))
    }

    /// The documents of a list.
    pub(super) fn documents(&self, name: &str) -> Vec<Self> {
        let items = self.items(name).enumerate();
        let documents = items.filter_map(|(index, item)| match item {
            Value::Object(fields) => {
                let path = self.path(&format!("{name}[{index}]"));
                Some(Self::new(path, fields.clone()))
            }
            _ => None,
        });
        documents.collect()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        self.items(name).filter_map(Value::as_str).collect()
    }

    fn items(&self, name: &str) -> impl Iterator<Item = &Value> {
        let list = self.fields.get(name).and_then(Value::as_array);
        list.into_iter().flatten()
    }
}
