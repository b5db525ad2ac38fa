//! Which memory, processors and network interfaces are near each other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::system::{PathPrefix, System};

const NODES: &str = "/sys/devices/system/node";

/// A NUMA node's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaMemory {
    /// The node.
    pub node: u32,
    /// KiB.
    pub size_kb: u64,
}

/// A core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// The kernel's number of it, unique in its socket only.
    pub core: u32,
    /// The node.
    pub node: u32,
    /// The kernel's numbers of its threads.
    pub threads: Vec<u32>,
}

/// What is near what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Memory by node.
    pub memory: Vec<NumaMemory>,
    /// Cores by node and number.
    pub cores: Vec<Core>,
    /// Network interfaces that know their node, -1 for none.
    pub interfaces: Vec<(String, i32)>,
}

impl Topology {
    /// The topology with the keys of an inspection report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let memory = self.memory.iter();
        let cores = self.cores.iter();
        let interfaces = self.interfaces.iter();
        json!({
            "ram": memory
                .map(|memory| json!({"numa_node": memory.node, "size_kb": memory.size_kb}))
                .collect::<Vec<_>>(),
            "cpus": cores
                .map(|core| json!({
                    "cpu": core.core, "numa_node": core.node, "thread_siblings": core.threads,
                }))
                .collect::<Vec<_>>(),
            "nics": interfaces
                .map(|(name, node)| json!({"name": name, "numa_node": node}))
                .collect::<Vec<_>>(),
        })
    }
}

/// Why there is no topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct NoTopology {
    path: String,
    problem: &'static str,
}

fn unusable(path: impl Into<String>, problem: &'static str) -> NoTopology {
    NoTopology {
        path: path.into(),
        problem,
    }
}

/// Reads the topology.
///
/// # Errors
/// The first thing that cannot be made sense of: half a topology would mislead.
pub fn probe(system: &System) -> Result<Topology, NoTopology> {
    let root = &system.root;
    let mut nodes: Vec<u32> = numbered(root, NODES, "node");
    nodes.sort_unstable();
    if !root.exists(NODES) {
        return Err(unusable(NODES, "the kernel shows no NUMA nodes"));
    }
    let mut topology = Topology::default();
    for node in nodes {
        let path = format!("{NODES}/node{node}");
        topology.memory.push(NumaMemory {
            node,
            size_kb: memory(root, &format!("{path}/meminfo"))?,
        });
        topology.cores.extend(cores(root, &path, node)?);
    }
    for name in root.names("/sys/class/net") {
        let path = format!("/sys/class/net/{name}/device/numa_node");
        let Some(text) = root.read_optional(&path) else {
            continue;
        };
        let node = text.trim().parse();
        let node = node.map_err(|_| unusable(path, "it holds no number"))?;
        topology.interfaces.push((name, node));
    }
    Ok(topology)
}

/// The numbers of entries that are called this and a number.
fn numbered(root: &PathPrefix, directory: &str, prefix: &str) -> Vec<u32> {
    let names = root.names(directory);
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix(prefix)?.parse().ok());
    numbers.collect()
}

fn memory(root: &PathPrefix, path: &str) -> Result<u64, NoTopology> {
    let text = root.read_optional(path);
    let text = text.ok_or_else(|| unusable(path, "it cannot be read"))?;
    parse_memory(&text).ok_or_else(|| unusable(path, "it does not tell MemTotal in kB, MB or GB"))
}

/// `Node 0 MemTotal:  1560000 kB` in KiB.
fn parse_memory(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("MemTotal"))?;
    let (_, value) = line.split_once(':')?;
    let mut words = value.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    let factor = match words.next()? {
        "kB" | "KB" => 1,
        "MB" => 1 << 10,
        "GB" => 1 << 20,
        _ => return None,
    };
    match words.next() {
        None => number.checked_mul(factor),
        Some(_) => None,
    }
}

/// Threads that share a core have its number in common; other sockets use the numbers again,
/// but on other nodes.
fn cores(root: &PathPrefix, path: &str, node: u32) -> Result<Vec<Core>, NoTopology> {
    let mut threads = numbered(root, path, "cpu");
    threads.sort_unstable();
    let mut cores: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for thread in threads {
        let path = format!("{path}/cpu{thread}/topology/core_id");
        let text = root.read_optional(&path);
        let core = text.and_then(|text| text.trim().parse().ok());
        let core = core.ok_or_else(|| unusable(path, "it holds no number"))?;
        cores.entry(core).or_default().push(thread);
    }
    let cores = cores.into_iter();
    Ok(cores
        .map(|(core, threads)| Core {
            core,
            node,
            threads,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    #[test]
    fn units_of_memory() {
        let cases = [
            ("Node 0 MemTotal: 1560000 kB", Some(1_560_000)),
            (
                "Node 0 MemFree: 1 kB\nNode 0 MemTotal: 10 MB\n",
                Some(10240),
            ),
            ("Node 0 MemTotal: 2 GB", Some(2_097_152)),
            ("Node 0 MemTotal: 1560000 TB", None),
            ("Node 0: MemTotal: 1560000 kB", None),
            ("", None),
        ];
        for (text, size) in cases {
            assert_eq!(parse_memory(text), size, "{text}");
        }
    }

    #[test]
    fn threads_of_a_core_are_siblings() {
        let mut machine = FakeMachine::new();
        let problem = probe(&machine.system()).unwrap_err().to_string();
        assert!(problem.contains("no NUMA nodes"), "{problem}");
        let node = "sys/devices/system/node/node0";
        machine
            .file(&format!("{node}/meminfo"), "Node 0 MemTotal: 1560000 kB")
            .file(
                "sys/devices/system/node/node1/meminfo",
                "Node 1 MemTotal: 2 GB",
            )
            .file("sys/devices/system/node/online", "0-1")
            .file("sys/class/net/eth0/device/numa_node", "-1")
            .directory("sys/class/net/lo");
        for (thread, core) in [(0, "0"), (1, "1"), (4, "0"), (5, "1")] {
            machine.file(&format!("{node}/cpu{thread}/topology/core_id"), core);
        }
        assert_eq!(
            probe(&machine.system()).unwrap().to_json(),
            json!({
                "ram": [
                    {"numa_node": 0, "size_kb": 1_560_000},
                    {"numa_node": 1, "size_kb": 2_097_152},
                ],
                "cpus": [
                    {"cpu": 0, "numa_node": 0, "thread_siblings": [0, 4]},
                    {"cpu": 1, "numa_node": 0, "thread_siblings": [1, 5]},
                ],
                "nics": [{"name": "eth0", "numa_node": -1}],
            })
        );
        machine.file(&format!("{node}/cpu0/topology/core_id"), "x");
        let problem = probe(&machine.system()).unwrap_err().to_string();
        assert!(problem.contains("core_id: it holds no number"), "{problem}");
    }
}
