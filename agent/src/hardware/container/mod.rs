//! Steps that run in containers: one for any image that the operator allows, and those of a
//! file in the ramdisk.
//!
//! Nothing may run unless the operator said so: an image that comes with a command must be
//! in `allowed_containers`, and then runs with the configured options only, since options can
//! undo any list. Steps of the file were written by whoever built the ramdisk and are trusted.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;

use super::{
    Action, Argument, ArgumentKind, Description, HardwareManager, Identity, Object, Offer, Phase,
    Planning, Running, Step, StepContext, StepError, Support,
};
use crate::config::Config;
use crate::failure::{Failure, FailureKind};
use crate::system::{Cmd, System};

mod file;

use file::FileStep;

/// Programs that can run containers.
const RUNNERS: [&str; 2] = ["podman", "docker"];
/// Where they may be.
const PLACES: [&str; 6] = [
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
];
/// What runs in a container may take long, but not for ever.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
/// Where the runner writes which container it started.
const ID_FILE: &str = "/run/ironic-agent/container-id";
/// Bytes of what it says that are kept.
const OUTPUT: usize = 1 << 20;

/// What machines with a container runtime can do more.
#[derive(Debug)]
pub struct ContainerManager {
    /// The file that the steps were read from.
    file: PathBuf,
    reserved: Arc<[String]>,
    has_runtime: bool,
    steps: Vec<ContainerStep>,
    problem: Option<Failure>,
}

/// Whether any container runtime runs in this ramdisk. Being there is not enough: it is asked
/// for its version, which a program without its libraries or for another processor cannot say.
pub(super) async fn has_runtime(system: &System) -> bool {
    // A simulation runs no programs.
    if system.simulation.is_some() {
        return false;
    }
    for runner in RUNNERS {
        let is_there = |place| system.root.exists(format!("{place}/{runner}"));
        if PLACES.iter().any(is_there) {
            match system.run.run(version(runner)).await {
                Ok(_) => return true,
                Err(error) => tracing::warn!(%runner, %error, "no steps in containers by this one"),
            }
        }
    }
    false
}

fn version(runner: &str) -> Cmd {
    Cmd::new(runner).arg("--version")
}

pub(super) static IDENTITY: Identity = Identity {
    class: Cow::Borrowed("ContainerHardwareManager"),
    name: Cow::Borrowed("ContainerHardwareManager"),
    version: Cow::Borrowed("2"),
};

impl ContainerManager {
    /// Reads the file of steps. `reserved` are the names of other managers' steps, which must
    /// not be taken: a container would run in place of an erase. `has_runtime`: whether any
    /// container runtime runs here.
    #[must_use]
    pub fn new(
        system: &System,
        config: &Config,
        reserved: Arc<[String]>,
        has_runtime: bool,
    ) -> Self {
        let path = &config.container.container_steps_file;
        let named = |name| ContainerStep::new(name, Work::Asked);
        let mut steps = vec![
            named("generic_container_step"),
            named("container_clean_step"),
        ];
        let mut names: Vec<&str> = steps.iter().map(|step| step.name()).collect();
        names.extend(reserved.iter().map(String::as_str));
        let read = file::read(&system.root.path(path), &names);
        let problem = match read {
            Ok(found) => {
                steps.extend(found.into_iter().map(ContainerStep::of_file));
                None
            }
            Err(reason) => Some(Failure::new(
                FailureKind::HardwareManagerConfiguration,
                format!("Container steps file {}: {reason}", path.display()),
            )),
        };
        if let Some(problem) = &problem {
            tracing::error!(%problem, "steps in containers");
        }
        Self {
            file: path.clone(),
            reserved,
            has_runtime,
            steps,
            problem,
        }
    }
}

impl HardwareManager for ContainerManager {
    fn identity(&self) -> &Identity {
        &IDENTITY
    }

    fn support(&self, _system: &System) -> Support {
        if self.has_runtime {
            Support::Mainline
        } else {
            Support::None
        }
    }

    fn steps(&self) -> Vec<&dyn Step> {
        self.steps.iter().map(|step| step as &dyn Step).collect()
    }

    fn under(&self, system: &System, config: &Config) -> Option<Arc<dyn HardwareManager>> {
        let same = config.container.container_steps_file == self.file;
        (!same).then(|| {
            let reserved = Arc::clone(&self.reserved);
            Arc::new(Self::new(system, config, reserved, self.has_runtime))
                as Arc<dyn HardwareManager>
        })
    }

    fn check(&self) -> Result<(), Failure> {
        self.problem.clone().map_or(Ok(()), Err)
    }
}

/// A step that runs a container.
#[derive(Debug)]
struct ContainerStep {
    description: Description,
    work: Work,
}

/// Whose image.
#[derive(Debug)]
enum Work {
    /// The command's: not trusted.
    Asked,
    /// The ramdisk's.
    Baked(FileStep),
}

const URL: &str = "container_url";
const PULL: &str = "pull_options";
const RUN: &str = "run_options";

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    image: String,
    pull: Vec<String>,
    run: Vec<String>,
}

impl ContainerStep {
    fn new(name: &'static str, work: Work) -> Self {
        let argument = |name: &'static str, description: &'static str, required| Argument {
            name: name.into(),
            description: description.into(),
            required,
            // A wrong type is an error of another class than those of other steps.
            kind: ArgumentKind::Any,
            advertised: true,
        };
        Self {
            description: Description {
                name: name.into(),
                interface: "deploy".into(),
                reboot_requested: false,
                arguments: vec![
                    argument(URL, "Container image URL", true),
                    argument(PULL, "Pull options", false),
                    argument(RUN, "Run options", false),
                ]
                .into(),
            },
            work,
        }
    }

    fn of_file(step: FileStep) -> Self {
        Self {
            description: Description {
                name: step.name.clone().into(),
                interface: step.interface.clone().into(),
                reboot_requested: step.reboot_requested,
                arguments: Cow::Borrowed(&[]),
            },
            work: Work::Baked(step),
        }
    }

    fn name(&self) -> &str {
        &self.description.name
    }

    fn order(&self, config: &Config, arguments: &Object) -> Result<Order, Failure> {
        match &self.work {
            Work::Asked => asked(config, arguments),
            Work::Baked(step) => Ok(Order {
                image: step.image.clone(),
                pull: own_or(&step.pull_options, &config.container.pull_options),
                run: own_or(&step.run_options, &config.container.run_options),
            }),
        }
    }
}

/// An image that came with a command: refused unless it is allowed.
fn asked(config: &Config, arguments: &Object) -> Result<Order, Failure> {
    let image = match arguments.get(URL) {
        Some(Value::String(image)) if !image.is_empty() => image.clone(),
        _ => {
            return Err(Failure::new(
                FailureKind::InvalidCommandParams,
                "container_url must be a text that is not empty",
            ));
        }
    };
    // The runner would take it for an option.
    if image.starts_with('-') {
        return Err(Failure::new(
            FailureKind::InvalidCommandParams,
            "container_url must not begin with a dash",
        ));
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
            return Err(Failure::new(
                FailureKind::ContainerNotPermitted,
                format!(
                    "Container image {image} is not in [container]allowed_containers and \
                     [container]allow_arbitrary_containers is not enabled."
                ),
            ));
        }
        (
            split(&config.container.pull_options),
            split(&config.container.run_options),
        )
    };
    Ok(Order { image, pull, run })
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
fn argument(image: &str, runner: &str) -> String {
    match (runner, image.strip_prefix("oci://")) {
        ("podman", Some(name)) => format!("docker://{name}"),
        ("podman", None) => image.to_owned(),
        _ => reference(image).to_owned(),
    }
}

fn own_or(own: &[String], configured: &[String]) -> Vec<String> {
    let own = split(own);
    if own.is_empty() {
        split(configured)
    } else {
        own
    }
}

/// Options are written in one text or in several: each word is one.
fn split(options: &[String]) -> Vec<String> {
    let words = options.iter().flat_map(|text| text.split_whitespace());
    words.map(str::to_owned).collect()
}

/// Options as they come in JSON or YAML: null, a text or a list.
fn options(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(text).collect(),
        other => vec![text(other)],
    }
}

impl Step for ContainerStep {
    fn description(&self) -> &Description {
        &self.description
    }

    fn offer(&self, phase: Phase, _config: &Config) -> Option<Offer> {
        let (priority, abortable) = match &self.work {
            Work::Asked => (0, true),
            // The file's priorities are those of automated cleaning: elsewhere each such step
            // would run every time.
            Work::Baked(step) if phase == Phase::Clean => (step.priority, step.abortable),
            Work::Baked(step) => (0, step.abortable),
        };
        Some(Offer {
            priority,
            abortable: Some(abortable),
        })
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a Object) -> Planning<'a> {
        async move {
            let order = self.order(ctx.config, arguments)?;
            let runner = ctx.config.container.runner.word();
            let action = |command: Cmd| Action {
                description: format!("Run {command}"),
                ..Action::default()
            };
            Ok(order.commands(runner).map(action).into())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a Object) -> Running<'a> {
        async move {
            let order = self.order(ctx.config, arguments)?;
            let runner = ctx.config.container.runner.word();
            let usable = ctx.system.run.run(version(runner)).await;
            usable.map_err(|error| {
                Failure::new(
                    FailureKind::HardwareManagerConfiguration,
                    format!(
                        "Configured container runner '{runner}' ([container]runner) is not usable \
                         in this ramdisk: {error}"
                    ),
                )
            })?;
            forget_container(ctx.system)?;
            for command in order.commands(runner) {
                let ended = tokio::select! {
                    result = ctx.system.run.run(command) => result.map_err(StepError::from),
                    () = ctx.task.cancelled() => Err(ctx.task.cancellation().into()),
                };
                if ended.is_err() {
                    remove_container(ctx.system, runner).await;
                }
                ended?;
            }
            tracing::info!(image = %order.image, "the container ended");
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// The runner does not start a container while the file of the last one is there.
fn forget_container(system: &System) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::execution(format!("{ID_FILE}: {error}"));
    let file = system.root.writable(ID_FILE).map_err(failed)?;
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The container does not end with the program that started it.
async fn remove_container(system: &System, runner: &str) {
    let Some(id) = system.root.read_optional(ID_FILE) else {
        return;
    };
    let command = Cmd::new(runner).args(["rm", "--force", id.as_str()]);
    if let Err(error) = system.run.run(command).await {
        tracing::warn!(container = %id, %error, "may be there still");
    }
}

impl Order {
    fn commands(&self, runner: &str) -> [Cmd; 2] {
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
                .timeout(LONGEST)
                .tail(OUTPUT)
        })
    }
}

#[cfg(test)]
mod tests;
