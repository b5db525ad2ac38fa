//! Authentication to a registry: answers to its challenges (RFC 7235), and its token service.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::error::RegistryError;
use super::reference::is_local;
use super::{Registries, document};
use crate::system::fetch::{Credentials, FetchError, FetchRequest};

/// What becomes `%xx` in a query: everything that may mean something there.
const QUERY: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/');

/// What a registry wants.
#[derive(Debug, PartialEq, Eq)]
enum Challenge<'a> {
    /// A user and a password.
    Basic,
    /// A token from a service, by these parameters.
    Bearer(&'a str),
}

impl<'a> Challenge<'a> {
    fn parse(challenge: &'a str) -> Result<Self, RegistryError> {
        let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            Ok(Self::Basic)
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Ok(Self::Bearer(parameters))
        } else {
            Err(RegistryError::UnknownScheme)
        }
    }
}

impl Registries<'_> {
    /// Answers a challenge of the repository at `base`.
    pub(super) async fn authenticate(
        &self,
        challenge: &str,
        given: Option<Credentials>,
        base: &str,
        request: &FetchRequest,
    ) -> Result<Credentials, FetchError> {
        let invalid = |error: RegistryError| error.at(base);
        let parameters = match Challenge::parse(challenge).map_err(invalid)? {
            Challenge::Basic => {
                return given.ok_or_else(|| invalid(RegistryError::NoPassword));
            }
            Challenge::Bearer(parameters) => parameters,
        };
        let realm = realm(parameters, request.tls.insecure).map_err(invalid)?;
        let wanted = FetchRequest {
            url: token_url(&realm, parameters, base),
            credentials: given,
            accept: None,
            part: None,
            is_verified: false,
            ..request.clone()
        };
        let answer = self.inner.open(wanted).await?;
        token(&document(answer, &realm).await?).map_err(invalid)
    }
}

/// Where tokens are to be had. Plain HTTP is for services on this very machine, and only when
/// certificates do not count.
fn realm(parameters: &str, is_insecure: bool) -> Result<String, RegistryError> {
    let realm = parameter(parameters, "realm").ok_or(RegistryError::NoRealm)?;
    let host = realm.split('/').nth(2).unwrap_or_default();
    let is_safe = realm.starts_with("https://")
        || (realm.starts_with("http://") && is_insecure && is_local(host));
    if is_safe {
        Ok(realm)
    } else {
        Err(RegistryError::Insecure)
    }
}

/// The request for a token that permits reading the repository at `base`.
pub(super) fn token_url(realm: &str, parameters: &str, base: &str) -> String {
    let scope = parameter(parameters, "scope").unwrap_or_else(|| {
        let repository = base.splitn(5, '/').nth(4).unwrap_or_default();
        format!("repository:{}:pull", repository.trim_end_matches('/'))
    });
    let mut url = realm.to_owned();
    for (name, value) in [
        ("service", parameter(parameters, "service")),
        ("scope", Some(scope)),
    ] {
        if let Some(value) = value {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(&value, &QUERY));
        }
    }
    url
}

/// The token in the answer of a token service.
fn token(answer: &[u8]) -> Result<Credentials, RegistryError> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| RegistryError::NoJson)?;
    ["token", "access_token"]
        .iter()
        .find_map(|key| answer.get(*key)?.as_str())
        .filter(|token| !token.is_empty())
        .map(|token| Credentials::Header(format!("Bearer {token}")))
        .ok_or(RegistryError::NoToken)
}

/// One `name="value"` of a challenge.
pub(super) fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut rest = parameters;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_start_matches([',', ' ']).trim();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = after;
    }
    None
}
