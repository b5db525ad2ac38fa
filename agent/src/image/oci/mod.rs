//! Disk images in registries: `oci://registry/repository:tag`.
//!
//! [`Registries`] is a [`Fetch`] that knows one scheme more. It reads manifests until it has
//! found the disk image, answers a registry's question who we are, and asks for a new token
//! when the old one ends in the middle of a download. The image's digest comes with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::checksum::is_digest_of;
use crate::system::fetch::{Credentials, Fetch, FetchError, Request, Response};

mod manifest;
mod reference;

use manifest::{Found, Layer};
use reference::{Reference, Version, is_local};

/// The largest manifest or token.
const DOCUMENT: usize = 4 << 20;
/// How much of a refusal is shown.
const ERROR_BODY: usize = 1024;

/// Whether a URL is that of an image in a registry.
pub(super) fn is_reference(url: &str) -> bool {
    url.get(..6)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("oci://"))
}

/// Gets images from registries, and everything else as before.
#[derive(Debug)]
pub(super) struct Registries<'a> {
    inner: &'a dyn Fetch,
    /// As `uname -m` has it.
    architecture: &'static str,
    /// Proofs that a registry gave us, by repository.
    proofs: Mutex<HashMap<String, Credentials>>,
    /// What references mean, once they were looked up.
    images: Mutex<HashMap<String, Image>>,
}

/// A disk image in a registry.
#[derive(Debug, Clone)]
struct Image {
    /// The repository in the registry's API, with a slash at the end.
    base: String,
    layer: Layer,
}

impl Fetch for Registries<'_> {
    fn open(&self, request: Request) -> BoxFuture<'_, Result<Response, FetchError>> {
        if !is_reference(&request.url) {
            return self.inner.open(request);
        }
        Box::pin(async move {
            let image = self.image(&request).await?;
            let url = format!("{}blobs/{}", image.base, image.layer.digest);
            let answer = self.get(&image.base, Request { url, ..request }).await?;
            if let (200, Some(length), Some(size)) =
                (answer.status, answer.length, image.layer.size)
                && length != size
            {
                return Err(FetchError::Request {
                    url: image.base,
                    reason: format!(
                        "the registry sends {length} bytes for an image of {size} bytes"
                    ),
                });
            }
            Ok(answer)
        })
    }
}

impl<'a> Registries<'a> {
    pub(super) fn new(inner: &'a dyn Fetch) -> Self {
        Self {
            inner,
            architecture: std::env::consts::ARCH,
            proofs: Mutex::default(),
            images: Mutex::default(),
        }
    }

    /// The digest of the image that `request.url` refers to, as `sha256:<digits>`.
    ///
    /// # Errors
    /// There is no such image, or nobody answers.
    pub(super) async fn digest(&self, request: &Request) -> Result<String, FetchError> {
        self.image(request).await.map(|image| image.layer.digest)
    }

    async fn image(&self, request: &Request) -> Result<Image, FetchError> {
        if let Some(known) = lock(&self.images).get(&request.url) {
            return Ok(known.clone());
        }
        let invalid = |reason: String| FetchError::Request {
            url: request.url.clone(),
            reason,
        };
        let reference = Reference::parse(&request.url).map_err(invalid)?;
        let base = reference.base(request.tls.insecure);
        let name = match &reference.version {
            Version::Tag(name) | Version::Digest(name) => name,
        };
        let document = self.manifest(&base, name, request).await?;
        let layer = match manifest::read(&document, self.architecture).map_err(invalid)? {
            Found::Image(layer) => layer,
            Found::Manifests(digests) => self
                .first_image(&base, &digests, request)
                .await?
                .map_err(invalid)?,
        };
        let image = Image { base, layer };
        lock(&self.images).insert(request.url.clone(), image.clone());
        Ok(image)
    }

    /// The inner error is why the last manifest is no image.
    async fn first_image(
        &self,
        base: &str,
        digests: &[String],
        request: &Request,
    ) -> Result<Result<Layer, String>, FetchError> {
        let mut reason = "the index is empty".to_owned();
        for digest in digests {
            let document = self.manifest(base, digest, request).await?;
            match manifest::read(&document, self.architecture) {
                Ok(Found::Image(layer)) => return Ok(Ok(layer)),
                // An index of indexes may be a circle.
                Ok(Found::Manifests(_)) => "an index points to another".clone_into(&mut reason),
                Err(error) => reason = error,
            }
        }
        Ok(Err(reason))
    }

    /// A manifest by tag or by digest; by digest it is checked.
    async fn manifest(
        &self,
        base: &str,
        name: &str,
        request: &Request,
    ) -> Result<Vec<u8>, FetchError> {
        let url = format!("{base}manifests/{name}");
        let wanted = Request {
            url: url.clone(),
            accept: Some(manifest::TYPES),
            part: None,
            is_verified: false,
            ..request.clone()
        };
        let answer = self.get(base, wanted).await?;
        let document = document(answer, &url).await?;
        if name.contains(':') && !is_digest_of(name, &document) {
            let reason = "the registry's answer does not have the digest it was asked for";
            return Err(FetchError::Request {
                url,
                reason: reason.to_owned(),
            });
        }
        Ok(document)
    }

    /// One request to a repository, and another when the registry wants to know who we are.
    async fn get(&self, base: &str, mut request: Request) -> Result<Response, FetchError> {
        let given = request.credentials.take();
        // A header was made for this registry; a password is kept until it is asked for.
        let ready = given
            .clone()
            .filter(|given| matches!(given, Credentials::Header(_)));
        request.credentials = lock(&self.proofs).get(base).cloned().or(ready);
        let answer = self.inner.open(request.clone()).await?;
        let Some(challenge) = answer.challenge.as_deref().filter(|_| answer.status == 401) else {
            return Ok(answer);
        };
        if matches!(given, Some(Credentials::Header(_))) {
            // Whoever made the header must make a new one.
            return Ok(answer);
        }
        let proof = self.authenticate(base, challenge, given, &request).await?;
        lock(&self.proofs).insert(base.to_owned(), proof.clone());
        request.credentials = Some(proof);
        self.inner.open(request).await
    }

    /// Answers a challenge (RFC 7235, and the token service of registries).
    async fn authenticate(
        &self,
        base: &str,
        challenge: &str,
        given: Option<Credentials>,
        request: &Request,
    ) -> Result<Credentials, FetchError> {
        let invalid = |reason: &str| FetchError::Request {
            url: base.to_owned(),
            reason: reason.to_owned(),
        };
        let (scheme, parameters) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return given.ok_or_else(|| {
                invalid("the registry wants a user and a password (image_server_user)")
            });
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(invalid("the registry wants a proof that is not known here"));
        }
        let realm = parameter(parameters, "realm")
            .ok_or_else(|| invalid("the registry does not say where tokens are to be had"))?;
        let host = realm.split('/').nth(2).unwrap_or_default();
        let is_safe = realm.starts_with("https://")
            || (realm.starts_with("http://") && request.tls.insecure && is_local(host));
        if !is_safe {
            return Err(invalid("the registry's token service does not use https"));
        }
        let scope = parameter(parameters, "scope").unwrap_or_else(|| {
            let repository = base.splitn(5, '/').nth(4).unwrap_or_default();
            format!("repository:{}:pull", repository.trim_end_matches('/'))
        });
        let mut url = realm.clone();
        for (name, value) in [
            ("service", parameter(parameters, "service")),
            ("scope", Some(scope)),
        ] {
            if let Some(value) = value {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(name);
                url.push('=');
                url.push_str(&encoded(&value));
            }
        }
        let wanted = Request {
            url,
            credentials: given,
            accept: None,
            part: None,
            is_verified: false,
            ..request.clone()
        };
        let answer = self.inner.open(wanted).await?;
        let token: Value = serde_json::from_slice(&document(answer, &realm).await?)
            .map_err(|_| invalid("the token service's answer is no JSON"))?;
        ["token", "access_token"]
            .iter()
            .find_map(|key| token.get(*key)?.as_str())
            .filter(|token| !token.is_empty())
            .map(|token| Credentials::Header(format!("Bearer {token}")))
            .ok_or_else(|| invalid("the token service's answer holds no token"))
    }
}

/// A poisoned cache is still a cache.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All of a small document, which must have come with status 200.
async fn document(mut answer: Response, url: &str) -> Result<Vec<u8>, FetchError> {
    let limit = if answer.status == 200 {
        DOCUMENT
    } else {
        ERROR_BODY
    };
    let invalid = |reason: String| FetchError::Request {
        url: url.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    while let Some(piece) = answer.body.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > limit {
            if answer.status == 200 {
                return Err(invalid(format!("it is larger than {limit} bytes")));
            }
            bytes.truncate(limit);
            break;
        }
    }
    match answer.status {
        200 => Ok(bytes),
        status => {
            let said = String::from_utf8_lossy(&bytes);
            let reason = format!("the registry answered {status}: {}", said.trim());
            Err(if status >= 500 || status == 429 {
                FetchError::Broken {
                    url: url.to_owned(),
                    reason,
                }
            } else {
                invalid(reason)
            })
        }
    }
}

/// One `name="value"` of a challenge.
fn parameter(parameters: &str, name: &str) -> Option<String> {
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

/// What may mean something in a query.
const MEANINGFUL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, MEANINGFUL).to_string()
}

#[cfg(test)]
mod tests;
