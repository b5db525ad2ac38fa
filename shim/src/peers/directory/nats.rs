//! The directory on NATS: core request and reply, nothing that a server keeps.
//!
//! ```text
//! <prefix>.replica       each replica introduces itself, every few seconds
//! <prefix>.node.<uuid>   "who holds this node?", answered by every replica
//! <prefix>.inbox.>       the answers
//! ```
//!
//! A replica subscribes once to the subjects of all nodes, not to each of its own: every replica
//! answers, also that it does not hold the node, so that the latest of several claims is found
//! and an unknown node is known to be unknown. An attachment costs the server nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, Message, StatusCode, Subject};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use ironic_text::error_chain;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::credentials::DirectoryCredentials;
use super::{Directory, DirectoryAway, DirectoryMember, Located};
use crate::peers::replicas::ABSENT;
use crate::peers::wire::{LocateAnswer, MAX_MESSAGE_BYTES, Presence};

/// How often a replica introduces itself.
const PERIOD: Duration = Duration::from_secs(5);
/// How long the first connection may take before it goes on in the background.
const FIRST_CONNECTION: Duration = Duration::from_secs(5);
/// Pauses between attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// How long answers are collected, if not all have come before.
const ANSWERS: Duration = Duration::from_millis(300);
/// How long a question may take to leave this program.
const SENDING: Duration = Duration::from_millis(500);
/// Questions at once.
const QUESTIONS: usize = 64;
/// A server that does not answer a ping is gone.
const PING_PERIOD: Duration = Duration::from_secs(5);
/// Most answers to one question.
const MAX_ANSWERS: usize = 64;

/// How the servers are reached.
#[derive(Debug, Clone)]
pub struct NatsSettings {
    /// `nats://HOST:PORT` or `tls://HOST:PORT`.
    pub servers: Vec<String>,
    /// The first words of every subject.
    pub prefix: String,
    /// The credentials of this replica.
    pub credentials: Option<DirectoryCredentials>,
    /// TLS with the servers, where they or their addresses ask for it.
    pub tls: Option<ClientConfig>,
}

/// Why there is no directory.
#[derive(Debug, Error)]
pub enum NatsError {
    /// An address makes no sense.
    #[error("option directory: {address} is not nats://HOST:PORT or tls://HOST:PORT")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The servers do not know this replica.
    #[error(
        "the NATS servers of option directory refuse this gateway: check directory_credentials_file, or directory_cert_file and directory_key_file"
    )]
    Refused(#[source] async_nats::ConnectError),
}

/// Whether the servers can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connectivity {
    Connecting,
    Connected { since: Instant },
    Away,
}

impl Connectivity {
    fn is_connected(self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Whether every replica that is there has had the time to introduce itself.
    fn is_settled(self) -> bool {
        matches!(self, Self::Connected { since } if since.elapsed() >= ABSENT)
    }
}

/// The directory.
#[derive(Debug)]
pub struct NatsDirectory {
    prefix: String,
    client: watch::Receiver<Option<Client>>,
    connectivity: watch::Receiver<Connectivity>,
    questions: Semaphore,
}

impl NatsDirectory {
    /// Connects, in the background if no server answers at once, and takes part until `stop`.
    ///
    /// # Errors
    /// An address makes no sense, or the servers refuse this replica.
    pub async fn start(
        settings: NatsSettings,
        member: Arc<dyn DirectoryMember>,
        stop: CancellationToken,
    ) -> Result<Self, NatsError> {
        let (connectivity, watched) = watch::channel(Connectivity::Connecting);
        let (clients, client) = watch::channel(None);
        let prefix = settings.prefix.clone();
        let session = DirectorySession {
            servers: addresses(&settings.servers)?,
            settings,
            member,
            connectivity,
            clients,
        };
        let first = tokio::time::timeout(FIRST_CONNECTION, session.connect()).await;
        let first = match first {
            Ok(Ok(client)) => Some(client),
            Ok(Err(error)) if is_refusal(&error) => return Err(NatsError::Refused(error)),
            Ok(Err(error)) => {
                session.report(&error_chain(&error));
                None
            }
            Err(_) => {
                session.report("no server has answered");
                None
            }
        };
        tokio::spawn(stop.run_until_cancelled_owned(session.run(first)));
        Ok(Self {
            prefix,
            client,
            connectivity: watched,
            questions: Semaphore::new(QUESTIONS),
        })
    }

    async fn ask(&self, node_uuid: &str, expected: usize) -> Result<Located, DirectoryAway> {
        if !self.is_connected() {
            return Err(DirectoryAway);
        }
        let client = self.client.borrow().clone().ok_or(DirectoryAway)?;
        let _turn = self.questions.acquire().await;
        let sending = async {
            let inbox = client.new_inbox();
            let answers = client.subscribe(inbox.clone()).await.ok()?;
            let subject = format!("{}.node.{node_uuid}", self.prefix);
            let asked = client.publish_with_reply(subject, inbox, "".into()).await;
            asked.ok().map(|()| answers)
        };
        let sent = tokio::time::timeout(SENDING, sending).await;
        let answers = sent.ok().flatten().ok_or(DirectoryAway)?;
        let mut located = collect(answers, expected).await;
        // A replica that has just connected knows no other yet, and none may be there to answer.
        located.is_complete &= expected > 0 || self.connectivity.borrow().is_settled();
        Ok(located)
    }
}

impl Directory for NatsDirectory {
    fn locate<'a>(
        &'a self,
        node_uuid: &'a str,
        expected: usize,
    ) -> BoxFuture<'a, Result<Located, DirectoryAway>> {
        Box::pin(self.ask(node_uuid, expected))
    }

    fn is_connected(&self) -> bool {
        self.connectivity.borrow().is_connected()
    }
}

/// The answers of as many replicas as are expected, or of those that answer in time.
async fn collect(mut answers: impl Stream<Item = Message> + Unpin, expected: usize) -> Located {
    let mut located = Located::default();
    let end = Instant::now() + ANSWERS;
    let mut answered = HashSet::new();
    while located.answers.len() < MAX_ANSWERS {
        let Ok(Some(message)) = tokio::time::timeout_at(end, answers.next()).await else {
            break;
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            located.is_complete = expected == 0;
            break;
        }
        // A replica that answers twice counts once.
        if let Some(answer) = read::<LocateAnswer>(&message) {
            answered.insert(answer.peer_url.clone());
            located.answers.push(answer);
        }
        if expected > 0 && answered.len() >= expected {
            located.is_complete = true;
            break;
        }
    }
    located
}

fn read<T: serde::de::DeserializeOwned>(message: &Message) -> Option<T> {
    if message.payload.len() > MAX_MESSAGE_BYTES {
        return None;
    }
    let read = serde_json::from_slice(&message.payload);
    read.inspect_err(|error| {
        debug!(subject = %message.subject, %error, "a message of the directory is not understood");
    })
    .ok()
}

fn addresses(servers: &[String]) -> Result<Vec<async_nats::ServerAddr>, NatsError> {
    let parse = |address: &String| {
        address.parse().map_err(|source| NatsError::Address {
            address: address.clone(),
            source,
        })
    };
    servers.iter().map(parse).collect()
}

fn is_refusal(error: &async_nats::ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication
    )
}

/// Takes part in the directory on behalf of one replica.
struct DirectorySession {
    servers: Vec<async_nats::ServerAddr>,
    settings: NatsSettings,
    member: Arc<dyn DirectoryMember>,
    connectivity: watch::Sender<Connectivity>,
    clients: watch::Sender<Option<Client>>,
}

impl DirectorySession {
    async fn connect(&self) -> Result<Client, async_nats::ConnectError> {
        let connectivity = self.connectivity.clone();
        let mut options = ConnectOptions::new()
            .name("ironic-shim")
            .no_echo()
            .ping_interval(PING_PERIOD)
            .connection_timeout(FIRST_CONNECTION)
            .custom_inbox_prefix(format!("{}.inbox", self.settings.prefix))
            .reconnect_delay_callback(|attempts| if attempts <= 1 { Duration::ZERO } else { PAUSE })
            .event_callback(move |event| {
                let connectivity = connectivity.clone();
                async move { note(&connectivity, &event) }
            });
        match &self.settings.credentials {
            Some(DirectoryCredentials::User(user, password)) => {
                options = options.user_and_password(user.clone(), password.reveal().to_owned());
            }
            Some(DirectoryCredentials::Token(token)) => {
                options = options.token(token.reveal().to_owned())
            }
            None => {}
        }
        if let Some(tls) = &self.settings.tls {
            options = options.tls_client_config(tls.clone());
        }
        options.connect(self.servers.clone()).await
    }

    /// Says that the directory is away, once for each time that it goes.
    fn report(&self, reason: &str) {
        let was = self.connectivity.send_replace(Connectivity::Away);
        if was != Connectivity::Away {
            warn!(event = %"directory_away", %reason,
                "what is attached here is served; requests for other nodes are held");
        }
    }

    async fn run(self, first: Option<Client>) {
        let mut connected = first;
        // Goal: take part for as long as the program runs. Exit: it stops.
        loop {
            let client = match connected.take() {
                Some(client) => client,
                None => match self.connect().await {
                    Ok(client) => client,
                    Err(error) => {
                        self.report(&error_chain(&error));
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            self.clients.send_replace(Some(client.clone()));
            if let Err(error) = self.take_part(&client).await {
                self.report(&error_chain(&*error));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Introduces this replica and answers questions, through reconnections, until the client
    /// gives up.
    async fn take_part(&self, client: &Client) -> Result<(), async_nats::Error> {
        let prefix = &self.settings.prefix;
        let introductions = format!("{prefix}.replica");
        let nodes = format!("{prefix}.node.");
        let mut replicas = client.subscribe(introductions.clone()).await?;
        let mut questions = client.subscribe(format!("{nodes}*")).await?;
        let mut connectivity = self.connectivity.subscribe();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Goal: each question has an answer. Exit: the client has ended.
        loop {
            let introduces = tokio::select! {
                _ = ticks.tick() => {
                    let now = *connectivity.borrow();
                    if now.is_settled() {
                        self.member.forget_absent();
                    }
                    now.is_connected()
                }
                changed = connectivity.changed() => {
                    changed?;
                    connectivity.borrow_and_update().is_connected()
                }
                message = replicas.next() => match message {
                    Some(message) => {
                        read::<Presence>(&message).is_some_and(|who| self.member.meet(who))
                    }
                    None => return Ok(()),
                },
                message = questions.next() => match message {
                    Some(message) => {
                        self.answer(client, &nodes, message).await;
                        false
                    }
                    None => return Ok(()),
                },
            };
            if introduces {
                let presence = self.member.presence();
                publish(client, introductions.clone().into(), &presence).await;
            }
        }
    }

    async fn answer(&self, client: &Client, nodes: &str, message: Message) {
        let node_uuid = message.subject.as_str().strip_prefix(nodes);
        if let (Some(reply), Some(node_uuid)) = (message.reply, node_uuid) {
            publish(client, reply, &self.member.answer(node_uuid)).await;
        }
    }
}

/// Sends a message. One that cannot be sent must not end this replica's part in the directory: what
/// is in it was said by others. Where the client has ended, its subscriptions have, too.
async fn publish<T: serde::Serialize>(client: &Client, subject: Subject, message: &T) {
    let sending = async {
        let text = serde_json::to_vec(message)?;
        client.publish(subject, text.into()).await?;
        Ok::<_, async_nats::Error>(())
    };
    if let Err(error) = sending.await {
        warn!(error = %error_chain(&*error), "a message of the directory cannot be sent");
    }
}

/// What has happened to the connection.
fn note(connectivity: &watch::Sender<Connectivity>, event: &Event) {
    let (now, reason) = match event {
        Event::Connected => {
            let since = Instant::now();
            (Connectivity::Connected { since }, None)
        }
        Event::Disconnected | Event::Closed => (Connectivity::Away, Some(event.to_string())),
        _ => return debug!(%event, "the directory"),
    };
    let was = connectivity.send_replace(now);
    if std::mem::discriminant(&was) == std::mem::discriminant(&now) {
        return;
    }
    match reason {
        None => info!(event = %"directory_connected", "milestone"),
        Some(reason) => warn!(event = %"directory_away", %reason,
            "what is attached here is served; requests for other nodes are held"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// Tells for which nodes it was asked.
    #[derive(Debug)]
    struct Member(mpsc::UnboundedSender<String>);

    impl DirectoryMember for Member {
        fn presence(&self) -> Presence {
            Presence {
                replica: "r".into(),
                peer_url: "https://r".into(),
                gateway_url: "https://gw".into(),
                verify_ca_sha256: None,
            }
        }

        fn meet(&self, _: Presence) -> bool {
            false
        }

        fn answer(&self, node_uuid: &str) -> LocateAnswer {
            self.0.send(node_uuid.to_owned()).unwrap();
            LocateAnswer {
                peer_url: "https://r".into(),
                known: false,
                claim: None,
            }
        }

        fn forget_absent(&self) {}
    }

    /// One connection to a server that takes messages of 16 bytes, and that asks for two nodes.
    async fn serve_small_messages(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let (read, mut write) = tokio::io::split(stream);
        let info = r#"INFO {"server_id":"s","server_name":"s","host":"","port":0,"version":"2.9.0","go":"","max_payload":16,"proto":1,"client_id":1,"headers":true}"#;
        write.write_all(info.as_bytes()).await.unwrap();
        write.write_all(b"\r\n").await.unwrap();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let words: Vec<_> = line.split_whitespace().collect();
            let answer = match words[..] {
                ["PING"] => "PONG\r\n".to_owned(),
                ["SUB", "p.node.*", id] => ["n1", "n2"]
                    .map(|node| format!("MSG p.node.{node} {id} p.inbox.1 0\r\n\r\n"))
                    .concat(),
                _ => continue,
            };
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_sent_does_not_end_the_part_in_the_directory() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = NatsSettings {
            servers: vec![format!("nats://{}", listener.local_addr().unwrap())],
            prefix: "p".into(),
            credentials: None,
            tls: None,
        };
        tokio::spawn(serve_small_messages(listener));
        let (asked, mut nodes) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let directory = NatsDirectory::start(settings, Arc::new(Member(asked)), stop.clone());
        let directory = directory.await.unwrap();
        for node in ["n1", "n2"] {
            let heard = tokio::time::timeout(Duration::from_secs(20), nodes.recv()).await;
            assert_eq!(heard.unwrap().as_deref(), Some(node));
        }
        assert!(directory.is_connected());
        stop.cancel();
    }
    #[tokio::test(start_paused = true)]
    async fn one_who_answers_twice_is_not_two_who_answer() {
        let answers = |urls: &[&str]| {
            let answers: Vec<_> = urls
                .iter()
                .map(|url| {
                    let answer = LocateAnswer {
                        peer_url: (*url).to_owned(),
                        known: false,
                        claim: None,
                    };
                    let payload = serde_json::to_vec(&answer).unwrap();
                    Message {
                        subject: "p.inbox.1".into(),
                        reply: None,
                        length: payload.len(),
                        payload: payload.into(),
                        headers: None,
                        status: None,
                        description: None,
                    }
                })
                .collect();
            // The subscription goes on.
            futures_util::stream::iter(answers).chain(futures_util::stream::pending())
        };
        let twice = collect(answers(&["https://a", "https://a"]), 2).await;
        assert!(!twice.is_complete && twice.answers.len() == 2);
        let both = collect(answers(&["https://a", "https://a", "https://b"]), 2).await;
        assert!(both.is_complete && both.answers.len() == 3);
    }
}
