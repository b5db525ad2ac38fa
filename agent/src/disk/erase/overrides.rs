//! The operator's overrides for erasing the disks of one node.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::machine::ironic_node::{Node, as_flag};

/// The key of the overrides in the node's `driver_info`.
const KEY: &str = "agent_erase_plan";

/// Why the operator's overrides in the node are invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidOverrides {
    /// They are not an object.
    #[error(
        "Nothing was erased, because driver_info/{KEY} must be an object like {{\"sanitize\": \
         true}}, not {found}"
    )]
    NotAnObject {
        /// What they are.
        found: Value,
    },
    /// A value has the wrong type.
    #[error("Nothing was erased, because driver_info/{KEY}/{key} must be {expected}, not {found}")]
    WrongValue {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: Value,
    },
    /// There is no such key.
    #[error(
        "Nothing was erased, because driver_info/{KEY} has no '{key}'; it knows sanitize, \
         deadline_minutes and stall_minutes"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
}

/// What `driver_info/agent_erase_plan` of the node says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EraseOverrides {
    /// Drives that can sanitize themselves do so.
    pub sanitize: bool,
    /// A disk is given up after this time, whatever was tried in it.
    pub deadline: Option<Duration>,
    /// The alarm comes when a disk has not moved for so long.
    pub stall: Option<Duration>,
}

impl EraseOverrides {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with them, naming the key.
    pub fn of(node: &Node) -> Result<Self, InvalidOverrides> {
        let mut overrides = Self::default();
        let entries = match node.value("driver_info", KEY) {
            None => return Ok(overrides),
            Some(Value::Object(entries)) => entries,
            Some(other) => {
                return Err(InvalidOverrides::NotAnObject {
                    found: other.clone(),
                });
            }
        };
        for (key, value) in entries {
            let wrong = |expected| InvalidOverrides::WrongValue {
                key: key.clone(),
                expected,
                found: value.clone(),
            };
            let minutes = || match value.as_u64() {
                Some(minutes @ 1..=100_000) => Ok(Some(Duration::from_secs(60 * minutes))),
                _ => Err(wrong("a number of minutes from 1 to 100000")),
            };
            match key.as_str() {
                "sanitize" => {
                    overrides.sanitize = as_flag(value).ok_or_else(|| wrong("true or false"))?;
                }
                "deadline_minutes" => overrides.deadline = minutes()?,
                "stall_minutes" => overrides.stall = minutes()?,
                _ => return Err(InvalidOverrides::UnknownKey { key: key.clone() }),
            }
        }
        Ok(overrides)
    }
}
