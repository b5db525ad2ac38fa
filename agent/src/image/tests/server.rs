//! A small HTTP server on loopback that misbehaves on request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How a path is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// What `Content-Length` claims; the truth when absent.
    pub(super) claimed: Option<u64>,
    /// After so many bytes of the body ...
    pub(super) stop_at: Option<usize>,
    /// ... the connection closes, or (true) stays open and silent.
    pub(super) stalls: bool,
    /// Whether `stop_at` counts only for the first request.
    pub(super) only_once: bool,
    /// Whether ranges are served.
    pub(super) ranges: bool,
    /// The only `Authorization` that is accepted, and the `WWW-Authenticate` for all others.
    pub(super) challenge: Option<(String, String)>,
    /// Where to go instead.
    pub(super) location: Option<String>,
}

impl Page {
    pub(super) fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }
}

/// A request as it was received: path, and headers in lower case.
pub(super) type Seen = (String, HashMap<String, String>);

/// Serves pages until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Ends with the server.
    _tasks: tokio::task::JoinSet<()>,
}

impl Server {
    pub(super) async fn start(pages: impl IntoIterator<Item = (impl Into<String>, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages: Arc<HashMap<String, Page>> = Arc::new(
            pages
                .into_iter()
                .map(|(path, page)| (path.into(), page))
                .collect(),
        );
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let mut tasks = tokio::task::JoinSet::new();
        let record = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let served = serve(stream, Arc::clone(&pages), Arc::clone(&record));
                connections.spawn(served);
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    pages: Arc<HashMap<String, Page>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let first = lines.next_line().await.ok()??;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    while let Some(line) = lines.next_line().await.ok()? {
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let times = {
        let mut seen = seen.lock().unwrap();
        seen.push((path.clone(), headers.clone()));
        seen.iter().filter(|(other, _)| *other == path).count()
    };
    let page = pages.get(&path).cloned().unwrap_or_else(|| Page {
        status: 404,
        ..Page::new("no such page")
    });
    let page = match page.challenge {
        Some((proof, header)) if headers.get("authorization") != Some(&proof) => {
            let answer = format!(
                "HTTP/1.1 401 Who\r\nWWW-Authenticate: {header}\r\nContent-Length: 0\r\n\r\n"
            );
            write.write_all(answer.as_bytes()).await.ok()?;
            return Some(());
        }
        _ => page,
    };
    // The first byte, and the one behind the last.
    let range: Option<(usize, usize)> =
        headers
            .get("range")
            .filter(|_| page.ranges)
            .and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                let all = page.body.len();
                let end = if last.is_empty() {
                    all
                } else {
                    all.min(last.parse::<usize>().ok()? + 1)
                };
                Some((first.parse().ok()?, end))
            });
    let (from, to) = range.unwrap_or((0, page.body.len()));
    let body = &page.body[from..to];
    let length = page.claimed.unwrap_or(body.len() as u64);
    let mut head = match range {
        Some((from, to)) => format!(
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{}\r\n",
            to - 1,
            page.body.len()
        ),
        None => format!("HTTP/1.1 {} Whatever\r\nETag: \"v1\"\r\n", page.status),
    };
    if let Some(location) = &page.location {
        head += &format!("Location: {location}\r\n");
    }
    head += &format!("Content-Length: {length}\r\nConnection: close\r\n\r\n");
    write.write_all(head.as_bytes()).await.ok()?;
    let stop = page
        .stop_at
        .filter(|_| !page.only_once || times == 1)
        .map(|stop| stop.saturating_sub(from).min(body.len()));
    write
        .write_all(&body[..stop.unwrap_or(body.len())])
        .await
        .ok()?;
    if stop.is_some() && page.stalls {
        std::future::pending::<()>().await;
    }
    Some(())
}
