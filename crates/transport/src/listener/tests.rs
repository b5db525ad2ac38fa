use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 4,
    unauthenticated: 8,
    per_peer: 4,
    wait: Duration::from_secs(15),
    stall: Duration::from_secs(10),
};

/// Accepts what a script says, and counts how often it is asked.
#[derive(Debug, Default)]
struct Scripted {
    next: Mutex<VecDeque<io::Result<UnixStream>>>,
    asked: Mutex<usize>,
}

impl Accept for Scripted {
    type Stream = UnixStream;

    fn poll_accept(
        &self,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<(UnixStream, Option<SocketAddr>)>> {
        *self.asked.lock().unwrap() += 1;
        match self.next.lock().unwrap().pop_front() {
            Some(next) => Poll::Ready(next.map(|stream| (stream, None))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_there_is_a_pause_and_someone_makes_way() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let script = Scripted::default();
    script.next.lock().unwrap().push_back(Ok(ours));
    for _ in 0..10 {
        // EMFILE
        let full = io::Error::from_raw_os_error(24);
        script.next.lock().unwrap().push_back(Err(full));
    }
    let mut listener = Listener::new(script, "test", LIMITS);
    let first = listener.accept().await;
    let slot = first.slot().clone();
    let timeout = Duration::from_secs(60);
    let none = tokio::time::timeout(timeout, listener.accept()).await;
    assert!(none.is_err(), "nobody came");
    assert!(slot.is_evicted());
    drop((first, slot));
    let mut end = [0];
    assert_eq!(theirs.read(&mut end).await.unwrap(), 0);
    // Ten refusals with a pause each, then two polls per look at the deadlines: no spinning.
    let asked = *listener.inner.asked.lock().unwrap();
    assert!((12..=300).contains(&asked), "{asked}");
}

/// It reads nothing meanwhile, which would wake it, too.
#[tokio::test(start_paused = true)]
async fn who_waits_for_its_peer_to_read_hears_that_the_slot_was_taken_away() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let script = Scripted::default();
    script.next.lock().unwrap().push_back(Ok(ours));
    // EMFILE
    let full = io::Error::from_raw_os_error(24);
    script.next.lock().unwrap().push_back(Err(full));
    let mut listener = Listener::new(script, "test", LIMITS);
    let mut connection = listener.accept().await;
    let writing = tokio::spawn(async move {
        let much = vec![0; 16 * 1024 * 1024];
        connection.write_all(&much).await
    });
    tokio::task::yield_now().await;
    let none = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await;
    assert!(none.is_err(), "nobody came");
    let error = writing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

async fn tcp() -> (Listener<TcpListener>, SocketAddr) {
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inner.local_addr().unwrap();
    (Listener::new(inner, "test", LIMITS), address)
}

#[tokio::test]
async fn a_connection_that_makes_way_is_reset() {
    let (mut listener, address) = tcp().await;
    let mut clients = Vec::new();
    let mut held = Vec::new();
    for _ in 0..=LIMITS.per_peer {
        clients.push(TcpStream::connect(address).await.unwrap());
        held.push(listener.accept().await);
    }
    // What it has not read yet is dropped with it.
    let error = held[0].write_all(b"x").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    drop(held.remove(0));
    let error = clients[0].read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    held[0].write_all(b"y").await.unwrap();
    assert_eq!(clients[1].read_u8().await.unwrap(), b'y');
}

/// The queues are bounded in the kernel: a peer that reads nothing takes less than half a
/// megabyte, before and after it has shown a token.
#[tokio::test]
async fn who_reads_nothing_stalls_its_server_soon() {
    for token in [false, true] {
        let (mut listener, address) = tcp().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let mut connection = listener.accept().await;
        if token {
            connection.slot().authenticated();
        }
        let chunk = [0; 16 * 1024];
        let mut taken = 0;
        let stalled = async {
            loop {
                taken += connection.write(&chunk).await.unwrap();
            }
        };
        let stalled = tokio::time::timeout(Duration::from_millis(300), stalled).await;
        assert!(stalled.is_err());
        // Its own receive queue counts too.
        assert!(taken < 8 * 1024 * 1024, "{taken}");
        let slot = connection.slot().clone();
        let admission = Arc::clone(&listener.admission);
        admission.sweep(Instant::now() + LIMITS.stall);
        assert!(slot.is_evicted());
        assert!(connection.write(&chunk).await.is_err());
    }
}
