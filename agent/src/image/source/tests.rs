use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream;

use super::download::RetryPolicy;
use super::*;
use crate::system::fetch::{Fetch, FetchError, FetchRequest};
use crate::task::Task;

/// Answers requests in their order and keeps them.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<Answer, FetchError>>>,
    asked: Mutex<Vec<(String, Option<RangeRequest>, Instant)>>,
}

#[derive(Debug)]
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
    fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>> {
        let seen = (request.url, request.part, Instant::now());
        self.asked.lock().unwrap().push(seen);
        let answer = self
            .answers
            .lock()
            .unwrap()
            .pop_front()
            .expect("a request too many");
        let response = answer.map(|answer| FetchResponse {
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
        source: "reset".into(),
    }
}

fn refused() -> FetchError {
    FetchError::Connect {
        url: "u".into(),
        source: "refused".into(),
    }
}

fn status(status: u16) -> Answer {
    Answer {
        status,
        ..whole(b"Unauthorized")
    }
}

fn policy(retries: u32) -> RetryPolicy {
    RetryPolicy {
        retries,
        interval: Duration::from_secs(10),
        deadline: None,
    }
}

fn download_with<'a>(fetch: &'a Scripted, task: &'a Task, retry: RetryPolicy) -> Download<'a> {
    Download {
        fetch,
        task,
        template: FetchRequest::default(),
        retry,
    }
}

async fn download(
    fetch: &Scripted,
    urls: &[&str],
    retry: RetryPolicy,
) -> Result<Vec<u8>, SourceError> {
    let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
    let task = Task::detached();
    let mut source = download_with(fetch, &task, retry)
        .open("img", &urls)
        .await?;
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
    let image = download(&fetch, &["a", "b"], policy(0)).await.unwrap();
    assert_eq!(image, b"image");
    let asked: Vec<_> = fetch.asked().into_iter().map(|(url, _)| url).collect();
    assert_eq!(asked, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_retried_after_the_interval() {
    let fetch = Scripted::new([Err(refused()), Ok(status(503)), Ok(whole(b"image"))]);
    let started = Instant::now();
    assert_eq!(download(&fetch, &["u"], policy(2)).await.unwrap(), b"image");
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
        download(&fetch, &["u"], policy(1)).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), waited, "Retry-After: {asked}");
    }
    // One server that is free sooner is enough.
    let fetch = Scripted::new([Ok(busy(200)), Ok(busy(40)), Ok(busy(200)), Ok(whole(b"i"))]);
    let started = Instant::now();
    download(&fetch, &["a", "b"], policy(1)).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_client_error_is_final_and_quotes_the_answer() {
    let fetch = Scripted::new([Ok(status(401))]);
    let started = Instant::now();
    let error = download(&fetch, &["http://h/i?sig=s"], policy(9))
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::GivenUp { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "Download of image img failed: URL: http://h/i; time: 0 seconds. Error: Received \
         status code 401 from http://h/i, expected 200. Response body: Unauthorized Response \
         headers: {}"
    );
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_go_through_all_urls() {
    let answers = (0..6).map(|_| Ok(status(500)));
    let fetch = Scripted::new(answers);
    let error = download(&fetch, &["a", "b"], policy(2)).await.unwrap_err();
    let asked: Vec<_> = fetch.asked().into_iter().map(|(url, _)| url).collect();
    assert_eq!(asked, ["a", "b", "a", "b", "a", "b"]);
    let text = error.to_string();
    assert!(text.contains("URL: a;") && text.contains("URL: b;"));
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_url_is_not_asked_again() {
    let fetch = Scripted::new([Ok(status(404)), Err(refused()), Ok(whole(b"image"))]);
    assert_eq!(
        download(&fetch, &["a", "b"], policy(1)).await.unwrap(),
        b"image"
    );
    let asked: Vec<_> = fetch.asked().into_iter().map(|(url, _)| url).collect();
    assert_eq!(asked, ["a", "b", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_download_goes_on_where_it_broke() {
    let first = || Answer {
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
    let fetch = Scripted::new([Ok(first()), Ok(rest)]);
    assert_eq!(
        download(&fetch, &["u"], policy(1)).await.unwrap(),
        b"0123456789"
    );
    assert_eq!(fetch.asked()[1], ("u".into(), Some(4)));
    let rest = fetch.asked.lock().unwrap()[1].1.clone().unwrap();
    assert_eq!(rest.validator.as_deref(), Some("\"1\""));

    // A server without ranges sends everything; what is known is skipped.
    let fetch = Scripted::new([Ok(first()), Ok(whole(b"0123456789"))]);
    assert_eq!(
        download(&fetch, &["u"], policy(1)).await.unwrap(),
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
    let mut source = download_with(&fetch, &task, policy(9))
        .open("img", &urls)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(source.part(4, 3).await.unwrap(), b"456"[..]);
    }
    for reason in ["sends no parts", "416", "11 bytes now", "more than", "206"] {
        let said = source.part(4, 3).await.unwrap_err().to_string();
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(source.part(4, 0).await.unwrap(), b""[..]);
    let wanted = RangeRequest {
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
    let done = download(&fetch, &["u"], policy(0)).await;
    assert_eq!(done.unwrap(), b"12345");
}

#[tokio::test(start_paused = true)]
async fn without_progress_the_attempts_run_out() {
    let stuck = || Answer {
        length: Some(10),
        body: vec![Err(FetchError::Stalled {
            url: "u".into(),
            timeout: Duration::from_secs(60),
        })],
        ..whole(b"")
    };
    let fetch = Scripted::new([Ok(stuck()), Ok(stuck()), Ok(stuck())]);
    let error = download(&fetch, &["u"], policy(2)).await.unwrap_err();
    assert!(
        error.to_string().contains("sent nothing for 60 s"),
        "{error}"
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
        download(&fetch, &["u"], policy(1)).await.unwrap().len() as u64,
        total
    );
}

#[tokio::test(start_paused = true)]
async fn lengths_that_do_not_agree_are_failures() {
    let short = || Answer {
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
    for (answers, text, is_another_version) in [
        (vec![short()], "it ended after 5 of 10 bytes", false),
        (vec![long], "it sent more than it announced", true),
        (
            vec![short(), changed],
            "9 bytes now, 10 were announced",
            true,
        ),
        (vec![short(), status(416)], "status code 416", true),
        (vec![short(), status(404)], "status code 404", false),
    ] {
        let retries = u32::try_from(answers.len() - 1).unwrap();
        let fetch = Scripted::new(answers.into_iter().map(Ok));
        let error = download(&fetch, &["u"], policy(retries)).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.saw_another_version(), is_another_version, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_time_is_final_and_so_is_cancelling() {
    let fetch = Scripted::new([Err(refused())]);
    let limit = Duration::from_secs(5);
    let limited = RetryPolicy {
        deadline: Some((Instant::now() + limit, limit)),
        ..policy(9)
    };
    let error = download(&fetch, &["u"], limited).await.unwrap_err();
    assert!(matches!(error, SourceError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("(5 seconds)"), "{error}");

    let fetch = Scripted::new([]);
    let task = Task::detached();
    task.cancel("enough");
    let urls = ["u".to_owned()];
    let opened = download_with(&fetch, &task, policy(0))
        .open("img", &urls)
        .await;
    assert!(matches!(opened.err(), Some(SourceError::Cancelled(_))));
}

#[tokio::test]
async fn a_document_has_a_limit() {
    let task = Task::detached();
    let urls = ["u".to_owned()];
    for (limit, fits) in [(5, true), (4, false)] {
        let fetch = Scripted::new([Ok(whole(b"12345"))]);
        let source = download_with(&fetch, &task, policy(0))
            .open("img", &urls)
            .await
            .unwrap();
        assert_eq!(source.bytes(limit).await.is_ok(), fits);
    }
}
