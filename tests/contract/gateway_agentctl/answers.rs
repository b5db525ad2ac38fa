//! Orders whose answers are lost, late, or do not come at all.

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use ironic_agent_protocol::v1::command_service_server::{CommandService, CommandServiceServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::*;

/// What an agent of these tests does with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// The answer is lost on its way back, and the machine boots again.
    Reboots,
    /// The first answer does not come, and the next one says that it is done.
    IsLateOnce,
    /// No answer comes.
    IsSilent,
}

/// An agent that notes the identifiers of the orders that it gets.
#[derive(Debug, Clone)]
struct OddAgent {
    answering: Answering,
    orders: Arc<Mutex<Vec<String>>>,
}

impl OddAgent {
    /// An agent, and where it listens.
    async fn start(answering: Answering) -> (Self, String) {
        let agent = Self {
            answering,
            orders: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(CommandServiceServer::new(agent.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (agent, address)
    }

    fn orders(&self) -> Vec<String> {
        self.orders.lock().unwrap().clone()
    }

    /// Waits until an order has come.
    async fn ordered(&self) -> String {
        let waiting = async {
            loop {
                if let Some(id) = self.orders().first() {
                    return id.clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.unwrap()
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn unasked<T>() -> Result<T, Status> {
    Err(Status::unimplemented("the test does not ask this"))
}

#[tonic::async_trait]
impl CommandService for OddAgent {
    type WatchCommandStream = Answers<v1::WatchCommandResponse>;
    type CollectLogsStream = Answers<v1::CollectLogsResponse>;
    type FollowLogsStream = Answers<v1::FollowLogsResponse>;

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let boots = match self.answering {
            Answering::Reboots => self.orders().len(),
            Answering::IsLateOnce | Answering::IsSilent => 0,
        };
        Ok(Response::new(v1::GetStatusResponse {
            boot_id: boots.to_string(),
            ..v1::GetStatusResponse::default()
        }))
    }

    async fn execute_command(
        &self,
        request: Request<v1::ExecuteCommandRequest>,
    ) -> Result<Response<v1::ExecuteCommandResponse>, Status> {
        let id = request.into_inner().id;
        let is_first = self.orders().is_empty();
        self.orders.lock().unwrap().push(id.clone());
        match self.answering {
            Answering::Reboots => Err(Status::unavailable("the connection broke")),
            Answering::IsLateOnce if !is_first => {
                let record = v1::CommandRecord {
                    id,
                    name: "order.erase".to_owned(),
                    state: v1::CommandState::Succeeded.into(),
                    ..v1::CommandRecord::default()
                };
                Ok(Response::new(v1::ExecuteCommandResponse {
                    command: Some(record),
                    ..v1::ExecuteCommandResponse::default()
                }))
            }
            Answering::IsLateOnce | Answering::IsSilent => pending().await,
        }
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
    let (agent, address) = OddAgent::start(Answering::Reboots).await;
    let lab = Lab::new().await;
    let erase = ["--agent", &address, "erase", "--yes"];
    let ran = lab.run(&erase).await;
    assert_eq!(ran.code, Some(13), "{ran:?}");
    assert!(ran.err.contains("booted since"), "{ran:?}");
    let orders = agent.orders();
    assert_eq!(orders.len(), 1);
    assert!(ran.err.contains(&orders[0]), "{ran:?}");
}

#[tokio::test]
async fn an_order_whose_answer_is_late_is_asked_about_again() {
    let (agent, address) = OddAgent::start(Answering::IsLateOnce).await;
    let lab = Lab::new().await;
    let erase = ["--agent", &address, "--timeout", "1", "erase", "--yes"];
    let record = lab.run(&[&erase[..], &["-o", "json"]].concat()).await;
    let record = record.json()[0]["result"].clone();
    let orders = agent.orders();
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[0], orders[1], "it is one order");
    assert_eq!(record["id"], orders[0]);
}

#[tokio::test]
async fn an_interrupt_ends_an_order_that_is_not_answered() {
    use rustix::process::Signal;
    let lab = Lab::new().await;
    for signal in [Signal::INT, Signal::TERM] {
        let (agent, address) = OddAgent::start(Answering::IsSilent).await;
        let mut command = lab.command(&["--agent", &address, "erase", "--yes"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let id = agent.ordered().await;
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        // Long before the answer would be late.
        let limit = Duration::from_secs(15);
        let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(130), "{err}");
        assert!(err.contains(&id) && err.contains("may run"), "{err}");
    }
}
