//! Nodes that another gateway holds, and machines that boot again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::Stream;
use ironic_agent_protocol::v1::command_service_server::{CommandService, CommandServiceServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::fleet_elsewhere::Pair;

#[tokio::test]
async fn a_node_of_another_gateway_is_shown_and_called() {
    let Some(pair) = Pair::new().await else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let contexts = directory.path().join("config.yaml");
    let socket = pair.b.config.state_dir.join("fleet.sock");
    let text = format!(
        "current_context: b\ncontexts:\n  b: {{gateway: 'unix:{}'}}\n",
        socket.display()
    );
    std::fs::write(&contexts, text).unwrap();
    let run = async |words: &[&str]| {
        let mut command = command(&contexts);
        command.args(words);
        output(command).await
    };
    let nodes = run(&["nodes", "--state", "elsewhere"]).await.done();
    let row = nodes.lines().nth(1).unwrap();
    assert!(
        row.starts_with("rack1-1") && row.contains("elsewhere"),
        "{nodes}"
    );
    let shown = run(&["get", "rack1-1"]).await.done();
    let holder = pair.a.config.peer_url.as_ref().unwrap().to_string();
    assert!(shown.contains(&holder), "{shown}");
    let shown = run(&["get", "rack1-1", "-o", "json"]).await.json();
    assert!(
        shown[0]["result"]["status"]["version"].is_string(),
        "{shown}"
    );
    let (image, digest) = image();
    let url = serve(image, None).await;
    let write = [
        "write", "rack1-1", "--yes", "--image", &url, "--sha256", &digest,
    ];
    run(&write).await.done();
    let watched = run(&["watch", "--until-idle"]).await.done();
    assert!(watched.contains("elsewhere"), "{watched}");
}

/// An agent whose machine boots again after each order, which is lost on its way back.
#[derive(Debug, Clone, Default)]
struct RebootingAgent(Arc<AtomicUsize>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn unasked<T>() -> Result<T, Status> {
    Err(Status::unimplemented("the test does not ask this"))
}

#[tonic::async_trait]
impl CommandService for RebootingAgent {
    type WatchCommandStream = Answers<v1::WatchCommandResponse>;
    type CollectLogsStream = Answers<v1::CollectLogsResponse>;
    type FollowLogsStream = Answers<v1::FollowLogsResponse>;

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(v1::GetStatusResponse {
            boot_id: self.0.load(Ordering::SeqCst).to_string(),
            ..v1::GetStatusResponse::default()
        }))
    }

    async fn execute_command(
        &self,
        _: Request<v1::ExecuteCommandRequest>,
    ) -> Result<Response<v1::ExecuteCommandResponse>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(Status::unavailable("the connection broke"))
    }

    async fn get_command(
        &self,
        _: Request<v1::GetCommandRequest>,
    ) -> Result<Response<v1::GetCommandResponse>, Status> {
        unasked()
    }

    async fn list_commands(
        &self,
        _: Request<v1::ListCommandsRequest>,
    ) -> Result<Response<v1::ListCommandsResponse>, Status> {
        unasked()
    }

    async fn watch_command(
        &self,
        _: Request<v1::WatchCommandRequest>,
    ) -> Result<Response<Self::WatchCommandStream>, Status> {
        unasked()
    }

    async fn cancel_command(
        &self,
        _: Request<v1::CancelCommandRequest>,
    ) -> Result<Response<v1::CancelCommandResponse>, Status> {
        unasked()
    }

    async fn get_inventory(
        &self,
        _: Request<v1::GetInventoryRequest>,
    ) -> Result<Response<v1::GetInventoryResponse>, Status> {
        unasked()
    }

    async fn collect_logs(
        &self,
        _: Request<v1::CollectLogsRequest>,
    ) -> Result<Response<Self::CollectLogsStream>, Status> {
        unasked()
    }

    async fn follow_logs(
        &self,
        _: Request<v1::FollowLogsRequest>,
    ) -> Result<Response<Self::FollowLogsStream>, Status> {
        unasked()
    }
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_is_not_given_to_another_boot() {
    let agent = RebootingAgent::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(CommandServiceServer::new(agent.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let lab = Lab::new().await;
    let erase = ["--agent", &address, "erase", "--yes"];
    let ran = lab.run(&erase).await;
    assert_eq!(ran.code, Some(9), "{ran:?}");
    assert!(ran.err.contains("booted since"), "{ran:?}");
    assert_eq!(agent.0.load(Ordering::SeqCst), 1);
}
