//! [`Fetch`] over HTTP.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use ironic_transport::redirect::{Bodies, check};
use ironic_transport::tls::{TlsSettings, client_config};
use reqwest::Url;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, DATE, ETAG, HeaderMap,
    HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use rustls::AlertDescription;

use super::error::{FetchError, HttpError, UnusableRequest};
use super::proxy::ProxyRoute;
use super::{Credentials, Fetch, FetchRequest, FetchResponse, Proxies, redirect, zone};

/// How long settings that were read once stay good: certificates on disk are replaced.
const KEPT: Duration = Duration::from_mins(1);

/// Some servers refuse clients that do not say who they are.
const USER_AGENT: &str = concat!("ironic-agent/", env!("CARGO_PKG_VERSION"));

/// How a URL is called that cannot be shown.
const NOT_A_URL: &str = "the URL";

/// HTTP and HTTPS by reqwest and rustls. Requests that follow each other with the same
/// settings share their connections.
#[derive(Debug, Default)]
pub struct HttpFetch {
    last: Mutex<Option<CachedClient>>,
}

/// A client and what it was made from.
#[derive(Debug)]
struct CachedClient {
    tls: TlsSettings,
    proxies: Proxies,
    interface: Option<String>,
    timeout: Duration,
    made: Instant,
    client: reqwest::Client,
}

impl Fetch for HttpFetch {
    fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>> {
        Box::pin(async move {
            let (url, interface) = match zone::split(&request.url) {
                Ok((url, interface)) => (url.into_owned(), interface),
                Err(error) => return Err(UnusableRequest::from(error).at(NOT_A_URL)),
            };
            let request = FetchRequest { url, ..request };
            open(self.client(&request, interface), request).await
        })
    }
}

impl HttpFetch {
    fn client(
        &self,
        request: &FetchRequest,
        interface: Option<String>,
    ) -> Result<reqwest::Client, UnusableRequest> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = last.as_ref().filter(|kept| {
            kept.made.elapsed() < KEPT
                && kept.tls == request.tls
                && kept.proxies == request.proxies
                && kept.interface == interface
                && kept.timeout == request.timeout
        }) {
            return Ok(kept.client.clone());
        }
        let client = client(request, interface.as_deref())?;
        *last = Some(CachedClient {
            tls: request.tls.clone(),
            proxies: request.proxies.clone(),
            interface,
            timeout: request.timeout,
            made: Instant::now(),
            client: client.clone(),
        });
        Ok(client)
    }
}

/// A client for requests like this one, over `interface` if one is named.
fn client(
    request: &FetchRequest,
    interface: Option<&str>,
) -> Result<reqwest::Client, UnusableRequest> {
    let tls = client_config(&request.tls)?;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .user_agent(USER_AGENT)
        // `send` follows them: reqwest gives credentials back to the second request after another
        // server's, and shows the query of a URL, which may be a signature, to the next server.
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true);
    if !request.timeout.is_zero() {
        // Divided among the addresses of a name: one that does not answer leaves time for the others.
        builder = builder.connect_timeout(request.timeout);
    }
    // The route knows the environment; the library must not ask it again.
    builder = builder.no_proxy();
    builder = match interface {
        // A link-local address means nothing to a proxy.
        Some(interface) => builder.interface(interface),
        None => {
            let route = ProxyRoute::new(&request.proxies, |name| std::env::var(name).ok())?;
            builder.proxy(route.into_proxy())
        }
    };
    Ok(builder.build().map_err(HttpError::from)?)
}

async fn open(
    client: Result<reqwest::Client, UnusableRequest>,
    request: FetchRequest,
) -> Result<FetchResponse, FetchError> {
    let parsed = Url::parse(&request.url);
    let url = parsed.as_ref().map_or_else(|_| NOT_A_URL.to_owned(), shown);
    let invalid = |error: UnusableRequest| error.at(&url);
    let target = parsed.map_err(|error| invalid(UnusableRequest::Url(error)))?;
    let client = client.map_err(invalid)?;
    let answer = send(&client, target, &request, &url).await?;

    let head = answer.headers();
    let coding = coding(head);
    // An error page may be packed.
    if answer.status().is_success()
        && !request.is_verified
        && let Some(coding) = coding
    {
        return Err(invalid(UnusableRequest::Encoded(coding)));
    }
    Ok(FetchResponse {
        status: answer.status().as_u16(),
        length: answer.content_length(),
        validator: validator(head),
        part: head
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok())
            .and_then(part),
        challenge: challenge(head),
        coding,
        retry_after: retry_after(head),
        headers: format!("{head:?}"),
        body: body(answer, url, request.timeout),
    })
}

/// The answer at the end of all redirects. `url` is the first URL as it may be shown.
async fn send(
    client: &reqwest::Client,
    mut target: Url,
    request: &FetchRequest,
    url: &str,
) -> Result<reqwest::Response, FetchError> {
    let invalid = |error: UnusableRequest| error.at(url);
    let headers = headers(request).map_err(invalid)?;
    let mut credentials = request.credentials.as_ref();
    let mut previous = Vec::new();
    loop {
        if !matches!(target.scheme(), "http" | "https") {
            return Err(invalid(UnusableRequest::Scheme(target.scheme().to_owned())));
        }
        let call = client.get(target.clone()).headers(headers.clone());
        let call = match credentials {
            None => call,
            Some(Credentials::Basic { user, password }) => call.basic_auth(user, Some(password)),
            Some(Credentials::Header(text)) => {
                call.header(AUTHORIZATION, authorization(text).map_err(invalid)?)
            }
        };
        let answer = within(request.timeout, call.send())
            .await
            .ok_or_else(|| stalled(url, request.timeout))?
            .map_err(|error| failed_to_open(error, url))?;
        let Some(next) = redirect::target(&target, &answer) else {
            return Ok(answer);
        };
        // Once they were left behind, no later redirect brings them back.
        credentials = credentials.filter(|_| redirect::keeps_credentials(&target, &next));
        previous.push(std::mem::replace(&mut target, next));
        let status = answer.status().as_u16();
        check(Bodies::None, &previous, status, &target)
            .map_err(|refused| invalid(refused.into()))?;
    }
}

fn authorization(text: &str) -> Result<HeaderValue, UnusableRequest> {
    let name = "the authorization";
    let mut value =
        HeaderValue::from_str(text).map_err(|source| UnusableRequest::Header { name, source })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Those of each request, but for its credentials.
fn headers(request: &FetchRequest) -> Result<HeaderMap, UnusableRequest> {
    let value = |name: &'static str, text: &str| {
        HeaderValue::from_str(text).map_err(|source| UnusableRequest::Header { name, source })
    };
    let mut headers = HeaderMap::new();
    // The checksum is that of the file, so it must come as it is.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(types) = request.accept {
        headers.insert(ACCEPT, HeaderValue::from_static(types));
    }
    if let Some(part) = &request.part {
        let last = match part.length {
            None => String::new(),
            Some(length) => part
                .offset
                .checked_add(length)
                .and_then(|end| end.checked_sub(1))
                .filter(|last| *last >= part.offset)
                .ok_or(UnusableRequest::Range)?
                .to_string(),
        };
        headers.insert(
            RANGE,
            value("Range", &format!("bytes={}-{last}", part.offset))?,
        );
        if let Some(validator) = &part.validator {
            headers.insert(IF_RANGE, value("If-Range", validator)?);
        }
    }
    Ok(headers)
}

/// `Content-Range: bytes 100-199/200`: the first byte, and the whole length unless it is `*`.
fn part(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, whole.trim().parse().ok()))
}

fn validator(head: &HeaderMap) -> Option<String> {
    let text = |name| Some(head.get(name)?.to_str().ok()?.to_owned());
    text(ETAG)
        // A weak tag stands for equivalent documents, not for equal bytes.
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| {
            // A document that is changed twice within a second has the same date twice, so the
            // date counts only when the answer is younger (RFC 9110, 8.8.2.2). Both have whole
            // seconds: being different is enough.
            let (changed, now) = (text(LAST_MODIFIED)?, text(DATE)?);
            (changed != now).then_some(changed)
        })
}

/// The content codings that change the bytes (IANA's registry). Servers also send what is no
/// coding: how the object was uploaded (`aws-chunked`), a character set, nothing at all.
const CODINGS: [&str; 12] = [
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "gzip",
    "pack200-gzip",
    "x-compress",
    "x-gzip",
    "zstd",
];

fn coding(head: &HeaderMap) -> Option<String> {
    let named: Vec<String> = head
        .get_all(CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| CODINGS.contains(&coding.as_str()))
        .collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// `Retry-After` in seconds, or as a date, which is compared with the server's own clock: ours
/// may not be set yet.
fn retry_after(head: &HeaderMap) -> Option<Duration> {
    let text = |name| head.get(name)?.to_str().ok();
    let wish = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = wish.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| httpdate::parse_http_date(text).ok();
    date(wish)?.duration_since(date(text(DATE)?)?).ok()
}

/// All challenges as one list; a server may send several headers.
fn challenge(head: &HeaderMap) -> Option<String> {
    let challenges: Vec<_> = head
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!challenges.is_empty()).then(|| challenges.join(", "))
}

fn body(
    answer: reqwest::Response,
    url: String,
    limit: std::time::Duration,
) -> BoxStream<'static, Result<Bytes, FetchError>> {
    let pieces = unfold(Some(answer), move |answer| {
        let url = url.clone();
        async move {
            let mut answer = answer?;
            let piece = match within(limit, answer.chunk()).await {
                Some(Ok(Some(piece))) => return Some((Ok(piece), Some(answer))),
                Some(Ok(None)) => return None,
                Some(Err(error)) => Err(FetchError::Broken {
                    url,
                    source: HttpError::from(error).into(),
                }),
                None => Err(stalled(&url, limit)),
            };
            Some((piece, None))
        }
    });
    pieces.boxed()
}

fn stalled(url: &str, limit: Duration) -> FetchError {
    FetchError::Stalled {
        url: url.to_owned(),
        timeout: limit,
    }
}

/// `None` when it took longer than `limit`.
async fn within<F: Future>(limit: std::time::Duration, work: F) -> Option<F::Output> {
    if limit.is_zero() {
        Some(work.await)
    } else {
        tokio::time::timeout(limit, work).await.ok()
    }
}

fn failed_to_open(error: reqwest::Error, url: &str) -> FetchError {
    let url = url.to_owned();
    if let Some(tls) = tls_error(&error) {
        let hint = match tls {
            rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => {
                "; the server and this program have no TLS version, cipher suite or kind of \
                 certificate key in common (not supported here: P-521, RSA below 2048 bits, DSA)"
            }
            _ => "",
        };
        let source = HttpError::new(error, hint).into();
        return FetchError::Tls { url, source };
    }
    let is_request = error.is_builder() || error.is_redirect();
    let is_connect = error.is_connect();
    let source = HttpError::from(error).into();
    if is_request {
        FetchError::Request { url, source }
    } else if is_connect {
        FetchError::Connect { url, source }
    } else {
        FetchError::Broken { url, source }
    }
}

/// The TLS error at the bottom of an error. I/O errors hide what they wrap from the chain of
/// sources.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let hidden = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| hidden.and_then(|inner| tls_error(inner)))
        .or_else(|| error.source().and_then(tls_error))
}

/// A URL as it may be shown: without user, password, query and fragment.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Setting nothing fails only for URLs that cannot hold a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        let url = Url::parse("https://me:word@host/a/image.raw?sig=abc#x").unwrap();
        assert_eq!(shown(&url), "https://host/a/image.raw");
    }

    #[test]
    fn content_range_is_read() {
        assert_eq!(part("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(part("bytes 0-0/*"), Some((0, None)));
        assert_eq!(part("pages 1-2/3"), None);
        assert_eq!(part("bytes */200"), None);
    }

    #[test]
    fn only_a_strong_validator_counts() {
        let mut head = HeaderMap::new();
        assert_eq!(validator(&head), None);
        head.insert(ETAG, HeaderValue::from_static("W/\"1\""));
        assert_eq!(validator(&head), None);
        head.insert(LAST_MODIFIED, HeaderValue::from_static("yesterday"));
        assert_eq!(validator(&head), None);
        head.insert(DATE, HeaderValue::from_static("yesterday"));
        assert_eq!(validator(&head), None);
        head.insert(DATE, HeaderValue::from_static("today"));
        assert_eq!(validator(&head).as_deref(), Some("yesterday"));
        head.insert(ETAG, HeaderValue::from_static("\"1\""));
        assert_eq!(validator(&head).as_deref(), Some("\"1\""));
    }

    #[tokio::test]
    async fn what_cannot_be_requested_says_why_and_is_not_temporary() {
        for (url, why) in [
            ("ftp://host/image", "ftp"),
            ("no url", "relative URL"),
            ("http://", "empty host"),
        ] {
            let request = FetchRequest {
                url: url.into(),
                ..FetchRequest::default()
            };
            let error = HttpFetch::default().open(request).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(!error.is_temporary());
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_a_connection_error() {
        // A port that was just free.
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let request = FetchRequest {
            url: format!("http://{address}/image?token=secret"),
            ..FetchRequest::default()
        };
        let error = HttpFetch::default().open(request).await.unwrap_err();
        assert!(matches!(error, FetchError::Connect { .. }), "{error:?}");
        assert!(error.is_temporary());
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
