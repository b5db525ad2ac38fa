//! An image that comes half, and the rest when the test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Serves the same bytes to everyone, and holds the second half back until it is released.
pub struct HeldImage {
    /// Where it is.
    pub url: String,
    requests: Arc<AtomicUsize>,
    half_sent: watch::Receiver<bool>,
    released: watch::Sender<bool>,
}

impl HeldImage {
    pub async fn serve(body: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/image.raw", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (half, half_sent) = watch::channel(false);
        let released = watch::Sender::new(false);
        let (counted, held) = (Arc::clone(&requests), released.subscribe());
        let (body, half) = (Arc::new(body), Arc::new(half));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (body, half) = (Arc::clone(&body), Arc::clone(&half));
                tokio::spawn(answer(socket, body, half, held.clone()));
            }
        });
        Self {
            url,
            requests,
            half_sent,
            released,
        }
    }

    /// Returns when the first half was sent to somebody.
    pub async fn half_sent(&mut self) {
        self.half_sent.wait_for(|sent| *sent).await.unwrap();
    }

    /// Lets the second half go.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// How often the image was asked for.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(
    mut socket: TcpStream,
    body: Arc<Vec<u8>>,
    half: Arc<watch::Sender<bool>>,
    mut released: watch::Receiver<bool>,
) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let (first, second) = body.split_at(length / 2);
    let _ = socket.read(&mut [0; 4096]).await;
    let _ = socket.write_all(head.as_bytes()).await;
    let _ = socket.write_all(first).await;
    half.send_replace(true);
    if released.wait_for(|released| *released).await.is_ok() {
        let _ = socket.write_all(second).await;
    }
}
