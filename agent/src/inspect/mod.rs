//! Collectors and their one report.
//!
//! A collector is one file with a [`Collector`] and one line in [`COLLECTORS`]. One that fails
//! does not keep the others from being asked; Ironic gets everything, and under `error` what
//! went wrong.

use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use thiserror::Error;
use tokio::task::JoinError;

use crate::config::AgentConfig;
use crate::hardware::ManagerRegistry;
use crate::system::{RunError, System};

mod default;
mod devices;
mod dhcp;
mod dmi;
mod extra;
mod logs;

/// The collectors by their names in `inspection_collectors`.
const COLLECTORS: &[&dyn Collector] = &[
    &default::Default,
    &logs::Logs,
    &devices::PCI,
    &devices::USB,
    &devices::NUMA,
    &devices::LLDP,
    &dmi::DmiDecode,
    &extra::ExtraHardware,
];

/// The collectors when none is configured.
const USUAL: [&str; 2] = ["default", "logs"];

/// What an inspection found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InspectionReport {
    /// The document that Ironic takes: a key or more per collector, `error` last. It is
    /// posted also when something failed.
    pub data: JsonObject,
    /// What failed, one line each; the same as in `error`.
    pub failures: Vec<String>,
}

/// What a collector works with.
#[derive(Debug, Clone, Copy)]
struct Inspection<'a> {
    system: &'a System,
    config: &'a AgentConfig,
    registry: &'a ManagerRegistry,
    /// The collectors of this inspection.
    collectors: &'a [&'a str],
}

/// Finds out one thing about the machine.
trait Collector: fmt::Debug + Send + Sync {
    /// Its name in `inspection_collectors`.
    fn name(&self) -> &'static str;

    /// What it found, as keys of the report. The error is one line for the operator.
    fn collect<'a>(
        &'a self,
        inspection: Inspection<'a>,
    ) -> BoxFuture<'a, Result<JsonObject, CollectorError>>;
}

/// Why a collector found nothing.
#[derive(Debug, Error)]
enum CollectorError {
    /// The collector's thread ended early.
    #[error("it was interrupted: {0}")]
    Interrupted(#[from] JoinError),
    /// The kernel does not show it.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A program failed or is missing.
    #[error(transparent)]
    Program(#[from] RunError),
    /// `hardware-detect` printed something else.
    #[error("hardware-detect did not print JSON")]
    NotJson(#[from] serde_json::Error),
    /// `dmidecode` printed something else.
    #[error("a memory array without its devices")]
    NoMemoryDevices,
}

/// The names of all collectors.
#[must_use]
pub fn names() -> Vec<&'static str> {
    COLLECTORS
        .iter()
        .map(|collector| collector.name())
        .collect()
}

/// Runs the configured collectors in their order.
pub async fn collect(
    system: &System,
    config: &AgentConfig,
    registry: &ManagerRegistry,
) -> InspectionReport {
    let names: Vec<&str> = match &config.common.inspection_collectors {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => USUAL.into(),
    };
    let inspection = Inspection {
        system,
        config,
        registry,
        collectors: &names,
    };
    run(COLLECTORS, inspection).await
}

async fn run(collectors: &[&dyn Collector], inspection: Inspection<'_>) -> InspectionReport {
    let mut report = InspectionReport::default();
    for name in inspection.collectors {
        let Some(collector) = collectors.iter().find(|known| known.name() == *name) else {
            report.failures.push(unknown(collectors, name));
            continue;
        };
        tracing::info!(collector = name, "collecting");
        match collector.collect(inspection).await {
            Ok(found) => report.data.extend(found),
            Err(failed) => report
                .failures
                .push(format!("collector {name} failed: {failed}")),
        }
    }
    for failure in &report.failures {
        tracing::error!(%failure, "inspection");
    }
    let error = error_text(&report.failures);
    report.data.insert("error".to_owned(), error.into());
    report
}

/// Ironic fails an inspection whose `error` is a text; it shows that text to the operator.
fn error_text(failures: &[String]) -> Option<String> {
    let lines: String = failures.iter().map(|line| format!("\n* {line}")).collect();
    (!failures.is_empty()).then(|| format!("The following errors were encountered:{lines}"))
}

fn unknown(collectors: &[&dyn Collector], name: &str) -> String {
    let known: Vec<_> = collectors.iter().map(|known| known.name()).collect();
    format!(
        "collector {name} does not exist; inspection_collectors can name: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::Value;

    use super::*;
    use crate::machine::testing::FakeMachine;

    #[derive(Debug)]
    struct Fake(&'static str, Result<&'static str, &'static str>);

    impl Collector for Fake {
        fn name(&self) -> &'static str {
            self.0
        }

        fn collect<'a>(
            &'a self,
            _: Inspection<'a>,
        ) -> BoxFuture<'a, Result<JsonObject, CollectorError>> {
            let result = match self.1 {
                Ok(key) => Ok(JsonObject::from_iter([(key.to_owned(), Value::Null)])),
                Err(text) => Err(CollectorError::Unreadable(io::Error::other(text))),
            };
            std::future::ready(result).boxed()
        }
    }

    #[tokio::test]
    async fn collectors_run_in_order_and_one_that_fails_stops_none() {
        let system = FakeMachine::new().system();
        let registry = ManagerRegistry::compiled_in(&system).unwrap();
        let collectors: [&dyn Collector; 3] = [
            &Fake("a", Err("broken")),
            &Fake("b", Ok("bee")),
            &Fake("c", Ok("sea")),
        ];
        let asked = |collectors: &'static [&'static str]| Inspection {
            system: &system,
            config: Box::leak(Box::default()),
            registry: &registry,
            collectors,
        };
        let report = run(&collectors, asked(&["c", "b"])).await;
        let keys: Vec<_> = report.data.keys().collect();
        assert_eq!(keys, ["sea", "bee", "error"]);
        assert_eq!(report.data["error"], Value::Null);

        let report = run(&collectors, asked(&["a", "typo", "b"])).await;
        let keys: Vec<_> = report.data.keys().collect();
        assert_eq!(keys, ["bee", "error"]);
        assert_eq!(
            report.data["error"],
            "The following errors were encountered:\n\
             * collector a failed: it cannot be read: broken\n\
             * collector typo does not exist; inspection_collectors can name: a, b, c"
        );
        assert_eq!(report.failures.len(), 2);
    }
}
