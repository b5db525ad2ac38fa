use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use ironic_tunnel::{GrpcChannel, Pings};
use tokio::io::DuplexStream;
use tokio::sync::Notify;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

use super::connection::{BrokenBody, full_body};
use super::directory::{DirectoryAway, Located};
use super::route::{NodeRoute, NotFound, Search};
use super::*;
use crate::agents::AgentKey;
use crate::agents::attachment::{Away, STRANGERS_HELD};
use crate::metrics::Metrics;

const NODE: &str = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123";

/// A directory without a network: every replica of the test is asked. An honest fake of what
/// NATS does.
#[derive(Clone, Default)]
struct SharedDirectory {
    members: Arc<Mutex<Vec<Peers>>>,
    is_away: Arc<AtomicBool>,
}

impl std::fmt::Debug for SharedDirectory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SharedDirectory")
    }
}

/// What one of them sees.
#[derive(Debug)]
struct SeenBy {
    all: SharedDirectory,
    url: String,
}

impl Directory for SeenBy {
    fn locate<'a>(
        &'a self,
        node_uuid: &'a str,
        expected: usize,
    ) -> BoxFuture<'a, Result<Located, DirectoryAway>> {
        Box::pin(async move {
            if self.all.is_away.load(Ordering::Relaxed) {
                return Err(DirectoryAway);
            }
            let members = lock(&self.all.members).clone();
            let others = members.iter().filter(|member| member.url() != self.url);
            let answers: Vec<_> = others.map(|member| member.answer(node_uuid)).collect();
            Ok(Located {
                is_complete: answers.len() >= expected,
                answers,
            })
        })
    }

    fn is_connected(&self) -> bool {
        !self.all.is_away.load(Ordering::Relaxed)
    }
}

/// Replicas that listen on loopback.
struct Site {
    directory: SharedDirectory,
    tls: PeerTls,
    stop: CancellationToken,
    _files: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = tls::testing::files(directory.path());
        Self {
            directory: SharedDirectory::default(),
            tls: PeerTls::load(files, None).unwrap(),
            stop: CancellationToken::new(),
            _files: directory,
        }
    }

    /// A replica that answers requests for nodes by `nodes`, and that the others meet.
    async fn replica(&self, nodes: NodeHandler) -> Peers {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let presence = Presence {
            replica: url.clone(),
            peer_url: url.clone(),
            gateway_url: "https://gw".into(),
            verify_ca_sha256: None,
        };
        let agents = AgentRegistry::of_gateway(Proofs::default(), Metrics::new(), None);
        let peers = Peers::new(presence, agents, self.tls.clone(), self.stop.clone());
        peers.serve(listener, nodes);
        let all = self.directory.clone();
        peers.join(Box::new(SeenBy { all, url }));
        let mut members = lock(&self.directory.members);
        for other in &*members {
            other.meet(peers.presence());
            peers.meet(other.presence());
        }
        members.push(peers.clone());
        peers
    }
}

/// Answers with the body of the request.
fn echo() -> NodeHandler {
    Arc::new(|request, _, _| Box::pin(async { Response::new(request.into_body()) }))
}

fn id(counter: u64) -> AttachmentId {
    AttachmentId {
        boot_id: "b".into(),
        counter,
    }
}

/// Attaches the node, as a gateway does; the other end holds the connection open.
async fn attach(peers: &Peers, counter: u64) -> (GrpcChannel, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (channel, driver) = ironic_tunnel::connect(ours, Pings::Never).await.unwrap();
    tokio::spawn(driver);
    peers.0.agents.node(NODE);
    let slot = peers.0.agents.slot(NODE).unwrap();
    slot.attach(id(counter), channel.clone()).unwrap();
    peers.attached(NODE, &id(counter));
    (channel, theirs)
}

async fn route(peers: &Peers) -> NodeRoute {
    let mut search: Search<'_> = peers.search(NODE, true);
    let route = tokio::time::timeout(Duration::from_secs(20), search.route());
    route.await.expect("no route was found").unwrap()
}

fn post(body: PeerBody) -> Request<PeerBody> {
    Request::post(format!("/nodes/{NODE}/v1/commands/?wait=true"))
        .body(body)
        .unwrap()
}

fn origin() -> Option<RequestOrigin> {
    Some(RequestOrigin {
        peer: ([127, 0, 0, 1], 1).into(),
        port: 9999,
        secure: false,
    })
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("it did not happen");
}

#[tokio::test]
async fn a_node_is_found_where_it_attaches_and_where_it_moves() {
    let site = Site::new();
    let (a, b) = (site.replica(echo()).await, site.replica(echo()).await);
    let (_at_a, _end) = attach(&a, 1).await;
    assert_eq!(route(&a).await, NodeRoute::Here);
    assert_eq!(route(&b).await, NodeRoute::At(a.url().into()));
    let (_at_b, _end) = attach(&b, 2).await;
    assert_eq!(route(&b).await, NodeRoute::Here);
    // The first one hears it directly, and lets go.
    until(|| !a.is_here(NODE)).await;
    assert_eq!(route(&a).await, NodeRoute::At(b.url().into()));
    assert!(a.is_superseded(NODE, &id(1)) && !a.is_superseded(NODE, &id(3)));
    b.detached(NODE, &id(2), true);
    until(|| a.locations().is_closed(NODE)).await;
    assert_eq!(route(&a).await, NodeRoute::Closed);
}

#[tokio::test]
async fn a_node_that_was_closed_here_is_open_again_when_it_attaches_elsewhere() {
    let site = Site::new();
    let (a, b) = (site.replica(echo()).await, site.replica(echo()).await);
    let (_at_a, _end) = attach(&a, 1).await;
    let key = AgentKey::Node(NODE.to_owned());
    let (_, generation) = a.0.agents.node(NODE);
    a.0.agents.close(&key, generation);
    a.0.agents.slot(NODE).unwrap().detach(&id(1));
    a.detached(NODE, &id(1), true);
    assert_eq!(route(&a).await, NodeRoute::Closed);
    until(|| b.locations().is_closed(NODE)).await;
    // The machine boots again, attaches to the other gateway, and is away for a moment.
    let (at_b, _end) = attach(&b, 2).await;
    until(|| a.gateway_of(NODE).is_some()).await;
    drop(at_b);
    b.0.agents.slot(NODE).unwrap().detach(&id(2));
    b.detached(NODE, &id(2), false);
    until(|| a.gateway_of(NODE).is_none()).await;
    assert!(!a.0.agents.is_closed(NODE));
    let mut search = a.search(NODE, true);
    let placing = search.route();
    tokio::pin!(placing);
    assert!(futures_util::poll!(&mut placing).is_pending(), "it waits");
}

/// One failed connection, while nobody can be asked where the node is.
#[tokio::test]
async fn without_a_directory_a_replica_that_could_not_be_reached_is_tried_again() {
    let site = Site::new();
    let (a, b) = (site.replica(echo()).await, site.replica(echo()).await);
    let (_at_a, _end) = attach(&a, 1).await;
    until(|| b.gateway_of(NODE).is_some()).await;
    site.directory.is_away.store(true, Ordering::Relaxed);
    let url: Arc<str> = a.url().into();
    for _ in 0..2 {
        b.locations().unreachable(NODE, &url);
        assert_eq!(route(&b).await, NodeRoute::At(Arc::clone(&url)));
    }
    // A request that has just failed there waits before it goes there again.
    let mut search = b.search(NODE, true);
    assert_eq!(search.route().await, Ok(NodeRoute::At(Arc::clone(&url))));
    b.locations().unreachable(NODE, &url);
    search.failed(&url);
    let soon = Duration::from_millis(200);
    let placing = tokio::time::timeout(soon, search.route());
    assert!(placing.await.is_err(), "without a pause");
    assert_eq!(search.route().await, Ok(NodeRoute::At(url)));
}

#[tokio::test]
async fn a_request_waits_for_a_known_node_and_an_unknown_one_is_unknown() {
    let site = Site::new();
    let (a, b) = (site.replica(echo()).await, site.replica(echo()).await);
    assert_eq!(route(&a).await, NodeRoute::Unknown);
    // What one has proved, the other knows.
    b.proofs().prove(NODE, "token");
    until(|| a.is_proved(NODE, "token")).await;
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { route(&a).await }
    });
    tokio::task::yield_now().await;
    let (_at_b, _end) = attach(&b, 1).await;
    assert_eq!(waiting.await.unwrap(), NodeRoute::At(b.url().into()));
    // Names that are no UUIDs are no node's, and ask nobody.
    assert_eq!(
        a.search("no.uuid", true).route().await.unwrap(),
        NodeRoute::Unknown
    );
    site.directory.is_away.store(true, Ordering::Relaxed);
    assert_eq!(
        a.search("no.uuid", true).route().await.unwrap(),
        NodeRoute::Unknown
    );
    assert!(!a.status().directory_connected);
    assert_eq!((a.status().replicas, a.status().nodes_elsewhere), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn requests_for_unknown_nodes_are_limited_without_a_directory() {
    let site = Site::new();
    let a = site.replica(echo()).await;
    site.directory.is_away.store(true, Ordering::Relaxed);
    let start = Instant::now();
    let search = |a: &Peers| {
        let a = a.clone();
        tokio::spawn(async move { a.search(NODE, true).route().await.unwrap_err().to_string() })
    };
    let waiting: Vec<_> = (0..=STRANGERS_HELD).map(|_| search(&a)).collect();
    let mut errors = Vec::new();
    for one in waiting {
        errors.push(one.await.unwrap());
    }
    let refused = errors.iter().filter(|error| error.contains("too many"));
    assert_eq!(refused.count(), 1, "{errors:?}");
    assert_eq!(start.elapsed().as_secs(), 45);
    // Nothing is left of them.
    assert_eq!(a.0.waiting.count(), 0);
    {
        let mut search = a.search(NODE, true);
        let hung_up = search.route();
        tokio::pin!(hung_up);
        assert!(futures_util::poll!(&mut hung_up).is_pending());
        assert_eq!(a.0.waiting.count(), 1);
    }
    assert_eq!(a.0.waiting.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn strangers_do_not_take_the_places_of_callers_with_a_token() {
    let site = Site::new();
    let (a, b) = (site.replica(echo()).await, site.replica(echo()).await);
    a.proofs().prove(NODE, "t");
    let mut waiting = Vec::new();
    let mut refused = 0;
    // As many as there are places for requests that wait.
    for _ in 0..600 {
        let mut search = a.search(NODE, false);
        let mut route = Box::pin(async move { search.route().await });
        match futures_util::poll!(&mut route) {
            Poll::Pending => waiting.push(route),
            Poll::Ready(placed) => {
                assert_eq!(placed, Err(NotFound(Away::TooMany)));
                refused += 1;
            }
        }
    }
    assert_eq!(
        (waiting.len(), refused),
        (STRANGERS_HELD, 600 - STRANGERS_HELD)
    );
    let conductor = tokio::spawn({
        let a = a.clone();
        async move { route(&a).await }
    });
    tokio::task::yield_now().await;
    let (_at_b, _end) = attach(&b, 1).await;
    assert_eq!(conductor.await.unwrap(), NodeRoute::At(b.url().into()));
}

/// A body of so many bytes that counts how many were taken from it.
struct Counted {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(16 * 1024);
        self.left -= length;
        self.taken.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; length])))))
    }
}

#[tokio::test]
async fn a_large_body_passes_with_bounded_memory() {
    const SIZE: usize = 64 * 1024 * 1024;
    let site = Site::new();
    let may_read = Arc::new(Notify::new());
    let reading = Arc::clone(&may_read);
    let slow: NodeHandler = Arc::new(move |request, _, _| {
        let reading = Arc::clone(&reading);
        Box::pin(async move {
            reading.notified().await;
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(Ok(frame)) = body.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(full_body(length.to_string()))
        })
    });
    let (a, b) = (site.replica(slow).await, site.replica(echo()).await);
    let (_at_a, _end) = attach(&a, 1).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Counted {
        left: SIZE,
        taken: Arc::clone(&taken),
    };
    let peer = b.connect(NODE, &a.url().into()).await.unwrap();
    let sending = tokio::spawn(peer.send(post(passing_body(body)), origin()));
    // It goes on as long as there is room, and stops before much of it is in memory.
    let mut before = usize::MAX;
    while before != taken.load(Ordering::Relaxed) || before == 0 {
        before = taken.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(before < 2 * 1024 * 1024, "{before} bytes are under way");
    may_read.notify_one();
    let answer = sending.await.unwrap().unwrap().into_body();
    let answer = answer.collect().await.unwrap().to_bytes();
    assert_eq!(answer, SIZE.to_string());
}

#[tokio::test]
async fn a_request_is_repeated_only_if_it_was_not_delivered() {
    let site = Site::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let mute: NodeHandler = Arc::new(move |_, _, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    });
    let (a, b) = (site.replica(mute).await, site.replica(echo()).await);
    let url: Arc<str> = a.url().into();
    // It is not there.
    let peer = b.connect(NODE, &url).await.unwrap();
    let refused = peer.send(post(full_body("x")), origin()).await.unwrap_err();
    assert!(matches!(refused, ForwardError::NotThere(_)), "{refused:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    // It is there, takes the request, and dies.
    let (_at_a, _end) = attach(&a, 1).await;
    let peer = b.connect(NODE, &url).await.unwrap();
    let sending = tokio::spawn(peer.send(post(full_body("x")), origin()));
    until(|| calls.load(Ordering::Relaxed) == 1).await;
    site.stop.cancel();
    let lost = sending.await.unwrap().unwrap_err();
    assert!(matches!(lost, ForwardError::Lost { .. }), "{lost:?}");
    // Nobody listens there any more.
    let gone = b.connect(NODE, &url).await.unwrap_err();
    assert!(matches!(gone, ForwardError::Unreachable(_)), "{gone:?}");
    let again = b.connect(NODE, &url).await.unwrap_err();
    assert!(again.to_string().contains("cannot be reached"), "{again}");
}

#[tokio::test]
async fn grpc_calls_pass_with_their_trailers_where_there_is_a_service_for_them() {
    let site = Site::new();
    let (a, b) = (site.replica(echo()).await, site.replica(echo()).await);
    let (_at_a, _end) = attach(&a, 1).await;
    let call = async || {
        let request = Request::post("/ironic.agent.v1.CommandService/GetStatus")
            .header("te", "trailers")
            .header("node-uuid", NODE)
            .body(full_body("ping"))
            .unwrap();
        let peer = b.connect(NODE, &a.url().into()).await.unwrap();
        peer.send(request, None).await.unwrap()
    };
    assert_eq!(call().await.status(), 404);
    let service = service_fn(|request: Request<PeerBody>| async move {
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["node-uuid"], NODE);
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let trailers = async {
            Some(Ok(http::HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )])))
        };
        let body = passing_body(http_body_util::Full::new(body).with_trailers(trailers));
        Ok::<_, std::convert::Infallible>(Response::new(body))
    });
    a.serve_grpc(BoxCloneSyncService::new(service));
    let answer = call().await.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes(), "ping");
}
