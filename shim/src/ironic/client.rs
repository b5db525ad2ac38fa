//! One exchange with Ironic at a time, over all its addresses.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use ironic_text::error_chain;
use ironic_transport::redirect::{self, Bodies};
use ironic_transport::tls::{TlsSettings, TlsSettingsError, client_config};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::{Client, Url};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::version::{ApiVersion, InvalidVersion};
use super::{Beat, BeatAnswer, InspectionAnswer, LookupAnswer, wire};

const VERSION_HEADER: &str = "x-openstack-ironic-api-version";
const REQUEST_ID_HEADER: &str = "x-openstack-request-id";
/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(10);
/// Node documents have kilobytes; whatever sends more is not Ironic.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// How the client is set up.
#[derive(Debug, Clone, Default)]
pub struct IronicSettings {
    /// Ironic's addresses, in the order of preference, without a slash at their ends.
    pub api_urls: Vec<String>,
    /// Where inspection reports go, used verbatim.
    pub inspection_urls: Vec<String>,
    /// Skips version discovery.
    pub api_version: Option<ApiVersion>,
    /// Sent as `X-OpenStack-Request-ID`.
    pub global_request_id: Option<String>,
    /// How long connecting and each read may take.
    pub timeout: Duration,
    /// Whom to trust.
    pub tls: TlsSettings,
}

/// Why no client can be made.
#[derive(Debug, Error)]
pub enum IronicError {
    /// The TLS settings are unusable.
    #[error("the TLS settings for Ironic cannot be used")]
    Tls(#[from] TlsSettingsError),
    /// A header cannot carry the value.
    #[error("option global_request_id holds characters that no header can carry")]
    RequestId,
    /// The HTTP client cannot be made.
    #[error("the HTTP client for Ironic cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// Why Ironic's version is not known.
#[derive(Debug, Error)]
pub enum UnknownVersion {
    /// It could not be asked.
    #[error("Ironic does not tell its API version")]
    NoAnswer(#[from] RequestError),
    /// Its root document has no version.
    #[error(
        "Ironic does not tell its API version: HTTP status {}, its root document has no \
         default_version.version",
        .0.as_u16()
    )]
    Missing(StatusCode),
    /// Its version is not one.
    #[error("Ironic does not tell its API version: HTTP status {}", status.as_u16())]
    Invalid {
        /// Of the answer.
        status: StatusCode,
        /// What is wrong with it.
        source: InvalidVersion,
    },
}

/// The client. Shared by everybody who talks to Ironic, so that all of them profit from what
/// one has learned: the version, and which address answers.
pub struct Ironic {
    client: Client,
    /// For requests with a body, which may hold the node's token.
    posting: Client,
    base: HeaderMap,
    /// The address that answered last stands first.
    api_urls: Mutex<Vec<String>>,
    inspection_urls: Vec<String>,
    configured_version: Option<ApiVersion>,
    discovered_version: Mutex<Option<ApiVersion>>,
    reachable: watch::Sender<Option<bool>>,
}

impl fmt::Debug for Ironic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ironic")
            .field("api_urls", &self.api_urls)
            .finish_non_exhaustive()
    }
}

/// An answer, whatever its status.
struct HttpAnswer {
    status: StatusCode,
    body: Vec<u8>,
}

/// Why one request got no answer.
#[derive(Debug, Error)]
pub enum RequestError {
    /// No address is configured.
    #[error("no address of Ironic is configured: set the option api_url")]
    NoAddress,
    /// The address is not a URL.
    #[error("{url} is not a URL: {source}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        source: <Url as std::str::FromStr>::Err,
    },
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] reqwest::Error),
    /// The answer is larger than any document of Ironic's.
    #[error("the answer is larger than {MAX_RESPONSE_BYTES} bytes")]
    TooLarge,
}

impl Ironic {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// A setting that cannot work, by name.
    pub fn new(settings: IronicSettings) -> Result<Self, IronicError> {
        let tls = client_config(&settings.tls)?;
        let client = |bodies| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .http1_only()
                .tcp_nodelay(true)
                .connect_timeout(settings.timeout)
                .read_timeout(settings.timeout)
                .redirect(redirect::policy(bodies))
                // Heartbeats are minutes apart; a server that closed an idle connection in the
                // meantime must not cost one.
                .pool_idle_timeout(IDLE)
                .user_agent(concat!("ironic-shim/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        let (reading, posting) = (client(Bodies::None)?, client(Bodies::Secret)?);
        let mut base = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        base.insert(header::ACCEPT, json.clone());
        base.insert(header::CONTENT_TYPE, json);
        if let Some(id) = &settings.global_request_id {
            let value = HeaderValue::from_str(id).map_err(|_| IronicError::RequestId)?;
            base.insert(REQUEST_ID_HEADER, value);
        }
        Ok(Self {
            client: reading,
            posting,
            base,
            api_urls: Mutex::new(settings.api_urls),
            inspection_urls: settings.inspection_urls,
            configured_version: settings.api_version,
            discovered_version: Mutex::new(None),
            reachable: watch::Sender::new(None),
        })
    }

    /// The configured addresses, the one that answered last first.
    #[must_use]
    pub fn api_urls(&self) -> Vec<String> {
        self.api_urls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether an address answered the last time; `None` before the first.
    #[must_use]
    pub fn reachable(&self) -> watch::Receiver<Option<bool>> {
        self.reachable.subscribe()
    }

    /// The newest microversion of this Ironic: configured, or learned once.
    ///
    /// # Errors
    /// It could not be learned; the next caller asks again.
    pub async fn version(&self) -> Result<ApiVersion, UnknownVersion> {
        if let Some(version) = self.configured_version.or_else(|| *self.known_version()) {
            return Ok(version);
        }
        let answer = self
            .exchange(Method::GET, "/", self.base.clone(), None)
            .await?;
        let status = answer.status;
        let version: ApiVersion = wire::default_version(&answer.body)
            .ok_or(UnknownVersion::Missing(status))?
            .parse()
            .map_err(|source| UnknownVersion::Invalid { status, source })?;
        info!(%version, "Ironic's API version");
        *self.known_version() = Some(version);
        Ok(version)
    }

    /// The version for one call: an Ironic that does not tell its own gets the oldest that
    /// may do.
    async fn version_or_assumed(&self) -> ApiVersion {
        self.version().await.unwrap_or_else(|error| {
            let assumed = ApiVersion::ASSUMED;
            warn!(error = %error_chain(&error), %assumed, "a request goes out with the oldest version");
            assumed
        })
    }

    /// Asks once who the machine with these addresses is.
    pub async fn lookup(&self, addresses: &[String], node_uuid: Option<&str>) -> LookupAnswer {
        let version = self
            .version_or_assumed()
            .await
            .min(ApiVersion::NEWEST_LOOKUP);
        let mut path = format!("/v1/lookup?addresses={}", encoded(&addresses.join(",")));
        if let Some(uuid) = node_uuid {
            path.push_str("&node_uuid=");
            path.extend(encoded(uuid));
        }
        let retry = |status, reason| LookupAnswer::Retry { status, reason };
        match self
            .exchange(Method::GET, &path, self.versioned(version), None)
            .await
        {
            Err(error) => retry(None, error_chain(&error)),
            Ok(answer) if answer.status == StatusCode::OK => match wire::found(&answer.body) {
                Ok(found) => LookupAnswer::Found(Box::new(found)),
                Err(error) => retry(Some(answer.status.as_u16()), error.to_string()),
            },
            Ok(answer) => {
                let reason = format!(
                    "Error {}: {}",
                    answer.status.as_u16(),
                    wire::error_text(&answer.body)
                );
                retry(Some(answer.status.as_u16()), reason)
            }
        }
    }

    /// Sends one heartbeat.
    pub async fn heartbeat(&self, beat: Beat<'_>) -> BeatAnswer {
        let known = self.version_or_assumed().await;
        let body = beat_body(&beat, known);
        let path = format!("/v1/heartbeat/{}", encoded(beat.node_uuid));
        let headers = self.versioned(known.min(newest_for(&beat)));
        let answer = match self
            .exchange(Method::POST, &path, headers, Some(&body))
            .await
        {
            Err(error) => return BeatAnswer::Unreachable(error_chain(&error)),
            Ok(answer) => answer,
        };
        let reason = || {
            format!(
                "Error {}: {}",
                answer.status.as_u16(),
                wire::error_text(&answer.body)
            )
        };
        match answer.status {
            StatusCode::ACCEPTED => BeatAnswer::Accepted,
            StatusCode::CONFLICT => BeatAnswer::Conflict(reason()),
            status => BeatAnswer::Refused {
                status: status.as_u16(),
                reason: reason(),
            },
        }
    }

    /// Hands an inspection report over: one round over all addresses.
    pub async fn submit_inspection(&self, report: &Value) -> InspectionAnswer {
        if self.inspection_urls.is_empty() {
            return InspectionAnswer::Disabled;
        }
        let body = report.to_string();
        let mut last = String::new();
        for url in &self.inspection_urls {
            match self
                .once(Method::POST, url, self.base.clone(), Some(&body))
                .await
            {
                Ok(answer) => return inspection_answer(&answer),
                Err(error) => {
                    let reason = error_chain(&error);
                    warn!(%url, %reason, "the inspection report was not delivered");
                    last = reason;
                }
            }
        }
        InspectionAnswer::Retry(last)
    }

    /// One request to the first address that answers; it stands first from then on.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<&str>,
    ) -> Result<HttpAnswer, RequestError> {
        let urls = self.api_urls();
        let mut last = RequestError::NoAddress;
        for (index, url) in urls.iter().enumerate() {
            match self
                .once(
                    method.clone(),
                    &format!("{url}{path}"),
                    headers.clone(),
                    body,
                )
                .await
            {
                Ok(answer) => {
                    self.note(true);
                    if index > 0 {
                        self.prefer(url);
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    debug!(%url, reason = %error_chain(&error), "this address of Ironic does not answer");
                    last = error;
                }
            }
        }
        self.note(false);
        Err(last)
    }

    async fn once(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Option<&str>,
    ) -> Result<HttpAnswer, RequestError> {
        let url = Url::parse(url).map_err(|source| RequestError::Url {
            url: url.to_owned(),
            source,
        })?;
        let client = if body.is_some() {
            &self.posting
        } else {
            &self.client
        };
        let mut request = client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let mut response = request.send().await?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(RequestError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, body })
    }

    fn note(&self, reachable: bool) {
        self.reachable
            .send_if_modified(|known| known.replace(reachable) != Some(reachable));
    }

    fn prefer(&self, url: &str) {
        let mut urls = self.api_urls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = urls.iter().position(|known| known == url) {
            urls[..=index].rotate_right(1);
        }
    }

    fn known_version(&self) -> std::sync::MutexGuard<'_, Option<ApiVersion>> {
        self.discovered_version
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn versioned(&self, version: ApiVersion) -> HeaderMap {
        let mut headers = self.base.clone();
        // Digits and a dot always make a header.
        if let Ok(value) = HeaderValue::from_str(&version.to_string()) {
            headers.insert(VERSION_HEADER, value);
        }
        headers
    }
}

/// The body of a heartbeat, with the keys that this version of Ironic knows, in the order in
/// which the Python agent sends them.
fn beat_body(beat: &Beat<'_>, version: ApiVersion) -> String {
    let text = |value: Option<&str>| value.map_or(Value::Null, Value::from);
    let mut body = Map::new();
    body.insert("callback_url".into(), beat.callback_url.into());
    if version >= ApiVersion::AGENT_TOKEN {
        body.insert("agent_token".into(), text(beat.agent_token));
    }
    if version >= ApiVersion::AGENT_VERSION {
        body.insert("agent_version".into(), beat.agent_version.into());
    }
    if version >= ApiVersion::AGENT_VERIFY_CA && beat.agent_verify_ca.is_some() {
        body.insert("agent_verify_ca".into(), text(beat.agent_verify_ca));
    }
    if version >= ApiVersion::AGENT_STATUS && beat.agent_status_message.is_some() {
        let message = text(beat.agent_status_message);
        body.insert("agent_status_message".into(), message);
    }
    Value::Object(body).to_string()
}

/// The version that a heartbeat needs: what it asks for decides what Ironic takes.
fn newest_for(beat: &Beat<'_>) -> ApiVersion {
    if beat.agent_status_message.is_some() {
        ApiVersion::AGENT_STATUS
    } else {
        ApiVersion::NEWEST_HEARTBEAT
    }
}

fn inspection_answer(answer: &HttpAnswer) -> InspectionAnswer {
    let reason = || {
        format!(
            "Error {}: {}",
            answer.status.as_u16(),
            wire::error_text(&answer.body)
        )
    };
    match answer.status.as_u16() {
        0..400 => InspectionAnswer::Accepted(wire::inspected_uuid(&answer.body)),
        409 | 500.. => InspectionAnswer::Retry(reason()),
        _ => InspectionAnswer::Refused(reason()),
    }
}

/// Everything but the characters that are always safe, as Python's client has it: colons and
/// commas become `%3A` and `%2C`.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNSAFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Beat<'static> = Beat {
        node_uuid: "u",
        callback_url: "https://127.0.0.1:9999",
        agent_token: Some("t"),
        agent_version: "0.1.0",
        agent_verify_ca: Some("PEM\n"),
        agent_status_message: None,
    };

    #[test]
    fn a_heartbeat_has_the_keys_that_the_version_knows_in_order() {
        let cases = [
            ((1, 31), r#"{"callback_url":"https://127.0.0.1:9999"}"#),
            (
                (1, 47),
                r#"{"callback_url":"https://127.0.0.1:9999","agent_version":"0.1.0"}"#,
            ),
            (
                (1, 65),
                r#"{"callback_url":"https://127.0.0.1:9999","agent_token":"t","agent_version":"0.1.0"}"#,
            ),
            (
                (1, 115),
                r#"{"callback_url":"https://127.0.0.1:9999","agent_token":"t","agent_version":"0.1.0","agent_verify_ca":"PEM\n"}"#,
            ),
        ];
        for ((major, minor), body) in cases {
            assert_eq!(beat_body(&BEAT, ApiVersion::new(major, minor)), body);
        }
        let bare = Beat {
            agent_token: None,
            agent_verify_ca: None,
            ..BEAT
        };
        assert_eq!(
            beat_body(&bare, ApiVersion::new(1, 115)),
            r#"{"callback_url":"https://127.0.0.1:9999","agent_token":null,"agent_version":"0.1.0"}"#
        );
    }

    #[test]
    fn addresses_are_encoded_as_python_does() {
        assert_eq!(encoded("02:fc:00,a").to_string(), "02%3Afc%3A00%2Ca");
    }

    #[test]
    fn an_address_that_answered_comes_first() {
        let ironic = Ironic::new(IronicSettings {
            api_urls: ["a", "b", "c"].map(str::to_owned).to_vec(),
            ..IronicSettings::default()
        })
        .unwrap();
        ironic.prefer("c");
        assert_eq!(ironic.api_urls(), ["c", "a", "b"]);
        ironic.prefer("a");
        assert_eq!(ironic.api_urls(), ["a", "c", "b"]);
    }
}
