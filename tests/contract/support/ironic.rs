//! An Ironic API that remembers every request, refuses what the real one refuses, and
//! misbehaves when a test asks for it.
//!
//! It speaks HTTP/1.1 by hand, so that a test sees the request line and the headers exactly
//! as they came. Its answers are those of a recorded Ironic 39
//! (`tests/fixtures/traces/agent-to-ironic.json`).

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The node of the recording.
pub(crate) const NODE: &str = "d8d02727-d64e-4bed-a7b5-fce63373e33f";
/// The token that the first lookup hands out.
pub(crate) const TOKEN: &str = "AQ_4v2iNfRD35f00RBMSAJMot_FntaoCdgtFwNhk1U0";

/// How long a beat takes that is accepted whatever it says.
const BEAT: Duration = Duration::from_millis(20);

/// One recorded exchange: `request`, `response`, `path`, `status`, ...
pub(crate) fn recorded(name: &str) -> Value {
    let text = include_str!("../../fixtures/traces/agent-to-ironic.json");
    let all: Value = serde_json::from_str(text).unwrap();
    all.get(name)
        .unwrap_or_else(|| panic!("{name} was not recorded"))
        .clone()
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    /// The value of a header; names are compared in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The microversion that was asked for.
    pub(crate) fn version(&self) -> Option<&str> {
        self.header("X-OpenStack-Ironic-API-Version")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// A status and any body.
    Text(u16, String),
    /// Fewer bytes than the header promises, then the end of the connection.
    Cut,
    /// The connection ends without an answer.
    HangUp,
    /// Nothing, forever.
    Stall,
    /// What this Ironic says by itself, once the other side is notified.
    Late(Arc<Notify>),
}

impl Reply {
    /// An error as Ironic writes it: JSON within JSON.
    pub(crate) fn error(status: u16, text: &str) -> Self {
        let inner = json!({"faultcode": "Client", "faultstring": text, "debuginfo": null});
        Self::Json(status, json!({"error_message": inner.to_string()}))
    }
}

#[derive(Debug, Default)]
struct Memory {
    seen: Vec<Seen>,
    scripts: Vec<(String, VecDeque<Reply>)>,
    version: Option<String>,
    token_taken: bool,
    require_tls: bool,
    agent_url: Option<String>,
    verify_ca: Option<Value>,
    /// Beats of any node are accepted, whatever they say.
    accepts_all: bool,
    accepted: Vec<(Instant, String)>,
    /// Beats that are not answered yet, by path, and the most of one path that there were.
    open: HashMap<String, usize>,
    most_open: usize,
}

/// The running server; it ends with its handle.
#[derive(Debug)]
pub(crate) struct FakeIronic {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    arrived: Arc<Notify>,
    stop: CancellationToken,
}

impl Drop for FakeIronic {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl FakeIronic {
    /// Version 1.115, at a port that the system chooses.
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None).await
    }

    /// The same behind TLS.
    pub(crate) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), Some(acceptor)).await
    }

    pub(crate) async fn start_at(address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let memory = Arc::new(Mutex::new(Memory {
            version: Some("1.115".into()),
            ..Memory::default()
        }));
        let ironic = Self {
            url: format!("{scheme}://{address}"),
            address,
            memory: Arc::clone(&memory),
            arrived: Arc::default(),
            stop: CancellationToken::new(),
        };
        let (stop, arrived) = (ironic.stop.clone(), Arc::clone(&ironic.arrived));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((peer, _)) = listener.accept().await {
                let (memory, arrived) = (Arc::clone(&memory), Arc::clone(&arrived));
                let tls = tls.clone();
                let talk = async move {
                    match tls {
                        None => talk(peer, &memory, &arrived).await,
                        Some(tls) => match tls.accept(peer).await {
                            Ok(peer) => talk(peer, &memory, &arrived).await,
                            Err(_) => Some(()),
                        },
                    }
                };
                tokio::spawn(stop.clone().run_until_cancelled_owned(talk));
            }
        }));
        ironic
    }

    /// The microversion that the root document tells; `None` is a root document that fails.
    pub(crate) fn set_version(&self, version: Option<&str>) {
        self.memory.lock().unwrap().version = version.map(str::to_owned);
    }

    /// Refuses callback URLs without TLS.
    pub(crate) fn require_tls(&self) {
        self.memory.lock().unwrap().require_tls = true;
    }

    /// The next requests whose path begins so are answered with these, one each.
    pub(crate) fn script(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        let script = (path.to_owned(), replies.into_iter().collect());
        self.memory.lock().unwrap().scripts.push(script);
    }

    /// Beats of any node are accepted, after the time that Ironic takes.
    pub(crate) fn accept_beats_of_all(&self) {
        self.memory.lock().unwrap().accepts_all = true;
    }

    /// When beats arrived that were accepted so, and their paths.
    pub(crate) fn accepted_beats(&self) -> Vec<(Instant, String)> {
        self.memory.lock().unwrap().accepted.clone()
    }

    /// The most beats of one node that were not answered at the same time.
    pub(crate) fn most_of_one_node(&self) -> usize {
        self.memory.lock().unwrap().most_open
    }

    /// Every request whose path begins so.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let memory = self.memory.lock().unwrap();
        memory
            .seen
            .iter()
            .filter(|seen| seen.path.starts_with(path))
            .cloned()
            .collect()
    }

    /// The requests for the root document.
    pub(crate) fn seen_root(&self) -> Vec<Seen> {
        let memory = self.memory.lock().unwrap();
        memory
            .seen
            .iter()
            .filter(|seen| seen.path == "/")
            .cloned()
            .collect()
    }

    /// Waits until so many requests with such a path have come.
    pub(crate) async fn wait_for(&self, path: &str, count: usize) -> Vec<Seen> {
        let waiting = async {
            loop {
                let arrived = self.arrived.notified();
                let seen = self.seen(path);
                if seen.len() >= count {
                    return seen;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("no such request came")
    }
}

async fn talk<S>(peer: S, memory: &Mutex<Memory>, arrived: &Notify) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut peer = BufReader::new(peer);
    loop {
        let seen = read(&mut peer).await?;
        let reply = {
            let mut memory = memory.lock().unwrap();
            memory.seen.push(seen.clone());
            memory.scripted(&seen.path)
        };
        arrived.notify_waiters();
        let reply = match reply {
            Some(Reply::Late(signal)) => {
                signal.notified().await;
                None
            }
            reply => reply,
        };
        let reply = match reply {
            None if memory.lock().unwrap().accepts(&seen) => {
                tokio::time::sleep(BEAT).await;
                memory.lock().unwrap().end(&seen);
                Some(Reply::Text(202, String::new()))
            }
            reply => reply,
        };
        let reply = reply.unwrap_or_else(|| memory.lock().unwrap().answer(&seen));
        let (status, body) = match reply {
            Reply::Json(status, body) => (status, body.to_string()),
            Reply::Text(status, body) => (status, body),
            Reply::HangUp | Reply::Late(_) => return None,
            Reply::Stall => return std::future::pending().await,
            Reply::Cut => {
                let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"node\": {\"uuid\"";
                peer.write_all(half.as_bytes()).await.ok()?;
                return peer.shutdown().await.ok();
            }
        };
        let answer = format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        peer.write_all(answer.as_bytes()).await.ok()?;
        peer.flush().await.ok()?;
    }
}

async fn read<S: AsyncRead + Unpin>(peer: &mut BufReader<S>) -> Option<Seen> {
    let mut line = String::new();
    if peer.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        peer.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut body = vec![0; length];
    peer.read_exact(&mut body).await.ok()?;
    Some(Seen {
        method,
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

impl Memory {
    fn scripted(&mut self, path: &str) -> Option<Reply> {
        let mut scripts = self.scripts.iter_mut();
        scripts
            .find(|(start, left)| path.starts_with(start) && !left.is_empty())?
            .1
            .pop_front()
    }

    /// Takes note of a beat that is accepted whatever it says.
    fn accepts(&mut self, seen: &Seen) -> bool {
        let is_accepted = self.accepts_all && seen.path.starts_with("/v1/heartbeat/");
        if is_accepted {
            self.accepted.push((Instant::now(), seen.path.clone()));
            let open = self.open.entry(seen.path.clone()).or_default();
            *open += 1;
            self.most_open = self.most_open.max(*open);
        }
        is_accepted
    }

    fn end(&mut self, seen: &Seen) {
        if let Some(open) = self.open.get_mut(&seen.path) {
            *open -= 1;
        }
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        let path = seen.path.split('?').next().unwrap_or_default();
        match (seen.method.as_str(), path) {
            ("GET", "/") => self.root(),
            ("GET", "/v1/lookup") => self.lookup(),
            ("POST", "/v1/continue_inspection") => inspection(seen),
            ("POST", path) if path == format!("/v1/heartbeat/{NODE}") => {
                self.heartbeat(&seen.json())
            }
            _ => Reply::error(404, "Resource could not be found."),
        }
    }

    fn root(&self) -> Reply {
        let Some(version) = &self.version else {
            return Reply::Text(503, "Service Unavailable".into());
        };
        let mut root = recorded("root")["response"].clone();
        root["default_version"]["version"] = json!(version);
        Reply::Json(200, root)
    }

    fn lookup(&mut self) -> Reply {
        let mut answer = recorded("lookup")["response"].clone();
        let token = if self.token_taken { "******" } else { TOKEN };
        answer["config"]["agent_token"] = json!(token);
        self.token_taken = true;
        Reply::Json(200, answer)
    }

    /// The checks that need no database, in Ironic's order.
    fn heartbeat(&mut self, body: &Value) -> Reply {
        const KNOWN: [&str; 5] = [
            "callback_url",
            "agent_token",
            "agent_version",
            "agent_verify_ca",
            "agent_status_message",
        ];
        let body = body.as_object().unwrap();
        if let Some(unknown) = body.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Reply::error(400, &format!("Unexpected arguments: {unknown}"));
        }
        let Some(url) = body["callback_url"].as_str() else {
            return Reply::error(400, "Missing mandatory parameter: callback_url");
        };
        if self.agent_url.as_deref().is_some_and(|known| known != url) {
            return Reply::error(400, "Detected change in ramdisk provided \"callback_url\"");
        }
        match body.get("agent_token") {
            None | Some(Value::Null) => {
                return Reply::error(400, "Agent token is required for heartbeat processing.");
            }
            Some(token) if token != TOKEN => {
                return Reply::error(400, "Invalid or missing agent token received.");
            }
            Some(_) => {}
        }
        if body.get("agent_version").is_none_or(Value::is_null) {
            let text = "Agent did not transmit a version, and a version is required.";
            return Reply::error(400, text);
        }
        if self.require_tls && !url.starts_with("https://") {
            return Reply::error(400, "TLS is required by configuration");
        }
        let verify_ca = body.get("agent_verify_ca").cloned().unwrap_or(Value::Null);
        if self
            .verify_ca
            .as_ref()
            .is_some_and(|known| *known != verify_ca)
        {
            return Reply::error(
                400,
                "Detected change in ramdisk provided \"agent_verify_ca\"",
            );
        }
        self.agent_url = Some(url.to_owned());
        self.verify_ca = Some(verify_ca);
        Reply::Text(202, String::new())
    }
}

fn inspection(seen: &Seen) -> Reply {
    let body = seen.json();
    let Some(interfaces) = body["inventory"]["interfaces"].as_array() else {
        return Reply::error(
            400,
            "Schema error for data: 'inventory' is a required property",
        );
    };
    if interfaces
        .iter()
        .any(|interface| !interface["mac_address"].is_string())
    {
        return Reply::error(400, "Schema error for data: None is not of type 'string'");
    }
    Reply::Json(202, json!({"uuid": NODE}))
}
