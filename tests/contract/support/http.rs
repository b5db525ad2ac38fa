//! An HTTP client that sends exactly the bytes that it is given, and hides nothing of what
//! comes back.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer within this is a failed test, not a slow one.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection.
pub struct Line<S = TcpStream> {
    stream: S,
    /// What was read beyond the last answer.
    ahead: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `HTTP/1.1 200 OK`
    pub status_line: String,
    /// The status.
    pub status: u16,
    /// Names as they came, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and `faultstring`, with `faultcode` checked against the status.
    pub fn fault(&self) -> (u16, String) {
        let body = self.json();
        let code = if self.status < 500 {
            "Client"
        } else {
            "Server"
        };
        assert!(self.status >= 400, "{self:?}");
        assert_eq!(body["faultcode"], code, "{self:?}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{self:?}");
        (
            self.status,
            body["faultstring"].as_str().unwrap().to_owned(),
        )
    }
}

impl Line<TcpStream> {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Over a stream that is connected.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes as far as the other side takes them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// A request with the usual headers; more of them, each with its line end, in `headers`.
    pub async fn ask(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let length = if body.is_empty() && method != "POST" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: shim\r\n{headers}{length}\r\n");
        self.send(head).await;
        self.send(body).await;
        if method == "HEAD" {
            self.head().await.expect("an answer")
        } else {
            self.answer().await
        }
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Answer {
        self.answer_or_end().await.expect("an answer")
    }

    /// The next answer; nothing if the connection ends without one.
    pub async fn answer_or_end(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        if answer.status == 100 {
            return Some(answer);
        }
        let length: usize = answer
            .header("content-length")
            .unwrap_or_else(|| panic!("no content-length: {answer:?}"))
            .parse()
            .unwrap();
        while self.ahead.len() < length {
            assert!(self.more().await, "the body ends early: {answer:?}");
        }
        answer.body = self.ahead.drain(..length).collect();
        Some(answer)
    }

    /// The next answer without a body; nothing if the connection ends.
    pub async fn head(&mut self) -> Option<Answer> {
        let end = loop {
            let found = self.ahead.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = found {
                break end;
            }
            if !self.more().await {
                assert_eq!(String::from_utf8_lossy(&self.ahead), "", "half an answer");
                return None;
            }
        };
        let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap().to_owned();
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Some(Answer {
            status_line,
            status,
            headers: headers.collect(),
            body: Vec::new(),
        })
    }

    /// Whether the connection has ended, in any way, with nothing more said.
    pub async fn has_ended(&mut self) -> bool {
        !self.more().await && self.ahead.is_empty()
    }

    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        let read = tokio::time::timeout(TIMEOUT, self.stream.read(&mut chunk)).await;
        match read.expect("the other side neither answers nor hangs up") {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.ahead.extend_from_slice(&chunk[..length]);
                true
            }
        }
    }
}
