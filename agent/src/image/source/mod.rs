//! The image as one stream of bytes, whatever the network does: several URLs, attempts with
//! pauses, and resuming where a connection broke.
//!
//! Pieces from different answers may be joined, because the checksum judges the whole. A
//! server that cannot send the rest sends everything again, and what is known is skipped.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::system::fetch::{FetchResponse, RangeRequest};

pub mod document;
mod download;
mod error;
mod part;

pub(super) use download::Download;
pub(super) use error::PartError;
pub use error::SourceError;
use error::{AttemptError, FailedAttempt};

/// Less than this does not count as progress: a server that always breaks off early is given up.
const PROGRESS: u64 = 1 << 20;
/// How much of an error page is shown.
const ERROR_BODY: usize = 1024;
/// The longest that a server's `Retry-After` is obeyed: the machine waits with its node.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);
/// Statuses below 500 that mean "later": timeout, too early, too many requests.
const LATER: [u16; 3] = [408, 425, 429];

/// A download.
pub(super) struct ImageStream<'a> {
    download: Download<'a>,
    /// For messages.
    id: String,
    servers: Vec<ImageServer>,
    /// Index of the server that is tried next.
    next: usize,
    retries_left: u32,
    /// Answers in succession that broke before they brought something.
    fruitless: usize,
    /// Never locked: the bytes have one reader, and asking for parts beside it must know that.
    answer: Mutex<Option<FetchResponse>>,
    /// Bytes of the answer that are here already.
    skip: u64,
    received: u64,
    /// `received` when the last connection began.
    connected_at: u64,
    length: Option<u64>,
    validator: Option<(usize, String)>,
    /// The content coding that a server named last.
    coding: Option<String>,
    connections: u32,
    is_complete: bool,
}

#[derive(Debug)]
struct ImageServer {
    url: String,
    /// It will not help to ask again.
    hopeless: bool,
    /// The last failure, and how long it took.
    failure: Option<(AttemptError, Duration)>,
    /// Until then the server wants to be left alone.
    not_before: Option<Instant>,
}

impl<'a> ImageStream<'a> {
    /// Connects to the first of `urls` that answers.
    async fn open(download: Download<'a>, id: &str, urls: &[String]) -> Result<Self, SourceError> {
        let server = |url: &String| ImageServer {
            url: url.clone(),
            hopeless: false,
            failure: None,
            not_before: None,
        };
        let mut source = Self {
            retries_left: download.retry.retries,
            download,
            id: id.to_owned(),
            servers: urls.iter().map(server).collect(),
            next: 0,
            fruitless: 0,
            answer: Mutex::new(None),
            skip: 0,
            received: 0,
            connected_at: 0,
            length: None,
            validator: None,
            coding: None,
            connections: 0,
            is_complete: false,
        };
        source.connect().await?;
        Ok(source)
    }

    /// The length of the whole in bytes, when a server said so.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The same image from its beginning, beside this download of it.
    ///
    /// # Errors
    /// As for [`Download::open`].
    pub(super) async fn again(&self) -> Result<Self, SourceError> {
        let servers = self.servers.iter();
        let urls: Vec<String> = servers.map(|server| server.url.clone()).collect();
        self.download.clone().open(&self.id, &urls).await
    }

    /// The content coding that a server named for what it sent, if any.
    pub(super) fn coding(&self) -> Option<&str> {
        self.coding.as_deref()
    }

    /// How many answers the bytes so far were joined from.
    pub(super) fn connections(&self) -> u32 {
        self.connections
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        // A stream that ended must not be asked again.
        while !self.is_complete {
            let answer = self
                .answer
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            let Some(answer) = answer else {
                self.reconnect().await?;
                continue;
            };
            let piece = self.download.within(&self.id, answer.body.next()).await?;
            let problem = match piece {
                Some(Ok(piece)) => match self.take(piece) {
                    Ok(None) => continue,
                    Ok(fresh) => return Ok(fresh),
                    Err(problem) => problem,
                },
                // What comes after the last byte does not matter.
                Some(Err(_)) if self.skip == 0 && self.length == Some(self.received) => {
                    self.is_complete = true;
                    continue;
                }
                Some(Err(error)) => error.into(),
                None if self.skip == 0
                    && self.length.is_none_or(|length| self.received == length) =>
                {
                    self.is_complete = true;
                    continue;
                }
                None => AttemptError::TooShort {
                    received: self.received,
                    length: self.length.unwrap_or(self.received + self.skip),
                },
            };
            self.answer = Mutex::new(None);
            self.current().failure = Some((problem, Duration::ZERO));
        }
        Ok(None)
    }

    /// What of a piece is not known yet; `None` if nothing is.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, AttemptError> {
        let known = self.skip.min(piece.len() as u64);
        self.skip -= known;
        // A known part is no longer than the piece, which is in memory.
        let fresh = piece.split_off(usize::try_from(known).unwrap_or(usize::MAX));
        if fresh.is_empty() {
            return Ok(None);
        }
        self.received += fresh.len() as u64;
        if self.length.is_none_or(|length| self.received <= length) {
            return Ok(Some(fresh));
        }
        self.current().hopeless = true;
        Err(AttemptError::TooLong)
    }

    /// What names the version of the document on one server. It means nothing to another.
    fn validator_of(&self, server: usize) -> Option<String> {
        self.validator
            .as_ref()
            .filter(|(index, _)| *index == server)
            .map(|(_, text)| text.clone())
    }

    /// All of a small document.
    pub(super) async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if bytes.len() + piece.len() > limit {
                let id = self.id;
                return Err(SourceError::TooLarge { id, limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The server of the current answer.
    fn current(&mut self) -> &mut ImageServer {
        let index = self.next;
        &mut self.servers[index]
    }

    /// After a broken answer: at once when it brought something, else after the pause.
    async fn reconnect(&mut self) -> Result<(), SourceError> {
        let progress = self.received - self.connected_at >= PROGRESS;
        if progress {
            (self.retries_left, self.fruitless) = (self.download.retry.retries, 0);
        } else {
            self.fruitless += 1;
        }
        // What does not help is left for the next server; when all were tried, that was a try.
        let is_round = self.fruitless.is_multiple_of(self.servers.len());
        if is_round && self.retries_left == 0 {
            return Err(self.give_up());
        }
        if let Some((problem, _)) = &self.servers[self.next].failure {
            let (at, id) = (self.received, &self.id);
            tracing::warn!(image = %id, at, %problem, "the download broke off");
            self.download.task.warn(format!(
                "The download of image {id} broke off at byte {at}: {problem}"
            ));
        }
        if !progress {
            self.next = (self.next + 1) % self.servers.len();
            if is_round {
                self.retries_left -= 1;
                self.download.within(&self.id, self.pause()).await?;
            }
        }
        self.connect().await
    }

    async fn connect(&mut self) -> Result<(), SourceError> {
        let mut tried = 0;
        loop {
            if self.servers.iter().all(|server| server.hopeless) {
                return Err(self.give_up());
            }
            if !self.current().hopeless {
                let started = Instant::now();
                match self.ask().await? {
                    Ok(answer) => {
                        self.answer = Mutex::new(Some(answer));
                        self.connected_at = self.received;
                        self.connections += 1;
                        return Ok(());
                    }
                    Err(error) => {
                        let url = self.current().url.clone();
                        tracing::warn!(
                            image = %self.id, reason = %error, "no image from this server"
                        );
                        tracing::debug!(url = shown(&url));
                        self.current().failure = Some((error, started.elapsed()));
                    }
                }
            }
            self.next = (self.next + 1) % self.servers.len();
            tried += 1;
            if tried % self.servers.len() == 0 && self.servers.iter().any(|server| !server.hopeless)
            {
                if self.retries_left == 0 {
                    return Err(self.give_up());
                }
                self.retries_left -= 1;
                self.download.within(&self.id, self.pause()).await?;
            }
        }
    }

    /// One request. The inner error is the reason why this server has nothing for us now.
    async fn ask(&mut self) -> Result<Result<FetchResponse, AttemptError>, SourceError> {
        let mut request = self.download.template.clone();
        request.url.clone_from(&self.servers[self.next].url);
        if self.received > 0 {
            request.part = Some(RangeRequest {
                offset: self.received,
                length: None,
                validator: self.validator_of(self.next),
            });
        }
        let fetch = self.download.fetch;
        let asked = async { fetch.open(request).await };
        let answer = match self.download.within(&self.id, asked).await? {
            Ok(answer) => answer,
            Err(error) => {
                self.current().hopeless = !error.is_temporary();
                return Ok(Err(error.into()));
            }
        };
        let accepted = match (answer.status, answer.part) {
            (200, _) => self.accept(self.received, answer.length),
            (206, Some((first, whole))) if self.received > 0 && first == self.received => {
                self.accept(0, whole.or_else(|| Some(self.received + answer.length?)))
            }
            (status, _) => {
                let server = self.current();
                server.hopeless = status < 500 && !LATER.contains(&status);
                server.not_before = answer
                    .retry_after
                    .map(|wish| Instant::now() + wish.min(MAX_RETRY_AFTER));
                let refused = refusal(answer, &self.servers[self.next].url);
                return self.download.within(&self.id, refused).await.map(Err);
            }
        };
        if accepted.is_ok() && answer.coding.is_some() {
            self.coding.clone_from(&answer.coding);
        }
        if accepted.is_ok()
            && let Some(validator) = &answer.validator
        {
            self.validator = Some((self.next, validator.clone()));
        }
        Ok(accepted.map(|()| answer))
    }

    /// Takes an answer whose first `skip` bytes are known, of a document of `whole` bytes.
    fn accept(&mut self, skip: u64, whole: Option<u64>) -> Result<(), AttemptError> {
        if let (Some(before), Some(now)) = (self.length, whole)
            && before != now
        {
            self.current().hopeless = true;
            return Err(AttemptError::LengthChanged { before, now });
        }
        self.length = self.length.or(whole);
        self.skip = skip;
        Ok(())
    }

    /// Waits for the interval, and until one of the servers wants to be asked again.
    async fn pause(&self) {
        let interval = Instant::now() + self.download.retry.interval;
        let wanted = self
            .servers
            .iter()
            .filter(|server| !server.hopeless)
            .map(|server| server.not_before.unwrap_or(interval))
            .min();
        let until = wanted.map_or(interval, |wanted| wanted.max(interval));
        if until > interval {
            let seconds = (until - Instant::now()).as_secs();
            tracing::info!(image = %self.id, seconds, "the server asks to be left alone");
        }
        tokio::time::sleep_until(until).await;
    }

    /// Ends the download with what each server did last.
    fn give_up(&mut self) -> SourceError {
        let attempt = |server: &mut ImageServer| {
            let (error, took) = server.failure.take()?;
            let url = shown(&server.url);
            Some(FailedAttempt { url, took, error })
        };
        SourceError::GivenUp {
            id: self.id.clone(),
            attempts: self.servers.iter_mut().filter_map(attempt).collect(),
        }
    }
}

/// What an answer says that holds no image.
async fn refusal(mut answer: FetchResponse, url: &str) -> AttemptError {
    let mut page = Vec::new();
    while let Some(Ok(piece)) = answer.body.next().await {
        page.extend_from_slice(&piece);
        if page.len() >= ERROR_BODY {
            break;
        }
    }
    page.truncate(ERROR_BODY);
    AttemptError::Status {
        status: answer.status,
        url: shown(url),
        body: String::from_utf8_lossy(&page).trim().to_owned(),
        headers: answer.headers,
    }
}

/// A URL as it may be shown: without its query, which may hold a signature, and without the
/// name and the password in front of the host.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests;
