//! Disk images in registries: `oci://registry/repository:tag`.
//!
//! [`Registries`] is a [`Fetch`] that knows one scheme more. It reads manifests until it has
//! found the disk image, answers a registry's authentication challenge, and asks for a new token
//! when the old one ends in the middle of a download. The image's digest comes with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::checksum::is_digest_of;
use crate::system::fetch::{Credentials, Fetch, FetchError, FetchRequest, FetchResponse};

mod error;
mod manifest;
mod reference;
mod token;

use error::RegistryError;
use manifest::{Layer, ManifestContent, ManifestError};
use reference::{ImageVersion, Reference};

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
    images: Mutex<HashMap<String, RegistryImage>>,
}

/// A disk image in a registry.
#[derive(Debug, Clone)]
struct RegistryImage {
    /// The repository in the registry's API, with a slash at the end.
    base: String,
    layer: Layer,
}

impl Fetch for Registries<'_> {
    fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>> {
        if !is_reference(&request.url) {
            return self.inner.open(request);
        }
        Box::pin(async move {
            let image = self.image(&request).await?;
            let url = format!("{}blobs/{}", image.base, image.layer.digest);
            let answer = self
                .get(&image.base, FetchRequest { url, ..request })
                .await?;
            if let (200, Some(length), Some(size)) =
                (answer.status, answer.length, image.layer.size)
                && length != size
            {
                let sent = length;
                return Err(RegistryError::Length { sent, size }.at(&image.base));
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
    /// There is no such image, or no registry answers.
    pub(super) async fn digest(&self, request: &FetchRequest) -> Result<String, FetchError> {
        self.image(request).await.map(|image| image.layer.digest)
    }

    async fn image(&self, request: &FetchRequest) -> Result<RegistryImage, FetchError> {
        if let Some(known) = lock(&self.images).get(&request.url) {
            return Ok(known.clone());
        }
        let reference = Reference::parse(&request.url);
        let reference = reference.map_err(|error| RegistryError::from(error).at(&request.url))?;
        let base = reference.base(request.tls.insecure);
        let name = match &reference.version {
            ImageVersion::Tag(name) | ImageVersion::Digest(name) => name,
        };
        let document = self.manifest(&base, name, request).await?;
        let no_image = |error: ManifestError| RegistryError::from(error).at(&request.url);
        let content = manifest::read(&document, self.architecture).map_err(no_image)?;
        let layer = match content {
            ManifestContent::Image(layer) => layer,
            ManifestContent::Manifests(digests) => self
                .first_image(&base, &digests, request)
                .await?
                .map_err(no_image)?,
        };
        let image = RegistryImage { base, layer };
        lock(&self.images).insert(request.url.clone(), image.clone());
        Ok(image)
    }

    /// The inner error is why the last manifest is not an image.
    async fn first_image(
        &self,
        base: &str,
        digests: &[String],
        request: &FetchRequest,
    ) -> Result<Result<Layer, ManifestError>, FetchError> {
        let mut reason = ManifestError::EmptyIndex;
        for digest in digests {
            let document = self.manifest(base, digest, request).await?;
            match manifest::read(&document, self.architecture) {
                Ok(ManifestContent::Image(layer)) => return Ok(Ok(layer)),
                // An index of indexes may be a circle.
                Ok(ManifestContent::Manifests(_)) => reason = ManifestError::NestedIndex,
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
        request: &FetchRequest,
    ) -> Result<Vec<u8>, FetchError> {
        let url = format!("{base}manifests/{name}");
        let wanted = FetchRequest {
            url: url.clone(),
            accept: Some(manifest::TYPES),
            part: None,
            is_verified: false,
            ..request.clone()
        };
        let answer = self.get(base, wanted).await?;
        let document = document(answer, &url).await?;
        if name.contains(':') && !is_digest_of(name, &document) {
            return Err(RegistryError::Digest.at(&url));
        }
        Ok(document)
    }

    /// One request to a repository, and another when the registry asks for authentication.
    async fn get(
        &self,
        base: &str,
        mut request: FetchRequest,
    ) -> Result<FetchResponse, FetchError> {
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
            // The caller made the header and must make a new one.
            return Ok(answer);
        }
        let proof = self.authenticate(challenge, given, base, &request).await?;
        lock(&self.proofs).insert(base.to_owned(), proof.clone());
        request.credentials = Some(proof);
        self.inner.open(request).await
    }
}

/// A poisoned cache is still a cache.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All of a small document, which must have come with status 200.
async fn document(mut answer: FetchResponse, url: &str) -> Result<Vec<u8>, FetchError> {
    let limit = if answer.status == 200 {
        DOCUMENT
    } else {
        ERROR_BODY
    };
    let mut bytes = Vec::new();
    while let Some(piece) = answer.body.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > limit {
            if answer.status == 200 {
                return Err(RegistryError::TooLarge { limit }.at(url));
            }
            bytes.truncate(limit);
            break;
        }
    }
    match answer.status {
        200 => Ok(bytes),
        status => {
            let body = String::from_utf8_lossy(&bytes).trim().to_owned();
            Err(RegistryError::Status { status, body }.at(url))
        }
    }
}

#[cfg(test)]
mod tests;
