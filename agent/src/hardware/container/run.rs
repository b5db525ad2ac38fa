//! What is to be run: which image, with which options, and whether the operator allows it.

use std::time::Duration;

use ironic_document::JsonObject;
use serde_json::Value;

use super::ID_FILE;
use super::error::ContainerStepError;
use super::options::{options, own_or, split};
use crate::config::AgentConfig;
use crate::system::Cmd;

/// What runs in a container may take long, but not forever.
const MAX_RUN_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of what it says that are kept.
const OUTPUT: usize = 1 << 20;

pub(super) const URL: &str = "container_url";
pub(super) const PULL: &str = "pull_options";
pub(super) const RUN: &str = "run_options";

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContainerRun {
    pub(super) image: String,
    pub(super) pull: Vec<String>,
    pub(super) run: Vec<String>,
}

impl ContainerRun {
    /// The image is pulled, and then run.
    pub(super) fn commands(&self, runner: &str) -> [Cmd; 2] {
        let id_file = ["--cidfile", ID_FILE];
        [
            ("pull", &[][..], &self.pull),
            ("run", &id_file[..], &self.run),
        ]
        .map(|(verb, ours, options)| {
            Cmd::new(runner)
                .arg(verb)
                .args(ours.iter().copied())
                .args(options.iter().cloned())
                .arg(argument(&self.image, runner))
                .timeout(MAX_RUN_TIME)
                .tail(OUTPUT)
        })
    }
}

/// An image that came with a command: refused unless it is allowed.
pub(super) fn asked(
    config: &AgentConfig,
    arguments: &JsonObject,
) -> Result<ContainerRun, ContainerStepError> {
    let image = match arguments.get(URL) {
        Some(Value::String(image)) if !image.is_empty() => image.clone(),
        _ => {
            return Err(ContainerStepError::NoUrl);
        }
    };
    // The runner would take it for an option.
    if image.starts_with('-') {
        return Err(ContainerStepError::UrlIsOption);
    }
    let given = |name| options(arguments.get(name).unwrap_or(&Value::Null));
    let (pull, run) = if config.container.allow_arbitrary_containers {
        (
            own_or(&given(PULL), &config.container.pull_options),
            own_or(&given(RUN), &config.container.run_options),
        )
    } else {
        let is_it = |allowed: &String| reference(allowed) == reference(&image);
        if !config.container.allowed_containers.iter().any(is_it) {
            tracing::error!(%image, allowed = ?config.container.allowed_containers, "container refused");
            return Err(ContainerStepError::NotPermitted { image });
        }
        (
            split(&config.container.pull_options),
            split(&config.container.run_options),
        )
    };
    Ok(ContainerRun { image, pull, run })
}

/// An image's name without the transports of registries. Others, of local storage, stay: what
/// lies there under an allowed name may be anything.
fn reference(image: &str) -> &str {
    let registries = ["docker://", "oci://"];
    let stripped = registries
        .iter()
        .find_map(|prefix| image.strip_prefix(prefix));
    stripped.unwrap_or(image)
}

/// An image's name as a runner reads it. `oci://` is Ironic's word for a registry, podman's for
/// a directory; docker knows registries only and no words for them.
pub(super) fn argument(image: &str, runner: &str) -> String {
    match (runner, image.strip_prefix("oci://")) {
        ("podman", Some(name)) => format!("docker://{name}"),
        ("podman", None) => image.to_owned(),
        _ => reference(image).to_owned(),
    }
}
