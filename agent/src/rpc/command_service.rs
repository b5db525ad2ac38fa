//! `CommandService`: convert, ask the engine, convert.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::iter;
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_server::CommandService;
use ironic_program::log::KeptLog;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::follow_logs::LogReaders;
use super::{convert, status, watch};
use crate::commands::verbs::{collect_system_logs, get_hardware_info};
use crate::commands::{CommandId, CommandRecord, Engine, Refusal};
use crate::logs::follow::FollowedLogs;

/// The agent's side of `CommandService`.
#[derive(Debug, Clone)]
pub struct AgentCommandService {
    engine: Engine,
    /// Which boot of the machine this is.
    boot_id: String,
    log_readers: LogReaders,
    /// Ends the calls that could wait forever when the agent stops.
    stop: CancellationToken,
}

impl AgentCommandService {
    /// The service in front of an engine, until `stop`.
    #[must_use]
    pub fn new(engine: Engine, stop: CancellationToken) -> Self {
        let logs = FollowedLogs {
            agent: KeptLog::of_this_process(),
            system: engine.context().system.clone(),
        };
        Self {
            engine,
            boot_id: logs.system.root.boot_id().unwrap_or_default(),
            log_readers: LogReaders::new(logs),
            stop,
        }
    }

    fn record(&self, record: &CommandRecord) -> v1::CommandRecord {
        let progress = if record.has_ended() {
            None
        } else {
            self.engine.progress(record.id)
        };
        convert::record(record, progress.as_ref())
    }

    /// Waits for an answer of the engine as long as the agent serves. Dropping the call does
    /// not take a request back.
    async fn until_stopped<T>(
        &self,
        answer: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Status> {
        let answer = self.stop.run_until_cancelled(answer);
        match answer.await {
            Some(answer) => answer.map_err(|refusal| status::refusal(&refusal)),
            None => Err(status::shutting_down()),
        }
    }
}

/// A text that is not an identifier names no command.
fn id(text: &str) -> Result<CommandId, Status> {
    CommandId::parse(text).ok_or_else(|| status::refusal(&Refusal::NotFound(text.to_owned())))
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl CommandService for AgentCommandService {
    type WatchCommandStream = Events<v1::WatchCommandResponse>;
    type CollectLogsStream = Events<v1::CollectLogsResponse>;
    type FollowLogsStream = Events<v1::FollowLogsResponse>;

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let now = self.engine.status();
        Ok(Response::new(v1::GetStatusResponse {
            started_at: Some(convert::timestamp(now.started_at)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: now.running.map(|record| v1::RunningCommand {
                id: record.id.to_string(),
                name: record.name.clone(),
                background: record.background,
            }),
            node_uuid: now.node_uuid,
            boot_id: self.boot_id.clone(),
        }))
    }

    async fn execute_command(
        &self,
        request: Request<v1::ExecuteCommandRequest>,
    ) -> Result<Response<v1::ExecuteCommandResponse>, Status> {
        let (request, validate_only) = convert::execute_request(request.into_inner())
            .map_err(|error| status::invalid(&error))?;
        let (command, plan) = if validate_only {
            let plan = self.until_stopped(self.engine.plan(&request)).await?;
            (None, Some(convert::plan(plan)))
        } else {
            let record = self.until_stopped(self.engine.execute(request)).await?;
            (Some(self.record(&record)), None)
        };
        Ok(Response::new(v1::ExecuteCommandResponse { command, plan }))
    }

    async fn get_command(
        &self,
        request: Request<v1::GetCommandRequest>,
    ) -> Result<Response<v1::GetCommandResponse>, Status> {
        let request = request.into_inner();
        let id = id(&request.id)?;
        let record = if request.wait {
            self.until_stopped(self.engine.wait(id)).await?
        } else {
            self.until_stopped(self.engine.get(id)).await?
        };
        Ok(Response::new(v1::GetCommandResponse {
            command: Some(self.record(&record)),
        }))
    }

    async fn list_commands(
        &self,
        _: Request<v1::ListCommandsRequest>,
    ) -> Result<Response<v1::ListCommandsResponse>, Status> {
        let records = self.until_stopped(self.engine.list()).await?;
        Ok(Response::new(v1::ListCommandsResponse {
            commands: records.iter().map(|record| self.record(record)).collect(),
        }))
    }

    async fn watch_command(
        &self,
        request: Request<v1::WatchCommandRequest>,
    ) -> Result<Response<Self::WatchCommandStream>, Status> {
        let request = request.into_inner();
        let id = id(&request.id)?;
        let watching = self.until_stopped(self.engine.watch(id)).await?;
        let events = watch::events(watching, request.after_sequence, self.stop.clone());
        Ok(Response::new(Box::pin(events)))
    }

    async fn cancel_command(
        &self,
        request: Request<v1::CancelCommandRequest>,
    ) -> Result<Response<v1::CancelCommandResponse>, Status> {
        let request = request.into_inner();
        let id = id(&request.id)?;
        let reason = match request.reason.trim() {
            "" => "no reason was given".to_owned(),
            reason => reason.to_owned(),
        };
        let record = self.until_stopped(self.engine.cancel(id, reason)).await?;
        Ok(Response::new(v1::CancelCommandResponse {
            command: Some(self.record(&record)),
        }))
    }

    async fn get_inventory(
        &self,
        _: Request<v1::GetInventoryRequest>,
    ) -> Result<Response<v1::GetInventoryResponse>, Status> {
        let inventory = get_hardware_info::inventory(self.engine.context())
            .await
            .map_err(|failure| status::failure(&failure))?;
        let inventory = ironic_document::to_struct(inventory, "inventory")
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::GetInventoryResponse {
            inventory: Some(inventory),
        }))
    }

    async fn collect_logs(
        &self,
        _: Request<v1::CollectLogsRequest>,
    ) -> Result<Response<Self::CollectLogsStream>, Status> {
        const CHUNK: usize = 64 * 1024;
        let archive = collect_system_logs::archive(self.engine.context())
            .await
            .map_err(|failure| status::failure(&failure))?;
        let archive = bytes::Bytes::from(archive);
        let chunks = (0..archive.len()).step_by(CHUNK).map(move |start| {
            let end = archive.len().min(start + CHUNK);
            Ok(v1::CollectLogsResponse {
                chunk: archive.slice(start..end).to_vec(),
            })
        });
        Ok(Response::new(Box::pin(iter(chunks))))
    }

    async fn follow_logs(
        &self,
        request: Request<v1::FollowLogsRequest>,
    ) -> Result<Response<Self::FollowLogsStream>, Status> {
        let options = convert::follow_options(request.into_inner())
            .map_err(|error| status::invalid_follow(&error))?;
        let events = self.log_readers.start(&options, self.stop.clone())?;
        Ok(Response::new(Box::pin(events)))
    }
}
