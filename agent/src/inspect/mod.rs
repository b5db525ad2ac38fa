//! Collectors and their one report.

use serde_json::{Map, Value};

use crate::config::Config;
use crate::hardware::Registry;
use crate::system::System;

/// What an inspection found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The document that Ironic takes: a key or more per collector, `error` last. It is
    /// posted also when something failed.
    pub data: Map<String, Value>,
    /// What failed, one line each; the same as in `error`.
    pub failures: Vec<String>,
}

/// Runs the configured collectors in their order.
pub async fn collect(_system: &System, _config: &Config, _registry: &Registry) -> Report {
    Report::default()
}
