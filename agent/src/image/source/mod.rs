//! The image as one stream of bytes, whatever the network does: several URLs, attempts with
//! pauses, and resuming where a connection broke.
//!
//! Pieces from different answers may be joined, because the checksum judges the whole. A
//! server that cannot send the rest sends everything again, and what is known is skipped.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use thiserror::Error;
use tokio::time::Instant;

use crate::config::Config;
use crate::failure::{Failure, FailureKind};
use crate::system::fetch::{Fetch, Part, Request, Response};
use crate::task::Task;

pub mod document;

/// Less than this is no progress: a server that always breaks off early is given up.
const PROGRESS: u64 = 1 << 20;
/// How much of an error page is shown.
const ERROR_BODY: usize = 1024;
/// The longest that a server's `Retry-After` is obeyed: the machine waits with its node.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Statuses below 500 that mean "later": timeout, too early, too many requests.
const LATER: [u16; 3] = [408, 425, 429];

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// Attempts after the first, without progress in between.
    pub(super) retries: u32,
    /// Pause between two attempts.
    pub(super) interval: Duration,
    /// When everything must be here.
    pub(super) deadline: Option<(Instant, Duration)>,
}

/// The server gives no parts of the image, for this reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct Unranged(pub(super) String);

/// Why one request brought no part.
enum Refusal {
    /// Asking again may help, after so long if the server says.
    Later(String, Option<Duration>),
    Never(String),
}

/// A download.
pub(super) struct Source<'a> {
    fetch: &'a dyn Fetch,
    task: &'a Task,
    /// For messages.
    id: String,
    /// Everything but the URL and the range.
    template: Request,
    patience: Patience,
    servers: Vec<Server>,
    /// Index of the server that is tried next.
    next: usize,
    retries_left: u32,
    /// Answers in succession that broke before they brought something.
    fruitless: usize,
    /// Never locked: the bytes have one reader, and asking for parts beside it must know that.
    answer: Mutex<Option<Response>>,
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
struct Server {
    url: String,
    /// It will not help to ask again.
    hopeless: bool,
    /// The last failure, and how long it took.
    failure: Option<(String, Duration)>,
    /// Until then the server wants to be left alone.
    not_before: Option<Instant>,
}

impl<'a> Source<'a> {
    /// Connects to the first of `urls` that answers.
    pub(super) async fn open(
        fetch: &'a dyn Fetch,
        task: &'a Task,
        id: &str,
        urls: &[String],
        template: Request,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let server = |url: &String| Server {
            url: url.clone(),
            hopeless: false,
            failure: None,
            not_before: None,
        };
        let mut source = Self {
            fetch,
            task,
            id: id.to_owned(),
            template,
            patience,
            servers: urls.iter().map(server).collect(),
            next: 0,
            retries_left: patience.retries,
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
    /// As for [`Source::open`].
    pub(super) async fn again(&self) -> Result<Self, Failure> {
        let urls: Vec<String> = self
            .servers
            .iter()
            .map(|server| server.url.clone())
            .collect();
        let template = self.template.clone();
        Self::open(
            self.fetch,
            self.task,
            &self.id,
            &urls,
            template,
            self.patience,
        )
        .await
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
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
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
            let piece = patiently(self.task, self.patience, &self.id, answer.body.next()).await?;
            let problem = match piece {
                Some(Ok(mut piece)) => {
                    let known = self.skip.min(piece.len() as u64);
                    self.skip -= known;
                    // A known part is no longer than the piece, which is in memory.
                    let fresh = piece.split_off(usize::try_from(known).unwrap_or(usize::MAX));
                    if fresh.is_empty() {
                        continue;
                    }
                    self.received += fresh.len() as u64;
                    if self.length.is_none_or(|length| self.received <= length) {
                        return Ok(Some(fresh));
                    }
                    self.current().hopeless = true;
                    "it sent more than it announced".to_owned()
                }
                // What comes after the last byte does not matter.
                Some(Err(_)) if self.skip == 0 && self.length == Some(self.received) => {
                    self.is_complete = true;
                    continue;
                }
                Some(Err(error)) => error.to_string(),
                None if self.skip == 0
                    && self.length.is_none_or(|length| self.received == length) =>
                {
                    self.is_complete = true;
                    continue;
                }
                None => format!(
                    "it ended after {} of {} bytes",
                    self.received,
                    self.length.unwrap_or(self.received + self.skip)
                ),
            };
            self.answer = Mutex::new(None);
            self.current().failure = Some((problem, Duration::ZERO));
        }
        Ok(None)
    }

    /// `length` bytes from `first` on, whatever the stream has reached: by a request of its own
    /// to the server of the stream, for the same version of the document where that has a
    /// name. These bytes go past the checksum, so they are a hint and nothing more.
    ///
    /// # Errors
    /// The server cannot do this, or does not answer.
    pub(super) async fn part(&self, first: u64, length: u64) -> Result<Bytes, Unranged> {
        let mut retries = self.patience.retries;
        loop {
            let asked = self.ask_for_part(first, length);
            let refusal = match patiently(self.task, self.patience, &self.id, asked).await {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(refusal)) => refusal,
                Err(failure) => return Err(Unranged(failure.details)),
            };
            let wish = match refusal {
                Refusal::Later(reason, wish) if retries > 0 => {
                    tracing::warn!(image = %self.id, first, length, reason, "no part of the image");
                    retries -= 1;
                    wish.unwrap_or_default().min(LONGEST_PAUSE)
                }
                Refusal::Later(reason, _) | Refusal::Never(reason) => {
                    return Err(Unranged(reason));
                }
            };
            let pause = tokio::time::sleep(wish.max(self.patience.interval));
            patiently(self.task, self.patience, &self.id, pause)
                .await
                .map_err(|failure| Unranged(failure.details))?;
        }
    }

    async fn ask_for_part(&self, first: u64, length: u64) -> Result<Bytes, Refusal> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut request = self.template.clone();
        request.url.clone_from(&self.servers[self.next].url);
        let validator = self.validator_of(self.next);
        request.part = Some(Part {
            offset: first,
            length: Some(length),
            validator: validator.clone(),
        });
        let mut answer = self.fetch.open(request).await.map_err(|error| {
            if error.is_temporary() {
                Refusal::Later(error.to_string(), None)
            } else {
                Refusal::Never(error.to_string())
            }
        })?;
        match (answer.status, answer.part) {
            (206, Some((from, whole))) if from == first => {
                if let (Some(before), Some(now)) = (self.length, whole)
                    && before != now
                {
                    return Err(Refusal::Never(format!(
                        "the image has {now} bytes now, {before} were announced before"
                    )));
                }
                if validator.is_some()
                    && answer.validator.is_some()
                    && answer.validator != validator
                {
                    return Err(Refusal::Never("the image is another one now".to_owned()));
                }
            }
            (status, _) if status >= 500 || LATER.contains(&status) => {
                return Err(Refusal::Later(
                    format!("the server answered {status}"),
                    answer.retry_after,
                ));
            }
            (200, _) => {
                return Err(Refusal::Never(
                    "the server sends no parts, or the image is another one now".to_owned(),
                ));
            }
            (status, _) => {
                return Err(Refusal::Never(format!(
                    "the server answered {status} when asked for a part"
                )));
            }
        }
        let mut bytes = BytesMut::new();
        while let Some(piece) = answer.body.next().await {
            bytes.extend_from_slice(
                &piece.map_err(|error| Refusal::Later(error.to_string(), None))?,
            );
            if bytes.len() as u64 > length {
                return Err(Refusal::Never(
                    "the server sends more than it was asked for".to_owned(),
                ));
            }
        }
        if bytes.len() as u64 == length {
            Ok(bytes.freeze())
        } else {
            Err(Refusal::Later(
                format!("{} of {length} bytes from {first} on came", bytes.len()),
                None,
            ))
        }
    }

    /// What names the version of the document on one server. It means nothing to another.
    fn validator_of(&self, server: usize) -> Option<String> {
        self.validator
            .as_ref()
            .filter(|(index, _)| *index == server)
            .map(|(_, text)| text.clone())
    }

    /// All of a small document.
    pub(super) async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await? {
            if bytes.len() + piece.len() > limit {
                return Err(self.failed(&format!("it is larger than {limit} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn failed(&self, reason: &str) -> Failure {
        Failure::new(
            FailureKind::ImageDownload,
            format!("Download of image {} failed: {reason}", self.id),
        )
    }

    /// The server of the current answer.
    fn current(&mut self) -> &mut Server {
        let index = self.next;
        &mut self.servers[index]
    }

    /// After a broken answer: at once when it brought something, else after the pause.
    async fn reconnect(&mut self) -> Result<(), Failure> {
        let progress = self.received - self.connected_at >= PROGRESS;
        if progress {
            (self.retries_left, self.fruitless) = (self.patience.retries, 0);
        } else {
            self.fruitless += 1;
        }
        // What does not help is left for the next server; when all were tried, that was a try.
        let is_round = self.fruitless.is_multiple_of(self.servers.len());
        if is_round && self.retries_left == 0 {
            return Err(self.given_up());
        }
        if let Some((problem, _)) = &self.servers[self.next].failure {
            let (at, id) = (self.received, &self.id);
            tracing::warn!(image = %id, at, problem, "the download broke off");
            self.task.warn(format!(
                "The download of image {id} broke off at byte {at}: {problem}"
            ));
        }
        if !progress {
            self.next = (self.next + 1) % self.servers.len();
            if is_round {
                self.retries_left -= 1;
                patiently(self.task, self.patience, &self.id, self.pause()).await?;
            }
        }
        self.connect().await
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let mut tried = 0;
        loop {
            if self.servers.iter().all(|server| server.hopeless) {
                return Err(self.given_up());
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
                    Err(reason) => {
                        let url = self.current().url.clone();
                        tracing::warn!(image = %self.id, reason, "no image from this server");
                        tracing::debug!(url = shown(&url));
                        self.current().failure = Some((reason, started.elapsed()));
                    }
                }
            }
            self.next = (self.next + 1) % self.servers.len();
            tried += 1;
            if tried % self.servers.len() == 0 && self.servers.iter().any(|server| !server.hopeless)
            {
                if self.retries_left == 0 {
                    return Err(self.given_up());
                }
                self.retries_left -= 1;
                patiently(self.task, self.patience, &self.id, self.pause()).await?;
            }
        }
    }

    /// One request. The inner error is the reason why this server has nothing for us now.
    async fn ask(&mut self) -> Result<Result<Response, String>, Failure> {
        let mut request = self.template.clone();
        request.url.clone_from(&self.servers[self.next].url);
        if self.received > 0 {
            request.part = Some(Part {
                offset: self.received,
                length: None,
                validator: self.validator_of(self.next),
            });
        }
        let fetch = self.fetch;
        let asked = async { fetch.open(request).await };
        let answer = match patiently(self.task, self.patience, &self.id, asked).await? {
            Ok(answer) => answer,
            Err(error) => {
                self.current().hopeless = !error.is_temporary();
                return Ok(Err(error.to_string()));
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
                    .map(|wish| Instant::now() + wish.min(LONGEST_PAUSE));
                let said = refusal(answer, &self.servers[self.next].url);
                return patiently(self.task, self.patience, &self.id, said)
                    .await
                    .map(Err);
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
    fn accept(&mut self, skip: u64, whole: Option<u64>) -> Result<(), String> {
        if let (Some(before), Some(now)) = (self.length, whole)
            && before != now
        {
            self.current().hopeless = true;
            return Err(format!(
                "the image has {now} bytes now, {before} were announced before"
            ));
        }
        self.length = self.length.or(whole);
        self.skip = skip;
        Ok(())
    }

    /// Waits for the interval, and until one of the servers wants to be asked again.
    async fn pause(&self) {
        let interval = Instant::now() + self.patience.interval;
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

    fn given_up(&self) -> Failure {
        let failures: Vec<String> = self
            .servers
            .iter()
            .filter_map(|server| {
                let (reason, time) = server.failure.as_ref()?;
                Some(format!(
                    "URL: {}; time: {} seconds. Error: {reason}",
                    shown(&server.url),
                    time.as_secs()
                ))
            })
            .collect();
        self.failed(&failures.join("; "))
    }
}

/// A request with the agent's own settings and nothing of the node's.
pub(super) fn plain_request(config: &Config) -> Request {
    Request {
        tls: config.common.client_tls(),
        patience: config.image_download_connection_timeout,
        ..Request::default()
    }
}

pub(super) fn patience(config: &Config) -> Patience {
    let limit = config.image_download_max_duration;
    Patience {
        retries: config.image_download_connection_retries,
        interval: config.image_download_connection_retry_interval,
        deadline: (limit > Duration::ZERO).then(|| (Instant::now() + limit, limit)),
    }
}

pub(super) fn download_failed(id: &str, reason: &str) -> Failure {
    Failure::new(
        FailureKind::ImageDownload,
        format!("Download of image {id} failed: {reason}"),
    )
}

/// What an answer says that holds no image.
async fn refusal(mut answer: Response, url: &str) -> String {
    let mut page = Vec::new();
    while let Some(Ok(piece)) = answer.body.next().await {
        page.extend_from_slice(&piece);
        if page.len() >= ERROR_BODY {
            break;
        }
    }
    page.truncate(ERROR_BODY);
    format!(
        "Received status code {} from {}, expected 200. Response body: {} Response headers: {}",
        answer.status,
        shown(url),
        String::from_utf8_lossy(&page).trim(),
        answer.headers
    )
}

/// Does something unless the task is cancelled or the download takes too long.
pub(super) async fn patiently<T>(
    task: &Task,
    patience: Patience,
    id: &str,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let too_late = async {
        match patience.deadline {
            Some((deadline, _)) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    // Ends with the first of the three; a cancelled task must not go on for one more piece.
    tokio::select! {
        biased;
        () = task.cancelled() => Err(task.cancellation().into()),
        () = too_late => {
            let limit = patience.deadline.map(|(_, limit)| limit).unwrap_or_default();
            Err(Failure::new(
                FailureKind::ImageDownloadTimeout,
                format!(
                    "Download of image {id} failed: Download exceeded max allowed time ({} seconds)",
                    limit.as_secs()
                ),
            ))
        }
        done = work => Ok(done),
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
mod tests {
    use std::collections::VecDeque;

    use futures_util::future::BoxFuture;
    use futures_util::stream;

    use super::*;
    use crate::system::fetch::FetchError;

    /// Answers requests in their order and keeps them.
    #[derive(Debug, Default)]
    struct Scripted {
        answers: Mutex<VecDeque<Result<Answer, FetchError>>>,
        asked: Mutex<Vec<(String, Option<Part>, Instant)>>,
    }

    #[derive(Debug, Clone)]
    struct Answer {
        status: u16,
        length: Option<u64>,
        part: Option<(u64, Option<u64>)>,
        retry_after: Option<Duration>,
        body: Vec<Result<Bytes, FetchError>>,
    }

    impl Scripted {
        fn new(answers: impl IntoIterator<Item = Result<Answer, FetchError>>) -> Self {
            Self {
                answers: Mutex::new(answers.into_iter().collect()),
                asked: Mutex::default(),
            }
        }

        fn asked(&self) -> Vec<(String, Option<u64>)> {
            let asked = self.asked.lock().unwrap();
            asked
                .iter()
                .map(|(url, rest, _)| (url.clone(), rest.as_ref().map(|rest| rest.offset)))
                .collect()
        }
    }

    impl Fetch for Scripted {
        fn open(&self, request: Request) -> BoxFuture<'_, Result<Response, FetchError>> {
            let seen = (request.url, request.part, Instant::now());
            self.asked.lock().unwrap().push(seen);
            let answer = self
                .answers
                .lock()
                .unwrap()
                .pop_front()
                .expect("a request too many");
            let response = answer.map(|answer| Response {
                status: answer.status,
                length: answer.length,
                validator: Some("\"1\"".into()),
                part: answer.part,
                challenge: None,
                coding: None,
                retry_after: answer.retry_after,
                headers: "{}".into(),
                body: stream::iter(answer.body).boxed(),
            });
            Box::pin(std::future::ready(response))
        }
    }

    fn whole(body: &'static [u8]) -> Answer {
        Answer {
            status: 200,
            length: Some(body.len() as u64),
            part: None,
            retry_after: None,
            body: vec![Ok(Bytes::from_static(body))],
        }
    }

    fn broken() -> FetchError {
        FetchError::Broken {
            url: "u".into(),
            reason: "reset".into(),
        }
    }

    fn refused() -> FetchError {
        FetchError::Connect {
            url: "u".into(),
            reason: "refused".into(),
        }
    }

    fn status(status: u16) -> Answer {
        Answer {
            status,
            ..whole(b"Unauthorized")
        }
    }

    fn patience(retries: u32) -> Patience {
        Patience {
            retries,
            interval: Duration::from_secs(10),
            deadline: None,
        }
    }

    async fn download(
        fetch: &Scripted,
        urls: &[&str],
        patience: Patience,
    ) -> Result<Vec<u8>, Failure> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        let task = Task::detached();
        let mut source =
            Source::open(fetch, &task, "img", &urls, Request::default(), patience).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = source.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        for (url, expected) in [
            ("https://h/a?sig=s#f", "https://h/a"),
            ("https://user:pass@h:8080/a@b?x", "https://h:8080/a@b"),
            ("http://token@h", "http://h"),
            ("img", "img"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_whose_answers_break_is_left_for_the_next() {
        let cut = || Answer {
            body: vec![Ok(Bytes::from_static(b"imag")), Err(broken())],
            ..whole(b"image")
        };
        let rest = Answer {
            status: 206,
            part: Some((4, Some(5))),
            ..whole(b"e")
        };
        // Without a single try to spare.
        let fetch = Scripted::new([Ok(cut()), Ok(rest)]);
        let image = download(&fetch, &["a", "b"], patience(0)).await.unwrap();
        assert_eq!(image, b"image");
        let asked: Vec<_> = fetch.asked().into_iter().map(|(url, _)| url).collect();
        assert_eq!(asked, ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn temporary_failures_are_retried_after_the_interval() {
        let fetch = Scripted::new([Err(refused()), Ok(status(503)), Ok(whole(b"image"))]);
        let started = Instant::now();
        assert_eq!(
            download(&fetch, &["u"], patience(2)).await.unwrap(),
            b"image"
        );
        assert_eq!(started.elapsed(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_obeyed_up_to_a_limit() {
        let busy = |seconds| Answer {
            retry_after: Some(Duration::from_secs(seconds)),
            ..status(503)
        };
        for (asked, waited) in [(0, 10), (3, 10), (75, 75), (3600, 300), (u64::MAX, 300)] {
            let fetch = Scripted::new([Ok(busy(asked)), Ok(whole(b"image"))]);
            let started = Instant::now();
            download(&fetch, &["u"], patience(1)).await.unwrap();
            assert_eq!(started.elapsed().as_secs(), waited, "Retry-After: {asked}");
        }
        // One server that is free sooner is enough.
        let fetch = Scripted::new([Ok(busy(200)), Ok(busy(40)), Ok(busy(200)), Ok(whole(b"i"))]);
        let started = Instant::now();
        download(&fetch, &["a", "b"], patience(1)).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_error_is_final_and_quotes_the_answer() {
        let fetch = Scripted::new([Ok(status(401))]);
        let started = Instant::now();
        let failure = download(&fetch, &["http://h/i?sig=s"], patience(9))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageDownload);
        assert_eq!(
            failure.details,
            "Download of image img failed: URL: http://h/i; time: 0 seconds. Error: Received \
             status code 401 from http://h/i, expected 200. Response body: Unauthorized Response \
             headers: {}"
        );
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_and_go_through_all_urls() {
        let answers = std::iter::repeat_n(Ok(status(500)), 6);
        let fetch = Scripted::new(answers);
        let failure = download(&fetch, &["a", "b"], patience(2))
            .await
            .unwrap_err();
        let asked: Vec<_> = fetch.asked().into_iter().map(|(url, _)| url).collect();
        assert_eq!(asked, ["a", "b", "a", "b", "a", "b"]);
        assert!(failure.details.contains("URL: a;") && failure.details.contains("URL: b;"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hopeless_url_is_not_asked_again() {
        let fetch = Scripted::new([Ok(status(404)), Err(refused()), Ok(whole(b"image"))]);
        assert_eq!(
            download(&fetch, &["a", "b"], patience(1)).await.unwrap(),
            b"image"
        );
        let asked: Vec<_> = fetch.asked().into_iter().map(|(url, _)| url).collect();
        assert_eq!(asked, ["a", "b", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_download_goes_on_where_it_broke() {
        let first = Answer {
            length: Some(10),
            body: vec![Ok(Bytes::from_static(b"0123")), Err(broken())],
            ..whole(b"")
        };
        let rest = Answer {
            status: 206,
            length: Some(6),
            part: Some((4, Some(10))),
            body: vec![Ok(Bytes::from_static(b"456789"))],
            ..whole(b"")
        };
        let fetch = Scripted::new([Ok(first.clone()), Ok(rest)]);
        assert_eq!(
            download(&fetch, &["u"], patience(1)).await.unwrap(),
            b"0123456789"
        );
        assert_eq!(fetch.asked()[1], ("u".into(), Some(4)));
        let rest = fetch.asked.lock().unwrap()[1].1.clone().unwrap();
        assert_eq!(rest.validator.as_deref(), Some("\"1\""));

        // A server without ranges sends everything; what is known is skipped.
        let fetch = Scripted::new([Ok(first), Ok(whole(b"0123456789"))]);
        assert_eq!(
            download(&fetch, &["u"], patience(1)).await.unwrap(),
            b"0123456789"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn parts_are_asked_for_beside_the_stream_and_pinned_to_its_version() {
        let part = |body: Vec<Result<Bytes, FetchError>>, whole: u64| Answer {
            status: 206,
            length: Some(3),
            part: Some((4, Some(whole))),
            retry_after: None,
            body,
        };
        let three = || vec![Ok(Bytes::from_static(b"4")), Ok(Bytes::from_static(b"56"))];
        let fetch = Scripted::new([
            Ok(whole(b"0123456789")),
            Ok(part(three(), 10)),
            // What is temporary is tried again.
            Err(refused()),
            Ok(status(503)),
            Ok(part(vec![Ok(Bytes::from_static(b"4")), Err(broken())], 10)),
            Ok(part(three(), 10)),
            // What is not, is not.
            Ok(whole(b"0123456789")),
            Ok(status(416)),
            Ok(part(three(), 11)),
            Ok(part(vec![Ok(Bytes::from_static(b"4567"))], 10)),
            Ok(Answer {
                part: Some((3, Some(10))),
                ..part(three(), 10)
            }),
        ]);
        let task = Task::detached();
        let urls = ["u".to_owned()];
        let mut source = Source::open(&fetch, &task, "img", &urls, Request::default(), patience(9))
            .await
            .unwrap();
        for _ in 0..2 {
            assert_eq!(source.part(4, 3).await.unwrap(), b"456"[..]);
        }
        for reason in ["sends no parts", "416", "11 bytes now", "more than", "206"] {
            let Unranged(said) = source.part(4, 3).await.unwrap_err();
            assert!(said.contains(reason), "{said}");
        }
        assert_eq!(source.part(4, 0).await.unwrap(), b""[..]);
        let wanted = Part {
            offset: 4,
            length: Some(3),
            validator: Some("\"1\"".into()),
        };
        let asked = fetch.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 11);
        assert!(
            asked[1..]
                .iter()
                .all(|(_, part, _)| part.as_ref() == Some(&wanted))
        );
        // The stream goes on as if nothing had been.
        assert_eq!(source.next().await.unwrap().unwrap(), b"0123456789"[..]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_behind_the_last_byte_is_no_failure() {
        let last = Answer {
            length: Some(5),
            body: vec![Ok(Bytes::from_static(b"12345")), Err(broken())],
            ..whole(b"")
        };
        let fetch = Scripted::new([Ok(last)]);
        let done = download(&fetch, &["u"], patience(0)).await;
        assert_eq!(done.unwrap(), b"12345");
    }

    #[tokio::test(start_paused = true)]
    async fn without_progress_the_attempts_run_out() {
        let stuck = || Answer {
            length: Some(10),
            body: vec![Err(FetchError::Stalled {
                url: "u".into(),
                patience: Duration::from_secs(60),
            })],
            ..whole(b"")
        };
        let fetch = Scripted::new([Ok(stuck()), Ok(stuck()), Ok(stuck())]);
        let failure = download(&fetch, &["u"], patience(2)).await.unwrap_err();
        assert!(
            failure.details.contains("sent nothing for 60 s"),
            "{failure}"
        );
        assert_eq!(fetch.asked().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_attempts() {
        let megabyte = Bytes::from(vec![7; 1 << 20]);
        let total = 20 << 20;
        let piece = |index: u64| Answer {
            status: if index == 0 { 200 } else { 206 },
            length: Some(total - (index << 20)),
            part: (index > 0).then_some((index << 20, Some(total))),
            retry_after: None,
            body: vec![Ok(megabyte.clone()), Err(broken())],
        };
        let fetch = Scripted::new((0..20).map(|index| Ok(piece(index))).chain([Ok(Answer {
            status: 206,
            length: Some(0),
            part: Some((total, Some(total))),
            retry_after: None,
            body: vec![],
        })]));
        assert_eq!(
            download(&fetch, &["u"], patience(1)).await.unwrap().len() as u64,
            total
        );
    }

    #[tokio::test(start_paused = true)]
    async fn lengths_that_do_not_agree_are_failures() {
        let short = Answer {
            length: Some(10),
            ..whole(b"12345")
        };
        let long = Answer {
            length: Some(3),
            ..whole(b"12345")
        };
        let changed = Answer {
            status: 206,
            length: Some(4),
            part: Some((5, Some(9))),
            retry_after: None,
            body: vec![],
        };
        for (answers, text) in [
            (vec![short.clone()], "it ended after 5 of 10 bytes"),
            (vec![long], "it sent more than it announced"),
            (vec![short, changed], "9 bytes now, 10 were announced"),
        ] {
            let retries = u32::try_from(answers.len() - 1).unwrap();
            let fetch = Scripted::new(answers.into_iter().map(Ok));
            let failure = download(&fetch, &["u"], patience(retries))
                .await
                .unwrap_err();
            assert!(failure.details.contains(text), "{failure}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_of_time_is_final_and_so_is_cancelling() {
        let fetch = Scripted::new([Err(refused())]);
        let limit = Duration::from_secs(5);
        let limited = Patience {
            deadline: Some((Instant::now() + limit, limit)),
            ..patience(9)
        };
        let failure = download(&fetch, &["u"], limited).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageDownloadTimeout);
        assert!(failure.details.contains("(5 seconds)"), "{failure}");

        let fetch = Scripted::new([]);
        let task = Task::detached();
        task.cancel("enough");
        let urls = ["u".to_owned()];
        let opened =
            Source::open(&fetch, &task, "img", &urls, Request::default(), patience(0)).await;
        assert_eq!(opened.err(), Some(task.cancellation().into()));
    }

    #[tokio::test]
    async fn a_document_has_a_limit() {
        let task = Task::detached();
        let urls = ["u".to_owned()];
        for (limit, fits) in [(5, true), (4, false)] {
            let fetch = Scripted::new([Ok(whole(b"12345"))]);
            let source = Source::open(&fetch, &task, "img", &urls, Request::default(), patience(0))
                .await
                .unwrap();
            assert_eq!(source.bytes(limit).await.is_ok(), fits);
        }
    }
}
