//! Step `inject_files`: files of the operator go into the deployed system.
//!
//! All contents are there before the first file is touched: a server that is down must not
//! leave a system with half of its files.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use ironic_document::JsonObject;
use serde_json::Value;

use crate::config::AgentConfig;
use crate::disk::inject::{self, FileChange, FileSystemChoice, InjectedFile};
use crate::hardware::wait::probe;
use crate::hardware::{
    Argument, ArgumentError, ArgumentKind, Description, Offer, PlanFuture, PlannedAction,
    RunFuture, Step, StepContext, StepError, StepPhase,
};
use crate::image::document::{self, Document, Trust};
use crate::machine::block::hints;

pub mod error;
mod request;
mod template;

use error::{FileContentError, InjectFilesError};
use request::{FileRequest, FileSource};

/// What all contents together may have. They are in memory at the same time.
const MAX_CONTENT_BYTES: usize = 64 << 20;

/// The step.
#[derive(Debug)]
pub(super) struct InjectFiles;

static DESCRIPTION: Description = Description {
    name: Cow::Borrowed("inject_files"),
    interface: Cow::Borrowed("deploy"),
    reboot_requested: false,
    arguments: Cow::Borrowed(&[
        Argument {
            name: Cow::Borrowed("files"),
            description: Cow::Borrowed(
                "Files to inject, a list of file structures with keys: 'path' (path to the \
                 file), 'partition' (partition specifier), 'content' (base64 encoded string), \
                 'mode' (new file mode) and 'dirmode' (mode of the leaf directory, if created). \
                 Merged with the values from node.properties[inject_files].",
            ),
            required: false,
            // Looked at with the node's own files, so that all problems are reported at once.
            kind: ArgumentKind::Any,
            advertised: true,
        },
        Argument {
            name: Cow::Borrowed("verify_ca"),
            description: Cow::Borrowed(
                "Whether to verify TLS certificates. Global agent options are used by default.",
            ),
            required: false,
            kind: ArgumentKind::Any,
            advertised: true,
        },
    ]),
};

impl Step for InjectFiles {
    fn description(&self) -> &Description {
        &DESCRIPTION
    }

    fn offer(&self, phase: StepPhase, config: &AgentConfig) -> Option<Offer> {
        match phase {
            StepPhase::Clean => None,
            StepPhase::Deploy | StepPhase::Service => Some(Offer::at(config.inject_files_priority)),
        }
    }

    fn plan<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> PlanFuture<'a> {
        async move {
            let wanted = request::read(ctx.node, arguments)?;
            if wanted.is_empty() {
                return Ok(Vec::new());
            }
            let device = hints::root_device(&probe(ctx.system).await, ctx.node)?.name;
            Ok(wanted.iter().map(|file| action(file, &device)).collect())
        }
        .boxed()
    }

    fn run<'a>(&'a self, ctx: StepContext<'a>, arguments: &'a JsonObject) -> RunFuture<'a> {
        async move {
            let wanted = request::read(ctx.node, arguments)?;
            if wanted.is_empty() {
                return Ok(Value::Null);
            }
            let trust = trust(arguments.get("verify_ca"))?;
            let device = hints::root_device(&probe(ctx.system).await, ctx.node)?;
            let mut files = Vec::new();
            let mut left = MAX_CONTENT_BYTES;
            for file in wanted {
                let file = load(ctx, file, &trust, left).await?;
                if let FileChange::Write(content) = &file.change {
                    left -= content.len().min(left);
                }
                files.push(file);
            }
            for file in &files {
                ctx.task.check()?;
                inject::inject(ctx.system, &device, file).await?;
                ctx.task.phase_ended(format!("{} injected", file.path));
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

fn action(file: &FileRequest, disk: &str) -> PlannedAction {
    let file_system = match &file.file_system {
        FileSystemChoice::WithDirectory => {
            format!("the partition of {disk} that has its directory")
        }
        FileSystemChoice::Partition(number) => format!("partition {number} of {disk}"),
        FileSystemChoice::Named(name) => name.clone(),
    };
    let verb = match file.source {
        FileSource::Removed => "Remove",
        FileSource::Kept => "Change the mode and owner of",
        FileSource::Inline(_) | FileSource::Template(_) => "Write",
    };
    PlannedAction {
        description: format!("{verb} {} on {file_system}", file.path),
        device: disk.to_owned(),
        destructive: false,
    }
}

/// Python's library takes a flag, or the path of a file of authorities.
fn trust(verify: Option<&Value>) -> Result<Trust, StepError> {
    match verify {
        None | Some(Value::Null | Value::Bool(true)) => Ok(Trust::Configured),
        Some(Value::Bool(false)) => Ok(Trust::Anybody),
        Some(Value::String(path)) => Ok(Trust::Authorities(path.into())),
        Some(_) => Err(ArgumentError::VerifyCa.into()),
    }
}

async fn load(
    ctx: StepContext<'_>,
    request: FileRequest,
    trust: &Trust,
    limit: usize,
) -> Result<InjectedFile, InjectFilesError> {
    match change(ctx, &request.source, trust, limit).await {
        Ok(change) => Ok(InjectedFile {
            path: request.path,
            file_system: request.file_system,
            change,
            attributes: request.attributes,
            directory_mode: request.directory_mode,
        }),
        Err(source) => Err(InjectFilesError::Content {
            path: request.path,
            source,
        }),
    }
}

/// What becomes of a file, with its content in memory.
async fn change(
    ctx: StepContext<'_>,
    source: &FileSource,
    trust: &Trust,
    limit: usize,
) -> Result<FileChange, FileContentError> {
    Ok(match source {
        FileSource::Removed => FileChange::Remove,
        FileSource::Kept => FileChange::Keep,
        FileSource::Inline(text) => {
            let text: String = text.split_ascii_whitespace().collect();
            let content = STANDARD.decode(text)?;
            if content.len() > limit {
                return Err(FileContentError::TooLarge);
            }
            FileChange::Write(content)
        }
        FileSource::Template(template) => {
            let url = template::fill(template, ctx.node, ctx.ports)?;
            let wanted = Document {
                url: &url,
                trust,
                limit,
            };
            FileChange::Write(document::download(ctx.system, ctx.config, wanted, ctx.task).await?)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::future::BoxFuture;
    use futures_util::stream;
    use serde_json::json;

    use super::*;
    use crate::image::LastDeployment;
    use crate::machine::ironic_node::Node;
    use crate::machine::testing::FakeMachine;
    use crate::system::fetch::{Fetch, FetchError, FetchRequest, FetchResponse};
    use crate::system::process::Script;
    use crate::task::Task;

    /// Answers every URL with itself.
    #[derive(Debug)]
    struct Echo;

    impl Fetch for Echo {
        fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>> {
            let text = format!("{} insecure={}", request.url, request.tls.insecure);
            let response = FetchResponse {
                status: 200,
                length: None,
                validator: None,
                part: None,
                challenge: None,
                coding: None,
                retry_after: None,
                headers: String::new(),
                body: Box::pin(stream::iter([Ok(Bytes::from(text))])),
            };
            Box::pin(std::future::ready(Ok(response)))
        }
    }

    async fn run(
        machine: &mut FakeMachine,
        script: Script,
        arguments: Value,
    ) -> Result<Value, StepError> {
        machine.sata_disk("sda", 8 << 30, 1);
        let script = Arc::new(script);
        let system = crate::system::System {
            run: script.clone(),
            fetch: Arc::new(Echo),
            ..machine.system()
        };
        let node = json!({"uuid": "u", "properties": {}});
        let node = Node(node.as_object().cloned().unwrap());
        let ports = [json!({"address": "00:11"}).as_object().cloned().unwrap()];
        let (config, installed) = (AgentConfig::default(), LastDeployment::default());
        let task = Task::detached();
        let ctx = StepContext {
            system: &system,
            config: &config,
            node: &node,
            ports: &ports,
            task: &task,
            installed: &installed,
            erasers: &[],
            ordered: None,
        };
        let done = InjectFiles.run(ctx, arguments.as_object().unwrap()).await;
        script.assert_done();
        done
    }

    #[tokio::test]
    async fn a_file_comes_from_where_its_url_says() {
        let mut machine = FakeMachine::new();
        let inside = machine.path().join("run/ironic-agent/inject");
        std::fs::create_dir_all(&inside).unwrap();
        let mount_point = inside.display();
        let mount = format!("mount -o nodev,nosuid,noexec /dev/sda3 {mount_point}");
        let unmount = format!("umount {mount_point}");
        let script = Script::new()
            .expect(&mount, "")
            .expect(&unmount, "")
            .expect(&mount, "")
            .expect(&unmount, "");
        let arguments = json!({
            "files": [
                {"path": "/url", "partition": 3,
                 "content": "https://h/{node[uuid]}/{ports[0][address]}"},
                {"path": "/inline", "partition": 3, "content": "dGV4\ndA=="},
            ],
            "verify_ca": false,
        });
        let done = run(&mut machine, script, arguments).await;
        assert_eq!(done.unwrap(), Value::Null);
        let read = |name: &str| std::fs::read_to_string(inside.join(name)).unwrap();
        assert_eq!(read("url"), "https://h/u/00:11 insecure=true");
        assert_eq!(read("inline"), "text");
    }

    #[tokio::test]
    async fn nothing_is_mounted_while_a_content_is_missing() {
        let good = json!({"path": "/a/b", "content": "eA=="});
        for (second, is_content, text) in [
            (
                json!({"path": "/a/c", "content": "%"}),
                true,
                "Failed to process file /a/c. 'content' is not base64",
            ),
            (
                json!({"path": "/a/c", "content": "http://h/{node[driver_info][x]}"}),
                true,
                "holds credentials",
            ),
            (json!({"path": "/a/"}), false, "must not end with a slash"),
        ] {
            let mut machine = FakeMachine::new();
            let arguments = json!({"files": [good.clone(), second]});
            let done = run(&mut machine, Script::new(), arguments).await;
            let Err(StepError::InjectFiles(error)) = done else {
                panic!("{done:?}")
            };
            let found = matches!(error, InjectFilesError::Content { .. });
            assert_eq!(found, is_content, "{error:?}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[tokio::test]
    async fn no_files_are_no_work() {
        let mut machine = FakeMachine::new();
        let done = run(&mut machine, Script::new(), json!({"files": null})).await;
        assert_eq!(done.unwrap(), Value::Null);
    }
}
