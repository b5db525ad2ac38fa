//! A client of ZooKeeper, as far as machines need it to meet: nodes are made, listed and
//! removed, one question at a time.
//!
//! Frames have their length in front; numbers are big-endian, texts and lists have their
//! lengths in front (`zookeeper.jute` of the Apache ZooKeeper sources).

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::coordination::{
    Coordination, CoordinationConnectionError, CoordinationError, CoordinationSession,
    NodeLifetime, UnreachableServer,
};

const PORT: u16 = 2181;
/// How long a server may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A session whose client is silent for so long is ended by the server.
const SESSION_MILLIS: i32 = 10_000;
/// The largest answer: some thousand names.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const CHILDREN: i32 = 8;
const CLOSE: i32 = -11;

const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

/// Servers of ZooKeeper.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZooKeeper;

impl Coordination for ZooKeeper {
    fn open<'a>(
        &'a self,
        servers: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn CoordinationSession>, CoordinationError>> {
        Box::pin(async move {
            let mut unreachable = Vec::new();
            for server in servers.split(',').filter(|server| !server.is_empty()) {
                let opened = timeout(ANSWER_TIMEOUT, ZooKeeperSession::open(server)).await;
                match opened.unwrap_or(Err(CoordinationConnectionError::NoAnswer)) {
                    Ok(session) => return Ok(Box::new(session) as Box<dyn CoordinationSession>),
                    Err(source) => unreachable.push(UnreachableServer {
                        server: server.to_owned(),
                        source,
                    }),
                }
            }
            Err(CoordinationError::Unreachable(unreachable))
        })
    }
}

#[derive(Debug)]
struct ZooKeeperSession {
    stream: TcpStream,
    own_address: IpAddr,
    /// The number of the last question.
    number: i32,
}

impl ZooKeeperSession {
    async fn open(server: &str) -> Result<Self, CoordinationConnectionError> {
        // The brackets of an IPv6 address are those before its port.
        let has_port = server
            .rsplit_once(':')
            .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && !is_bare_v6(host));
        let address = match has_port {
            true => server.to_owned(),
            false => format!("{server}:{PORT}"),
        };
        let mut stream = TcpStream::connect(address).await?;
        let own_address = stream.local_addr()?.ip().to_canonical();
        stream.write_all(&greeting()).await?;
        let answer = frame(&mut stream).await?;
        let mut answer = JuteReader(&answer);
        let (_version, _timeout) = (answer.int()?, answer.int()?);
        if answer.long()? == 0 {
            return Err(CoordinationConnectionError::NoSession);
        }
        Ok(Self {
            stream,
            own_address,
            number: 0,
        })
    }

    async fn ask(
        &mut self,
        kind: i32,
        path: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, CoordinationError> {
        let answered = timeout(ANSWER_TIMEOUT, self.exchange(kind, body)).await;
        let (code, answer) = answered.unwrap_or(Err(CoordinationConnectionError::NoAnswer))?;
        match code {
            0 => Ok(answer),
            NO_NODE => Err(CoordinationError::Missing(path.to_owned())),
            NODE_EXISTS => Err(CoordinationError::Exists(path.to_owned())),
            code => Err(CoordinationError::Refused {
                path: path.to_owned(),
                code,
            }),
        }
    }

    /// The server's error code and what follows it.
    async fn exchange(
        &mut self,
        kind: i32,
        body: &[u8],
    ) -> Result<(i32, Vec<u8>), CoordinationConnectionError> {
        self.number += 1;
        let mut question = JuteWriter::default();
        question.int(self.number).int(kind).raw(body);
        let question = question.framed();
        self.stream.write_all(&question).await?;
        loop {
            let answer = frame(&mut self.stream).await?;
            let mut answer = JuteReader(&answer);
            let (number, _change, code) = (answer.int()?, answer.long()?, answer.int()?);
            // Others are answers to nothing that was asked here.
            if number == self.number {
                return Ok((code, answer.0.to_vec()));
            }
        }
    }
}

fn is_bare_v6(host: &str) -> bool {
    host.contains(':') && !host.ends_with(']')
}

impl CoordinationSession for ZooKeeperSession {
    fn own_address(&self) -> IpAddr {
        self.own_address
    }

    fn create<'a>(
        &'a mut self,
        path: &'a str,
        life: NodeLifetime,
    ) -> BoxFuture<'a, Result<String, CoordinationError>> {
        Box::pin(async move {
            let answer = self.ask(CREATE, path, &creation(path, life)).await?;
            Ok(JuteReader(&answer).text()?)
        })
    }

    fn delete<'a>(&'a mut self, path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>> {
        Box::pin(async move {
            const ANY_VERSION: i32 = -1;
            let mut body = JuteWriter::default();
            body.text(path).int(ANY_VERSION);
            self.ask(DELETE, path, &body.0).await.map(drop)
        })
    }

    fn children<'a>(
        &'a mut self,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, CoordinationError>> {
        Box::pin(async move {
            const UNWATCHED: u8 = 0;
            let mut body = JuteWriter::default();
            body.text(path).raw(&[UNWATCHED]);
            let answer = self.ask(CHILDREN, path, &body.0).await?;
            let mut answer = JuteReader(&answer);
            let count = answer.int()?;
            let names = (0..count.max(0)).map(|_| answer.text());
            Ok(names.collect::<Result<_, CoordinationConnectionError>>()?)
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.ask(CLOSE, "the end", &[]).await {
                tracing::debug!(%error, "a session ends by itself");
            }
        })
    }
}

fn greeting() -> Vec<u8> {
    const NO_PASSWORD: [u8; 16] = [0; 16];
    let mut greeting = JuteWriter::default();
    // Version, the last change seen, the session: all are new.
    greeting.int(0).long(0).int(SESSION_MILLIS).long(0);
    greeting.buffer(&NO_PASSWORD).raw(&[0]);
    greeting.framed()
}

fn creation(path: &str, life: NodeLifetime) -> Vec<u8> {
    const ALL_RIGHTS: i32 = 31;
    let flags = match life {
        NodeLifetime::Lasting => 0,
        NodeLifetime::OfSession => 1,
        NodeLifetime::OfSessionNumbered => 3,
    };
    let mut body = JuteWriter::default();
    body.text(path).buffer(&[]);
    // One entry: anyone may do anything, as everything else there is open, too.
    body.int(1).int(ALL_RIGHTS).text("world").text("anyone");
    body.int(flags);
    body.0
}

async fn frame(stream: &mut TcpStream) -> Result<Vec<u8>, CoordinationConnectionError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_RESPONSE_BYTES {
        return Err(CoordinationConnectionError::TooLong(length));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Puts values behind each other.
#[derive(Debug, Default)]
struct JuteWriter(Vec<u8>);

impl JuteWriter {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn int(&mut self, value: i32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    fn long(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    fn buffer(&mut self, bytes: &[u8]) -> &mut Self {
        self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX))
            .raw(bytes)
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.buffer(text.as_bytes())
    }

    fn framed(self) -> Vec<u8> {
        let mut frame = Self::default();
        frame.buffer(&self.0);
        frame.0
    }
}

/// Takes values from the front.
#[derive(Debug)]
struct JuteReader<'a>(&'a [u8]);

impl JuteReader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CoordinationConnectionError> {
        let (first, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(CoordinationConnectionError::CutOff)?;
        self.0 = rest;
        Ok(*first)
    }

    fn int(&mut self) -> Result<i32, CoordinationConnectionError> {
        self.take().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Result<i64, CoordinationConnectionError> {
        self.take().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Result<String, CoordinationConnectionError> {
        let length = usize::try_from(self.int()?).unwrap_or(0);
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(CoordinationConnectionError::CutOff)?;
        self.0 = rest;
        Ok(String::from_utf8(text.to_vec())?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says these frames, each after one of ours.
    async fn served(answers: Vec<Vec<u8>>) -> (String, tokio::task::JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            for answer in answers {
                heard.push(frame(&mut stream).await.unwrap());
                stream.write_all(&answer).await.unwrap();
            }
            heard
        });
        (address, serving)
    }

    fn welcome(session: i64) -> Vec<u8> {
        let mut answer = JuteWriter::default();
        answer.int(0).int(10_000).long(session).buffer(&[7; 16]);
        answer.framed()
    }

    fn answer(number: i32, code: i32, fill: impl FnOnce(&mut JuteWriter)) -> Vec<u8> {
        let mut answer = JuteWriter::default();
        answer.int(number).long(99).int(code);
        fill(&mut answer);
        answer.framed()
    }

    #[tokio::test]
    async fn nodes_are_made_listed_and_removed() {
        let path = "/tooz/locks/l/x__lock__";
        let numbered = format!("{path}0000000003");
        let event = answer(-1, 0, |_| {});
        let listed = answer(2, 0, |a| {
            a.int(2).text("a").text("b");
        });
        let (address, serving) = served(vec![
            welcome(1),
            answer(1, 0, |a| {
                a.text(&numbered);
            }),
            // What nobody asked for is passed over.
            [event, listed].concat(),
            answer(3, NO_NODE, |_| {}),
            answer(4, NODE_EXISTS, |_| {}),
            answer(5, -4, |_| {}),
            answer(6, 0, |_| {}),
        ])
        .await;
        // The first server is not there; nobody listens on port 1.
        let servers = format!("127.0.0.1:1,{address}");
        let mut session = ZooKeeper.open(&servers).await.unwrap();
        assert_eq!(session.own_address().to_string(), "127.0.0.1");
        let made = session.create(path, NodeLifetime::OfSessionNumbered).await;
        assert_eq!(made.unwrap(), numbered);
        assert_eq!(session.children("/g").await.unwrap(), ["a", "b"]);
        let missing = session.delete("/g").await.unwrap_err();
        assert!(matches!(missing, CoordinationError::Missing(path) if path == "/g"));
        let made = session.create("/g", NodeLifetime::Lasting).await;
        let exists = made.unwrap_err();
        assert!(matches!(exists, CoordinationError::Exists(path) if path == "/g"));
        let refused = session.children("/g").await.unwrap_err();
        assert!(refused.to_string().ends_with("error -4"), "{refused}");
        session.close().await;

        let heard = serving.await.unwrap();
        assert_eq!(heard[0].len(), 45);
        assert_eq!(heard[1][..8], [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(
            heard[1][8..],
            creation(path, NodeLifetime::OfSessionNumbered)
        );
        assert_eq!(
            heard[2],
            [&[0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 2][..], b"/g\0"].concat()
        );
        assert_eq!(heard[6], [&[0, 0, 0, 6][..], &CLOSE.to_be_bytes()].concat());
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_named() {
        let (refusing, _serving) = served(vec![welcome(0)]).await;
        let (odd, _serving) = served(vec![vec![0, 0, 0, 2, 1, 1]]).await;
        let (huge, _serving) = served(vec![vec![0xff; 4]]).await;
        for (server, reason) in [
            (refusing.as_str(), "gives no session"),
            (&odd, "cut off"),
            (&huge, "an answer of 4294967295 bytes"),
            ("127.0.0.1:1", "refused"),
        ] {
            let error = ZooKeeper.open(server).await.unwrap_err().to_string();
            let expected = format!("no coordination server answers: {server}: ");
            assert!(
                error.starts_with(&expected) && error.contains(reason),
                "{error}"
            );
        }
    }
}
