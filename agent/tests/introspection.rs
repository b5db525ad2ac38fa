//! The tool `ironic-agent collect-introspection-data` as a timer or a person runs it, beside a
//! conductor service that answers what a test wants.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and this one runs the program"
)]

use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ironic_agent_protocol::v1::conductor_service_server::{
    ConductorService, ConductorServiceServer,
};
use ironic_agent_protocol::v1::{self, InspectionVerdict};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// Longer than any report takes.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers every report in the same way and hands it on.
struct Conductor {
    verdict: InspectionVerdict,
    reports: mpsc::UnboundedSender<v1::SubmitInspectionRequest>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ConductorService for Conductor {
    type HeartbeatStream = Answers<v1::HeartbeatResponse>;
    type AttachStream = Answers<v1::AttachResponse>;

    async fn lookup(
        &self,
        _request: Request<v1::LookupRequest>,
    ) -> Result<Response<v1::LookupResponse>, Status> {
        Err(Status::unimplemented("the tool looks nothing up"))
    }

    async fn heartbeat(
        &self,
        _request: Request<Streaming<v1::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        Err(Status::unimplemented("the tool does not beat"))
    }

    async fn submit_inspection(
        &self,
        request: Request<v1::SubmitInspectionRequest>,
    ) -> Result<Response<v1::SubmitInspectionResponse>, Status> {
        self.reports.send(request.into_inner()).unwrap();
        Ok(Response::new(v1::SubmitInspectionResponse {
            verdict: self.verdict.into(),
            reason: "as the test wants".to_owned(),
            ..Default::default()
        }))
    }

    async fn attach(
        &self,
        _request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("the tool is not to be called"))
    }
}

/// Where the service is, and what it hears.
async fn conductor(
    verdict: InspectionVerdict,
) -> (String, mpsc::UnboundedReceiver<v1::SubmitInspectionRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (reports, heard) = mpsc::unbounded_channel();
    let service = ConductorServiceServer::new(Conductor { verdict, reports });
    let serving = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    (url, heard)
}

fn tool(url: &str, place: &tempfile::TempDir, more: &[&str]) -> Child {
    let disks = place.path().join("disks");
    std::fs::create_dir_all(&disks).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironic-agent"));
    command
        .args(["collect-introspection-data", "--conductor", url])
        .args(["--inspection_callback_url", "http://not-for-the-agent/"])
        .args(["--inspection_collectors", "default"])
        .arg("--simulate")
        .arg(&disks)
        .arg("--state-dir")
        .arg(place.path())
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_whether_the_report_was_taken() {
    for (verdict, is_taken) in [
        (InspectionVerdict::Accepted, true),
        (InspectionVerdict::Refused, false),
        (InspectionVerdict::Disabled, false),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (url, mut heard) = conductor(verdict).await;
        let mut child = tool(&url, &place, &[]);
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        let status = tokio::time::timeout(TIMEOUT, ended).await.unwrap().unwrap();
        assert_eq!(status.success(), is_taken, "{verdict:?}");
        let report = heard.recv().await.unwrap().report.unwrap();
        assert!(report.fields.contains_key("inventory"), "{report:?}");
        assert!(heard.try_recv().is_err(), "it reports once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_continues_after_any_answer_to_a_report() {
    for verdict in [InspectionVerdict::Accepted, InspectionVerdict::Refused] {
        let place = tempfile::tempdir().unwrap();
        let (url, mut heard) = conductor(verdict).await;
        let daemon = [
            "--introspection_daemon",
            "--introspection_daemon_post_interval",
            "1",
        ];
        let mut child = tool(&url, &place, &daemon);
        for number in 1..=3 {
            let report = tokio::time::timeout(TIMEOUT, heard.recv()).await;
            assert!(report.is_ok(), "{verdict:?}: no report number {number}");
        }
        assert_eq!(child.try_wait().unwrap(), None, "{verdict:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
