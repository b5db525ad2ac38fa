//! Collector `extra-hardware`: what the program `hardware-detect` finds and measures.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use ironic_options::Parameters;
use serde_json::{Map, Value};

use super::{Collector, CollectorError, Inspection};
use crate::system::{Cmd, System};

/// Benchmarks of disks take their time.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs `hardware-detect`, with the benchmarks that the kernel parameter
/// `ipa-inspection-benchmarks` names.
#[derive(Debug)]
pub(super) struct ExtraHardware;

impl Collector for ExtraHardware {
    fn name(&self) -> &'static str {
        "extra-hardware"
    }

    fn collect<'a>(
        &'a self,
        inspection: Inspection<'a>,
    ) -> BoxFuture<'a, Result<JsonObject, CollectorError>> {
        async move {
            let system = inspection.system;
            let mut command = Cmd::new("hardware-detect").timeout(TIMEOUT);
            let benchmarks = benchmarks(system);
            if !benchmarks.is_empty() {
                command = command.arg("--benchmark").args(benchmarks);
            }
            let output = system.run.run(command).await?;
            let data: Value = serde_json::from_slice(&output.stdout)?;
            Ok(Map::from_iter([("data".to_owned(), data)]))
        }
        .boxed()
    }
}

fn benchmarks(system: &System) -> Vec<String> {
    let parameters = Parameters::of_machine(&system.root.path("/"));
    let named = parameters
        .get("ipa-inspection-benchmarks")
        .unwrap_or_default();
    let words = named.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::config::AgentConfig;
    use crate::hardware::ManagerRegistry;
    use crate::machine::testing::FakeMachine;
    use crate::system::process::Script;

    #[tokio::test]
    async fn what_the_program_prints_is_handed_on() {
        let cases = [
            (
                "",
                "hardware-detect",
                "[[1,2]]",
                Ok(json!({"data": [[1, 2]]})),
            ),
            (
                "ipa-inspection-benchmarks=cpu,mem",
                "hardware-detect --benchmark cpu mem",
                "not json",
                Err("hardware-detect did not print JSON".to_owned()),
            ),
        ];
        for (kernel, command, printed, expected) in cases {
            let mut machine = FakeMachine::new();
            machine.file("proc/cmdline", kernel);
            let system = machine.system_with(Arc::new(Script::new().expect(command, printed)));
            let registry = ManagerRegistry::compiled_in(&system).unwrap();
            let inspection = Inspection {
                system: &system,
                config: &AgentConfig::default(),
                registry: &registry,
                collectors: &[],
            };
            let found = ExtraHardware.collect(inspection).await;
            let found = found.map(Value::Object).map_err(|error| error.to_string());
            assert_eq!(found, expected);
        }
    }
}
