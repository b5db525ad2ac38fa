//! Generated clients and servers over a tunnel: an ordinary service is reached through the
//! streams of a call that its own side made.

#![allow(
    clippy::unwrap_used,
    reason = "a test: it ends where something does not do as it should"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use ironic_agent_protocol::v1;
use ironic_agent_protocol::v1::execute_step_response::Event;
use ironic_agent_protocol::v1::hardware_manager_service_client::HardwareManagerServiceClient;
use ironic_agent_protocol::v1::hardware_manager_service_server::{
    HardwareManagerService, HardwareManagerServiceServer,
};
use ironic_tunnel::{CONNECTION_WINDOW, GrpcChannel, Outgoing, Pings, STREAM_WINDOW, Tunnel};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

/// What `Describe` answers as it was asked.
const TEXT: &str = "x-text";

/// Answers `Describe` with the version that it was asked with, and `ExecuteStep` with as many
/// messages as the step is called.
#[derive(Clone, Default)]
struct Peer {
    /// Streams that are being written.
    open: Arc<AtomicUsize>,
}

/// Counts a stream for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Events = std::pin::Pin<Box<dyn Stream<Item = Result<v1::ExecuteStepResponse, Status>> + Send>>;

#[tonic::async_trait]
impl HardwareManagerService for Peer {
    type ExecuteStepStream = Events;

    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        let text = request.metadata().get(TEXT).cloned();
        let version = request.into_inner().agent_version;
        match version.as_str() {
            "refuse" => Err(Status::failed_precondition("refused by the peer")),
            "wait" => std::future::pending().await,
            _ => {
                let mut response = Response::new(v1::DescribeResponse {
                    version,
                    ..Default::default()
                });
                if let Some(text) = text {
                    response.metadata_mut().insert(TEXT, text);
                }
                Ok(response)
            }
        }
    }

    async fn plan_step(
        &self,
        _: Request<v1::PlanStepRequest>,
    ) -> Result<Response<v1::PlanStepResponse>, Status> {
        Err(Status::unimplemented("not used here"))
    }

    async fn execute_step(
        &self,
        request: Request<v1::ExecuteStepRequest>,
    ) -> Result<Response<Events>, Status> {
        let order = request.into_inner().order.unwrap_or_default();
        let (count, size) = order.name.split_once('x').unwrap();
        let (count, size): (usize, usize) = (count.parse().unwrap(), size.parse().unwrap());
        let open = Open::new(&self.open);
        let events = futures_util::stream::iter(0..count).map(move |_| {
            let _held = &open;
            let event = Some(Event::Warning("w".repeat(size)));
            Ok(v1::ExecuteStepResponse { event })
        });
        Ok(Response::new(Box::pin(events)))
    }
}

/// What must come within it is there at once.
const LIMIT: Duration = Duration::from_secs(20);

/// A client whose calls reach a [`Peer`] through two streams of chunks, and what ends them.
struct Tunnelled {
    client: HardwareManagerServiceClient<GrpcChannel>,
    peer: Peer,
    served: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
    driven: tokio::task::JoinHandle<io::Result<()>>,
    shutdown: Option<oneshot::Sender<()>>,
    cut: Vec<tokio::task::AbortHandle>,
    /// Bytes of the server and of the client.
    carried: [Arc<AtomicUsize>; 2],
}

impl Tunnelled {
    async fn new() -> Self {
        let (to_agent, from_gateway) = mpsc::channel(1);
        let (to_gateway, from_agent) = mpsc::channel(1);
        let (agent, agent_out) = Tunnel::new(ReceiverStream::new(from_gateway));
        let (gateway, gateway_out) = Tunnel::new(ReceiverStream::new(from_agent));
        let carried = [Arc::default(), Arc::default()];
        let [agent_sent, gateway_sent] = carried.clone();
        let cut = vec![
            tokio::spawn(carry(agent_out, to_gateway, agent_sent)).abort_handle(),
            tokio::spawn(carry(gateway_out, to_agent, gateway_sent)).abort_handle(),
        ];
        let peer = Peer::default();
        let (shutdown, stopped) = oneshot::channel();
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(HardwareManagerServiceServer::new(peer.clone()));
        // The one connection comes at once; the server does not end because no other follows.
        let incoming = futures_util::stream::iter([io::Result::Ok(agent)])
            .chain(futures_util::stream::pending());
        let served = tokio::spawn(server.serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        }));
        let (channel, driver) = ironic_tunnel::connect(gateway, Pings::Never).await.unwrap();
        Self {
            client: HardwareManagerServiceClient::with_origin(
                channel,
                "http://agent".parse().unwrap(),
            ),
            peer,
            served,
            driven: tokio::spawn(driver),
            shutdown: Some(shutdown),
            cut,
            carried,
        }
    }

    async fn describe(&mut self, version: &str) -> Result<String, Status> {
        let request = v1::DescribeRequest {
            agent_version: version.to_owned(),
        };
        let answer = self.client.describe(request).await?;
        Ok(answer.into_inner().version)
    }

    /// Begins a stream of `count` messages of `size` bytes.
    async fn events(
        &mut self,
        count: usize,
        size: usize,
    ) -> tonic::Streaming<v1::ExecuteStepResponse> {
        let order = v1::StepOrder {
            name: format!("{count}x{size}"),
            ..Default::default()
        };
        let request = v1::ExecuteStepRequest { order: Some(order) };
        self.client
            .execute_step(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// Ends both streams, as the loss of the call that carries them does.
    fn cut(&self) {
        self.cut.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

async fn carry(mut from: Outgoing, to: mpsc::Sender<io::Result<Bytes>>, count: Arc<AtomicUsize>) {
    while let Some(chunk) = from.next().await {
        count.fetch_add(chunk.len(), Ordering::SeqCst);
        if to.send(Ok(chunk)).await.is_err() {
            return;
        }
    }
}

/// Waits until a condition holds; the test's own deadline ends a wait that is in vain.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_streams_and_failures_pass() {
    let mut tunnelled = Tunnelled::new().await;
    assert_eq!(tunnelled.describe("1.2").await.unwrap(), "1.2");
    let refused = tunnelled.describe("refuse").await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::FailedPrecondition, "refused by the peer")
    );
    let events = tunnelled.events(500, 3000).await;
    assert_eq!(
        events
            .filter(|event| std::future::ready(event.is_ok()))
            .count()
            .await,
        500
    );
}

/// A header that were kept, and named by its number when it comes again, would cost memory on each of thousands of
/// connections, and most do not come again: the date, and the time that is left.
#[tokio::test]
async fn no_header_is_kept_for_later_calls() {
    let mut tunnelled = Tunnelled::new().await;
    let text = "0123456789".repeat(100);
    for call in 0..3 {
        let before = tunnelled
            .carried
            .clone()
            .map(|count| count.load(Ordering::SeqCst));
        let mut request = Request::new(v1::DescribeRequest::default());
        request.metadata_mut().insert(TEXT, text.parse().unwrap());
        tunnelled.client.describe(request).await.unwrap();
        for (count, before) in tunnelled.carried.iter().zip(before) {
            let bytes = count.load(Ordering::SeqCst) - before;
            // Huffman's code has five or six bits for a digit.
            assert!(bytes > 600, "call {call}: {bytes} bytes");
        }
    }
}

#[tokio::test]
async fn large_messages_pass_in_chunks() {
    let mut tunnelled = Tunnelled::new().await;
    let large = "v".repeat(3 * 1024 * 1024);
    assert_eq!(tunnelled.describe(&large).await.unwrap(), large);
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_a_call_at_both_sides() {
    let mut tunnelled = Tunnelled::new().await;
    let mut request = Request::new(v1::DescribeRequest {
        agent_version: "wait".to_owned(),
    });
    request.set_timeout(Duration::from_secs(3));
    let late =
        tokio::time::timeout(Duration::from_secs(4), tunnelled.client.describe(request)).await;
    let status = late.expect("the deadline passed unnoticed").unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    assert_eq!(tunnelled.describe("after").await.unwrap(), "after");
}

#[tokio::test]
async fn dropped_stream_is_cancelled_at_the_other_side() {
    let mut tunnelled = Tunnelled::new().await;
    let mut events = tunnelled.events(usize::MAX, 1000).await;
    events.message().await.unwrap();
    assert_eq!(tunnelled.peer.open.load(Ordering::SeqCst), 1);
    drop(events);
    let open = Arc::clone(&tunnelled.peer.open);
    until(|| open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn unread_streams_hold_up_no_other_call() {
    let mut tunnelled = Tunnelled::new().await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(tunnelled.events(1_000_000, 4000).await);
    }
    for stream in &mut unread {
        stream.message().await.unwrap();
    }
    for number in 0..50 {
        let version = number.to_string();
        assert_eq!(tunnelled.describe(&version).await.unwrap(), version);
    }
}

#[tokio::test]
async fn many_small_messages_unread_end_no_connection() {
    let mut tunnelled = Tunnelled::new().await;
    let mut unread = tunnelled.events(1_000_000, 1).await;
    unread.message().await.unwrap();
    for number in 0..200 {
        let version = number.to_string();
        assert_eq!(tunnelled.describe(&version).await.unwrap(), version);
    }
}

#[tokio::test]
async fn loss_of_the_tunnel_is_unavailable_to_every_call() {
    let mut tunnelled = Tunnelled::new().await;
    let mut events = tunnelled.events(usize::MAX, 1000).await;
    events.message().await.unwrap();
    let mut client = tunnelled.client.clone();
    let waiting = tokio::spawn(async move {
        let request = v1::DescribeRequest {
            agent_version: "wait".to_owned(),
        };
        client.describe(request).await
    });
    // The call is at the peer before the tunnel is cut: one that was made after it is answered.
    assert_eq!(tunnelled.describe("1").await.unwrap(), "1");
    tunnelled.cut();

    assert_eq!(
        waiting.await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
    let lost = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(lost.code(), Code::Unavailable, "{lost:?}");
    let _ = tunnelled.driven.await.unwrap();
    tunnelled.served.abort();
    let mut client = tunnelled.client;
    let refused = client
        .describe(v1::DescribeRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
}

#[tokio::test]
async fn shutdown_lets_calls_in_flight_end() {
    let mut tunnelled = Tunnelled::new().await;
    let mut events = tunnelled.events(300, 3000).await;
    events.message().await.unwrap();
    tunnelled.shutdown.take().unwrap().send(()).unwrap();
    let mut rest = 0;
    while events.message().await.unwrap().is_some() {
        rest += 1;
    }
    assert_eq!(rest, 299);
    tunnelled.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_after_the_last_handle_is_gone() {
    let mut tunnelled = Tunnelled::new().await;
    // More than fits into the windows: the rest is sent while it is read.
    let mut events = tunnelled.events(64, 64 * 1024).await;
    let Tunnelled { client, driven, .. } = tunnelled;
    drop(client);
    let mut count = 0;
    while let Some(event) = events.next().await {
        event.unwrap();
        count += 1;
        assert!(count == 64 || !driven.is_finished(), "after {count} of 64");
        tokio::task::yield_now().await;
    }
    assert_eq!(count, 64);
    drop(events);
    tokio::time::timeout(LIMIT, driven)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// A server that answers at once, and what it received of the request until that ended.
async fn answers_first(
    socket: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) -> Result<usize, h2::Error> {
    let mut connection = h2::server::handshake(socket).await?;
    let (request, mut respond) = connection.accept().await.unwrap()?;
    let mut body = request.into_body();
    let _answer = respond.send_response(http::Response::new(()), false)?;
    let reading = async {
        let mut received = 0;
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
            received += length;
        }
        Ok(received)
    };
    let driving = async { while connection.accept().await.is_some() {} };
    tokio::select! {
        received = reading => received,
        () = driving => panic!("the connection ended before the request"),
    }
}

#[tokio::test]
async fn a_request_goes_on_after_its_response_has_begun_and_ends_with_its_caller() {
    const CHUNK: usize = 100_000;
    for is_dropped in [false, true] {
        let (ours, theirs) = tokio::io::duplex(1024);
        let server = tokio::spawn(answers_first(theirs));
        let (mut channel, driver) = ironic_tunnel::connect(ours, Pings::Never).await.unwrap();
        tokio::spawn(driver);
        let (chunks, body) = mpsc::channel::<Result<_, Status>>(1);
        let body = http_body_util::StreamBody::new(ReceiverStream::new(body));
        let request = http::Request::post(ironic_tunnel::ORIGIN);
        let request = request.body(tonic::body::Body::new(body)).unwrap();
        let response = tower::Service::call(&mut channel, request).await.unwrap();
        for _ in 0..10 {
            let chunk = Bytes::from(vec![7; CHUNK]);
            chunks
                .send(Ok(http_body::Frame::data(chunk)))
                .await
                .unwrap();
        }
        if is_dropped {
            drop(response);
            let cancelled = server.await.unwrap().unwrap_err();
            assert_eq!(cancelled.reason(), Some(h2::Reason::CANCEL));
        } else {
            drop(chunks);
            assert_eq!(server.await.unwrap().unwrap(), 10 * CHUNK);
            drop(response);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_lost() {
    let (ours, _silent) = tokio::io::duplex(64 * 1024);
    let pings = Pings::Every {
        period: Duration::from_secs(20),
        timeout: Duration::from_secs(10),
    };
    let (channel, driver) = ironic_tunnel::connect(ours, pings).await.unwrap();
    let begin = tokio::time::Instant::now();
    let lost = driver.await.unwrap_err();
    assert_eq!(lost.kind(), io::ErrorKind::TimedOut);
    assert_eq!(begin.elapsed().as_secs(), 30);
    assert!(channel.is_closed());
}
