//! A caller of an agent that listens at a socket in the file system.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use ironic_agent_protocol::v1::command_service_client::CommandServiceClient;
use tokio::net::UnixStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The agent token.
pub(crate) const TOKEN: &str = "of-this-test";

/// Carries the agent token.
#[derive(Clone)]
pub(crate) struct Token;

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = TOKEN.parse().unwrap();
        request.metadata_mut().insert("agent-token", token);
        Ok(request)
    }
}

pub(crate) type Client = CommandServiceClient<InterceptedService<Channel, Token>>;

/// A client on a connection of its own, once the agent listens; `log` is shown if it does not.
pub(crate) async fn connect(socket: &Path, timeout: Duration, log: impl Fn() -> String) -> Client {
    let until = Instant::now() + timeout;
    loop {
        let socket = socket.to_owned();
        let connect = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://agent");
        match endpoint.connect_with_connector(connect).await {
            Ok(channel) => return CommandServiceClient::with_interceptor(channel, Token),
            Err(error) => assert!(Instant::now() < until, "{error:?}: {}", log()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
