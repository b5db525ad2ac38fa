//! An attached agent whose server answers nothing, and says how the calls end that reach it.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::command_service_server::{CommandService, CommandServiceServer};
use ironic_agent_protocol::v1::lookup_response::Outcome;
use ironic_tunnel::Tunnel;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::ironic::NODE;
use super::shim::Shim;

const LIMIT: Duration = Duration::from_secs(30);

/// What the server of the agent has seen of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has come: the method, and `grpc-timeout` as it was sent.
    Begun(String, Option<String>),
    /// Its handler or its stream was dropped.
    Ended(String),
}

/// An agent that is attached to a gateway without Ironic. It lives as long as the runtime.
pub(crate) struct WatchedAgent {
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl WatchedAgent {
    /// Attaches the machine with this address of its card.
    pub(crate) async fn attach(gateway: &mut Shim, mac: &str) -> Self {
        let session = loop {
            // A gateway that has just started does not know the others yet.
            match gateway.lookup_for(&[mac], "").await {
                Outcome::Session(session) => break session,
                Outcome::Retry(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let hello = v1::AttachHello {
            node_uuid: NODE.into(),
            agent_token: session.config.unwrap().agent_token,
            agent_version: "0".into(),
            boot_id: "b".into(),
            counter: 1,
        };
        let (requests, outgoing) = mpsc::channel(4);
        let first = v1::AttachRequest {
            hello: Some(hello),
            ..v1::AttachRequest::default()
        };
        requests.send(first).await.unwrap();
        let answers = gateway.conductor.attach(ReceiverStream::new(outgoing));
        let mut answers = answers.await.unwrap().into_inner();
        while answers.message().await.unwrap().unwrap().accepted.is_none() {}
        let bytes = answers.map(|answer| answer.map(|answer| answer.data));
        let bytes = bytes.map(|bytes| bytes.map_err(io::Error::other)).boxed();
        let (socket, mut written) = Tunnel::new(bytes);
        tokio::spawn(async move {
            while let Some(data) = written.next().await {
                let request = v1::AttachRequest {
                    data,
                    ..v1::AttachRequest::default()
                };
                if requests.send(request).await.is_err() {
                    return;
                }
            }
        });
        let (noting, seen) = mpsc::unbounded_channel();
        let sockets = futures_util::stream::iter([Ok::<_, io::Error>(socket)]);
        let server =
            Server::builder().add_service(CommandServiceServer::new(SilentService(noting)));
        tokio::spawn(server.serve_with_incoming(sockets.chain(futures_util::stream::pending())));
        Self { seen }
    }

    /// What is seen next.
    pub(crate) async fn next(&mut self) -> Seen {
        let seen = tokio::time::timeout(LIMIT, self.seen.recv()).await;
        seen.expect("the agent sees nothing").unwrap()
    }
}

/// Takes every call of `CommandService`. A stream begins with an empty message.
#[derive(Debug, Clone)]
struct SilentService(mpsc::UnboundedSender<Seen>);

/// Notes that it is dropped.
struct Ending(&'static str, mpsc::UnboundedSender<Seen>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.1.send(Seen::Ended(self.0.to_owned()));
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl SilentService {
    fn begin<T>(&self, method: &'static str, request: &Request<T>) -> Ending {
        let timeout = request.metadata().get("grpc-timeout");
        let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
        let _ = self.0.send(Seen::Begun(method.to_owned(), timeout));
        Ending(method, self.0.clone())
    }

    /// Answers nothing.
    async fn hold<T, A>(
        &self,
        method: &'static str,
        request: Request<T>,
    ) -> Result<Response<A>, Status> {
        let _ending = self.begin(method, &request);
        pending().await
    }

    /// A message, and then nothing.
    fn stream<T, A: Default + Send + 'static>(
        &self,
        method: &'static str,
        request: &Request<T>,
    ) -> Response<Answers<A>> {
        let ending = self.begin(method, request);
        let first = futures_util::stream::iter([Ok(A::default())]);
        let stream = first.chain(futures_util::stream::pending());
        let stream = stream.inspect(move |_| {
            let _held = &ending;
        });
        Response::new(Box::pin(stream))
    }
}

#[tonic::async_trait]
impl CommandService for SilentService {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        // The gateway itself asks: this is no call of the test.
        drop(request);
        Ok(Response::new(v1::GetStatusResponse::default()))
    }

    async fn execute_command(
        &self,
        request: Request<v1::ExecuteCommandRequest>,
    ) -> Result<Response<v1::ExecuteCommandResponse>, Status> {
        self.hold("ExecuteCommand", request).await
    }

    async fn get_command(
        &self,
        request: Request<v1::GetCommandRequest>,
    ) -> Result<Response<v1::GetCommandResponse>, Status> {
        self.hold("GetCommand", request).await
    }

    async fn list_commands(
        &self,
        request: Request<v1::ListCommandsRequest>,
    ) -> Result<Response<v1::ListCommandsResponse>, Status> {
        self.hold("ListCommands", request).await
    }

    type WatchCommandStream = Answers<v1::WatchCommandResponse>;

    async fn watch_command(
        &self,
        request: Request<v1::WatchCommandRequest>,
    ) -> Result<Response<Self::WatchCommandStream>, Status> {
        Ok(self.stream("WatchCommand", &request))
    }

    async fn cancel_command(
        &self,
        request: Request<v1::CancelCommandRequest>,
    ) -> Result<Response<v1::CancelCommandResponse>, Status> {
        self.hold("CancelCommand", request).await
    }

    async fn get_inventory(
        &self,
        request: Request<v1::GetInventoryRequest>,
    ) -> Result<Response<v1::GetInventoryResponse>, Status> {
        self.hold("GetInventory", request).await
    }

    type CollectLogsStream = Answers<v1::CollectLogsResponse>;

    async fn collect_logs(
        &self,
        request: Request<v1::CollectLogsRequest>,
    ) -> Result<Response<Self::CollectLogsStream>, Status> {
        Ok(self.stream("CollectLogs", &request))
    }

    type FollowLogsStream = Answers<v1::FollowLogsResponse>;

    async fn follow_logs(
        &self,
        request: Request<v1::FollowLogsRequest>,
    ) -> Result<Response<Self::FollowLogsStream>, Status> {
        Ok(self.stream("FollowLogs", &request))
    }
}
