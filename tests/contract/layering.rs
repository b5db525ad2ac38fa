//! The layers of the code: which module may import which, and which crates may appear where.
//! How long files and functions may be is in `shape.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the agent and the modules that each may import. `config`, `failure`,
/// `shutdown` and `task` are plain data that every module may use.
const AGENT: &[(&str, &[&str])] = &[
    ("main", &["app"]),
    ("app", &["*"]),
    (
        "rpc",
        &[
            "commands",
            "conductor",
            "steps",
            "hardware",
            "machine",
            "logs",
        ],
    ),
    ("conductor", &["inspect", "hardware", "machine", "system"]),
    (
        "commands",
        &[
            "steps", "inspect", "hardware", "image", "disk", "machine", "logs", "system",
        ],
    ),
    ("steps", &["hardware", "machine", "logs", "system"]),
    ("inspect", &["hardware", "machine", "logs", "system"]),
    ("hardware", &["image", "disk", "machine", "logs", "system"]),
    ("image", &["disk", "machine", "system"]),
    ("disk", &["machine", "system"]),
    ("machine", &["system"]),
    ("logs", &["machine", "system"]),
    ("network", &["disk", "system"]),
    ("system", &[]),
    ("task", &[]),
    ("config", &[]),
    ("failure", &[]),
    ("shutdown", &[]),
];
const AGENT_FREE: &[&str] = &["config", "failure", "shutdown", "task"];

/// Modules of the shim, likewise.
const SHIM: &[(&str, &[&str])] = &[
    ("main", &["app"]),
    ("app", &["*"]),
    (
        "relay",
        &[
            "agents",
            "fleet",
            "gateway",
            "identity",
            "rest_server",
            "ironic",
            "pacing",
            "registrar",
            "rest",
            "tls",
            "weight",
        ],
    ),
    ("fleet", &["agents", "identity", "peers"]),
    ("page", &["fleet"]),
    (
        "gateway",
        &["agents", "fleet", "peers", "rest", "rest_server", "tls"],
    ),
    (
        "rest_server",
        &["advertise", "agents", "ironic", "rest", "tls"],
    ),
    ("rest", &["agents", "peers", "weight"]),
    ("peers", &["agents"]),
    ("identity", &["agents", "tls"]),
    ("agents", &[]),
    ("ironic", &["weight"]),
    ("join_token_tool", &["identity"]),
    ("registrar", &["agents", "fleet", "ironic"]),
    ("pacing", &[]),
    ("advertise", &[]),
    ("config", &[]),
    ("metrics", &[]),
    ("descriptors", &[]),
    ("discover", &["advertise"]),
    ("tls", &[]),
    ("weight", &[]),
];

/// `metrics` is what every module counts with, and every listener has its share of descriptors.
const SHIM_FREE: &[&str] = &["config", "descriptors", "metrics"];

/// Modules of `agentctl`, likewise.
const AGENTCTL: &[(&str, &[&str])] = &[
    ("main", &[]),
    ("commands", &["*"]),
    (
        "orders",
        &[
            "arguments",
            "connection",
            "error",
            "output",
            "targets",
            "terminal",
        ],
    ),
    ("targets", &["arguments", "connection", "error"]),
    ("output", &["arguments", "error", "targets", "terminal"]),
    ("error", &["connection", "contexts", "orders", "output"]),
    ("arguments", &[]),
    ("connection", &[]),
    ("contexts", &[]),
    ("terminal", &[]),
    ("exit_kind", &[]),
];

/// What an exit code means, every module may say.
const AGENTCTL_FREE: &[&str] = &["exit_kind"];

/// A crate or path, and the places (path prefixes below a package) that may name it.
const CONFINED: &[(&str, &str, &[&str])] = &[
    ("agent", "tonic", &["src/rpc", "src/app"]),
    ("agent", "prost", &["src/rpc", "src/app"]),
    (
        "agent",
        "ironic_agent_protocol",
        // The table of the verbs is plain data.
        &["src/rpc", "src/app", "src/commands/descriptor"],
    ),
    ("agent", "rustix", &["src/system"]),
    ("agent", "reqwest", &["src/system"]),
    ("agent", "clap", &["src/app"]),
    // The wall clock may jump, which a deployment itself may cause: it says when something was,
    // and no deadline follows it.
    (
        "agent",
        "SystemTime",
        &[
            "src/commands",
            "src/logs",
            "src/rpc/convert",
            "src/system/clock",
            // A date in a server's answer, compared with the server's clock or ours.
            "src/system/fetch/http",
            "src/task",
        ],
    ),
    (
        "shim",
        "SystemTime",
        &["src/agents/logical_time", "src/fleet/clock"],
    ),
    (
        "shim",
        "OffsetDateTime",
        &[
            "src/gateway/certificate",
            "src/metrics/process",
            "src/identity/authority",
            "src/rest_server",
            "src/tls",
        ],
    ),
    (
        "shim",
        "tonic",
        &["src/relay", "src/agents", "src/app", "src/fleet"],
    ),
    (
        "shim",
        "prost",
        &[
            "src/relay",
            "src/agents",
            "src/app",
            "src/fleet",
            "src/rest/parameters",
        ],
    ),
    ("shim", "reqwest", &["src/ironic", "src/advertise"]),
    // Of the fleet: frames of a body that passes through.
    (
        "shim",
        "hyper",
        &[
            "src/fleet/proxy",
            "src/metrics/listener",
            "src/page",
            "src/peers",
            "src/rest",
        ],
    ),
    ("shim", "prometheus_client", &["src/metrics"]),
    ("shim", "async_nats", &["src/peers/directory"]),
    (
        "clients/agentctl",
        "tonic",
        &["src/connection", "src/commands/fleet_stream"],
    ),
    (
        "clients/agentctl",
        "prost_reflect",
        &["src/output/message", "src/output/schema"],
    ),
    ("clients/agentctl", "rustls", &["src/connection"]),
    ("clients/agentctl", "rustix", &["src/terminal"]),
];

/// Crates that both programs may build on. None of them imports a program, nor another of
/// these unless it is named here.
const SHARED: &[(&str, &[&str])] = &[
    ("crates/ondisk", &[]),
    // For tests only.
    ("crates/fuzz", &[]),
    ("crates/text", &[]),
    ("crates/tunnel", &[]),
    ("crates/document", &[]),
    ("crates/options", &["ironic-text"]),
    ("crates/transport", &["ironic-options"]),
    (
        "crates/program",
        &["ironic-options", "ironic-text", "ironic-transport"],
    ),
];

/// Paths that reach beyond memory. [`PURE`] crates take bytes and return values.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::env",
    "std::thread",
    "std::time",
];
const PURE: &[&str] = &["crates/ondisk"];

fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every package of the workspace with code of its own.
pub(super) fn packages() -> Vec<&'static str> {
    let shared = SHARED.iter().map(|(name, _)| *name);
    let programs = ["agent", "shim", "clients/agentctl"];
    programs.into_iter().chain(shared).collect()
}

/// Every source file below a folder: path relative to the package, and its code without tests.
pub(super) fn sources(name: &str) -> Vec<(String, String)> {
    let root = package(name);
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                if relative.ends_with("/tests.rs") || relative.contains("/tests/") {
                    continue;
                }
                found.push((relative, without_tests(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "the sources of {name} were not found");
    found
}

/// Tests stand at the foot of a file. What follows a `#[cfg(test)]` module that opens at
/// column 0 is theirs.
fn without_tests(text: &str) -> String {
    let foot = text
        .match_indices("\n#[cfg(test)]\n")
        .map(|(at, _)| at)
        .find(|at| {
            text[*at..].lines().skip(2).any(|line| {
                line.trim_start_matches("pub(crate) ")
                    .starts_with("mod tests")
            })
        })
        .unwrap_or(text.len());
    let code = text[..foot]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The module of a file: the first name below `src`.
fn module(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap();
    below.split(['/', '.']).next().unwrap()
}

/// The modules that a text names after `crate::`, also within braces.
fn named_modules(text: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut name = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (character == ',' || character == ':') || depth == 0 {
                    if character != ':' || !name.is_empty() {
                        modules.extend(identifier(&name));
                    }
                    name = if character == ':' {
                        "-".into()
                    } else {
                        String::new()
                    };
                } else if depth == 1 {
                    name.push(character);
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            modules.extend(identifier(rest));
        }
    }
    modules
}

fn identifier(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()))
        .unwrap_or(text.len());
    // A capital after it: a type re-exported at the root, which belongs to no module.
    (end > 0).then(|| text[..end].to_owned())
}

fn misplaced_imports(name: &str, table: &[(&str, &[&str])], free: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, code) in sources(name) {
        let module = module(&path);
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = table.iter().find(|(known, _)| *known == module) else {
            wrong.push(format!(
                "{name}/{path}: module `{module}` is not in the import table"
            ));
            continue;
        };
        for imported in named_modules(&code) {
            let known = table.iter().any(|(other, _)| *other == imported);
            let fine = imported == module
                || !known
                || allowed.contains(&"*")
                || allowed.contains(&imported.as_str())
                || free.contains(&imported.as_str());
            if !fine {
                wrong.push(format!(
                    "{name}/{path}: `{module}` must not import `{imported}`"
                ));
            }
        }
    }
    wrong
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut wrong = misplaced_imports("agent", AGENT, AGENT_FREE);
    wrong.extend(misplaced_imports("shim", SHIM, SHIM_FREE));
    wrong.extend(misplaced_imports(
        "clients/agentctl",
        AGENTCTL,
        AGENTCTL_FREE,
    ));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What touches the machine is given what it needs: it works the same whatever an operator sets.
#[test]
fn system_does_not_read_the_configuration() {
    let mut sources = sources("agent");
    sources.retain(|(path, code)| {
        path.starts_with("src/system/") && named_modules(code).contains("config")
    });
    let wrong: Vec<_> = sources.into_iter().map(|(path, _)| path).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn crates_stay_in_their_modules() {
    let mut wrong = Vec::new();
    for (name, confined, places) in CONFINED {
        for (path, code) in sources(name) {
            let names_it = code.match_indices(&format!("{confined}::")).any(|(at, _)| {
                !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':')
            });
            if names_it && !places.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("{name}/{path}: `{confined}` belongs to {places:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The modules that may change files of the machine, besides `system`, and where. Everything that
/// is not in a directory of the agent's own is reached by `PathPrefix::writable`, which a simulation
/// refuses.
const WRITERS: &[(&str, &str)] = &[
    (
        "src/commands/verbs/finalize_rescue/mod.rs",
        "PathPrefix::writable",
    ),
    ("src/commands/power/mod.rs", "PathPrefix::writable"),
    ("src/commands/store/mod.rs", "the state directory"),
    ("src/conductor/boot_file.rs", "the state directory"),
    ("src/disk/boot/grub/mod.rs", "a mounted image"),
    (
        "src/disk/virtual_media/mod.rs",
        "the start from virtual media, not in a simulation",
    ),
    ("src/disk/filesystem/mount/mod.rs", "PathPrefix::writable"),
    ("src/hardware/container/runtime.rs", "PathPrefix::writable"),
    ("src/hardware/external/mod.rs", "the state directory"),
    ("src/hardware/external/program.rs", "the state directory"),
    (
        "src/hardware/generic/erase_pstore.rs",
        "PathPrefix::writable",
    ),
    ("src/hardware/vendor/intel_cna.rs", "PathPrefix::writable"),
    (
        "src/hardware/vendor/mellanox/image.rs",
        "the state directory",
    ),
    ("src/image/bootc/mod.rs", "PathPrefix::writable"),
    ("src/image/bootc/private_file.rs", "PathPrefix::writable"),
    ("src/image/last_deployment.rs", "the state directory"),
    ("src/machine/raid/root_volume.rs", "PathPrefix::writable"),
    ("src/network/bring_up/mod.rs", "PathPrefix::writable"),
    ("src/rpc/mod.rs", "the socket that is configured"),
];

#[test]
fn files_of_the_machine_are_changed_where_a_simulation_refuses_it() {
    let changes = [
        "fs::write(",
        "fs::copy(",
        "fs::rename(",
        "fs::create_dir",
        "fs::remove_",
        "fs::set_permissions(",
        "fs::hard_link(",
        "fs::symlink(",
        " symlink(",
        "File::create",
        "OpenOptions",
        "DirBuilder",
        "state_file::replace",
    ];
    let mut wrong = Vec::new();
    for (path, code) in sources("agent") {
        if path.starts_with("src/system/") || path.contains("testing") {
            continue;
        }
        let does = changes.iter().find(|change| code.contains(**change));
        let listed = WRITERS.iter().find(|(known, _)| *known == path);
        match (does, listed) {
            (Some(change), None) => wrong.push(format!("agent/{path}: `{change}` is not listed")),
            (None, Some(_)) => wrong.push(format!("agent/{path} changes no files: unlist it")),
            (Some(_), Some((_, "PathPrefix::writable"))) if !code.contains(".writable(") => {
                wrong.push(format!(
                    "agent/{path}: it does not ask `PathPrefix::writable`"
                ));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn shared_crates_lie_below_both_programs() {
    for (name, allowed) in SHARED {
        let manifest = fs::read_to_string(package(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let ours = dependencies
            .lines()
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| dependency.starts_with("ironic-"));
        let wrong: Vec<_> = ours
            .filter(|dependency| !allowed.contains(dependency))
            .collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn pure_crates_touch_nothing_outside() {
    for name in PURE {
        for (path, code) in sources(name) {
            for outside in OUTSIDE {
                assert!(!code.contains(outside), "{name}/{path} uses {outside}");
            }
        }
    }
}

/// Files outside of the agent's `system` that call what has no safe name: the C library's
/// allocator, in one line.
const UNSAFE: &[(&str, &str)] = &[("shim", "src/gateway/memory.rs")];

#[test]
fn unsafe_code_stays_in_system() {
    for (path, code) in sources("agent") {
        let has = code.contains("unsafe {") || code.contains("unsafe fn");
        assert!(
            !has || path.starts_with("src/system/"),
            "agent/{path} holds unsafe code"
        );
    }
    let others = SHARED.iter().map(|(name, _)| *name);
    let others = others.chain(["shim", "clients/agentctl"]);
    for name in others {
        for (path, code) in sources(name) {
            assert!(
                !code.contains("unsafe {") || UNSAFE.contains(&(name, path.as_str())),
                "{name}/{path} holds unsafe code"
            );
        }
    }
}

#[test]
fn the_identifier_of_a_boot_is_read_in_one_place() {
    let mut sources = sources("agent");
    sources.retain(|(_, code)| code.contains("random/boot_id"));
    let paths: Vec<_> = sources.into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["src/system/path_prefix.rs"]);
}

#[test]
fn no_module_is_called_utils() {
    for name in packages() {
        for (path, _) in sources(name) {
            let drawer = ["util", "helper", "common", "misc"]
                .iter()
                .any(|word| path.contains(word));
            assert!(!drawer, "{name}/{path}: name the module by what it answers");
        }
    }
}

mod the_scanner_itself {
    use super::{identifier, named_modules, without_tests};

    #[test]
    fn finds_modules_in_every_form_of_import() {
        let text = "use crate::disk::table;\nuse crate::{image::{self, Hash}, task::Task, failure};\nlet x = crate::steps::go();";
        let modules: Vec<_> = named_modules(text).into_iter().collect();
        assert_eq!(modules, ["disk", "failure", "image", "steps", "task"]);
        assert_eq!(identifier("Config"), None);
    }

    #[test]
    fn leaves_out_tests_and_comments() {
        let text =
            "use a;\n// crate::no\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n use crate::x;\n}\n";
        assert_eq!(without_tests(text), "use a;\nfn f() {}");
    }
}

#[test]
fn paths_of_the_checkout_are_quoted_in_the_makefile() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")).unwrap();
    let paths = [
        "$(CURDIR)",
        "$(DEBUG)",
        "$(BINARIES)",
        "$(RECORD)",
        "$(AGENT)",
        "$(SHIM)",
        "$(RAMDISK)",
    ];
    // A checkout may lie in a directory with a blank in its name.
    let bare: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with('\t'))
        .filter(|line| {
            paths.iter().any(|path| {
                let mut places = line.match_indices(path);
                places.any(|(place, _)| line[..place].matches('"').count() % 2 == 0)
            })
        })
        .collect();
    assert!(bare.is_empty(), "not in double quotes: {bare:#?}");
}
