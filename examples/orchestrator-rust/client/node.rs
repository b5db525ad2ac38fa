//! A command that is executed once.

use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use ironic_agent_protocol::v1::watch_command_response::Event;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::kept::{KeptOrder, KeptOrders};
use super::pause;

/// A node of a gateway.
#[derive(Debug, Clone)]
pub(crate) struct AgentNode {
    pub(super) channel: Channel,
    pub(super) uuid: String,
    pub(super) orders: KeptOrders,
}

impl AgentNode {
    fn commands(&self) -> CommandServiceClient<Channel> {
        CommandServiceClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        let uuid = self.uuid.parse();
        let uuid = uuid.map_err(|_| Status::invalid_argument("this is not a UUID of a node"))?;
        request.metadata_mut().insert("node-uuid", uuid);
        Ok(request)
    }

    /// The machine's inventory.
    pub(crate) async fn inventory(&self) -> Result<prost_types::Struct, Status> {
        let request = self.request(v1::GetInventoryRequest {})?;
        let answer = self.commands().get_inventory(request).await?;
        Ok(answer.into_inner().inventory.unwrap_or_default())
    }

    /// What a command would do.
    pub(crate) async fn plan(&self, command: &v1::Command) -> Result<v1::Plan, Status> {
        let order = v1::ExecuteCommandRequest {
            command: Some(command.clone()),
            validate_only: true,
            ..v1::ExecuteCommandRequest::default()
        };
        let answer = self
            .commands()
            .execute_command(self.request(order)?)
            .await?;
        Ok(answer.into_inner().plan.unwrap_or_default())
    }

    /// Executes a command once and waits for its end, however often the connection breaks or the
    /// orchestrator is started again.
    /// `None`: the machine has booted again meanwhile, and how the command ended is not known.
    pub(crate) async fn execute(
        &self,
        order: v1::ExecuteCommandRequest,
        mut seen: impl FnMut(Event),
    ) -> Result<Option<v1::CommandRecord>, Status> {
        let kept = self.orders.find(&order.id);
        if kept.as_ref().is_some_and(|kept| kept.done) {
            // An earlier process has seen its end; the agent may not know it any more.
            let mut record = v1::CommandRecord::default();
            record.set_state(v1::CommandState::Succeeded);
            return Ok(Some(record));
        }
        let (mut sent_in, mut lost_at) = (kept.map(|kept| kept.boot_id), None);
        loop {
            let attempt = self.attempt(&order, &mut sent_in, |event| {
                lost_at = None;
                seen(event);
            });
            match attempt.await {
                Ok(record) => {
                    let state = record.as_ref().map(v1::CommandRecord::state);
                    if let (Some(v1::CommandState::Succeeded), Some(boot_id)) = (state, sent_in) {
                        self.keep(&order.id, boot_id, true)?;
                    }
                    return Ok(record);
                }
                Err(status) => pause(status, &mut lost_at).await?,
            }
        }
    }

    /// Keeps in which boot an order is given, before it is, and then whether it is done.
    fn keep(&self, id: &str, boot_id: String, done: bool) -> Result<(), Status> {
        let kept = self.orders.keep(id, KeptOrder { boot_id, done });
        kept.map_err(|error| Status::failed_precondition(format!("the kept orders: {error}")))
    }

    /// The order, and what is seen of it to the end. A repeated order is answered with the
    /// record that exists; a boot that has no record of it would execute it a second time.
    async fn attempt(
        &self,
        order: &v1::ExecuteCommandRequest,
        sent_in: &mut Option<String>,
        mut seen: impl FnMut(Event),
    ) -> Result<Option<v1::CommandRecord>, Status> {
        let mut commands = self.commands();
        let status = self.request(v1::GetStatusRequest {})?;
        let boot_id = commands.get_status(status).await?.into_inner().boot_id;
        match sent_in {
            Some(sent_in) if *sent_in != boot_id => return Ok(None),
            Some(_) => {}
            None => {
                self.keep(&order.id, boot_id.clone(), false)?;
                *sent_in = Some(boot_id);
            }
        }
        let request = self.request(order.clone())?;
        let answer = commands.execute_command(request).await?.into_inner();
        let mut record = answer.command.unwrap_or_default();
        if record.state() == v1::CommandState::Running {
            let watch = v1::WatchCommandRequest {
                id: record.id.clone(),
                after_sequence: 0,
            };
            let events = commands.watch_command(self.request(watch)?).await?;
            let mut events = events.into_inner();
            while let Some(message) = events.message().await? {
                if let Some(Event::Record(now)) = &message.event {
                    record = now.clone();
                }
                message.event.into_iter().for_each(&mut seen);
            }
        }
        match record.state() {
            v1::CommandState::Running => Err(Status::unavailable("the stream ended too early")),
            _ => Ok(Some(record)),
        }
    }
}
