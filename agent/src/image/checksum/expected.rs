//! Which digest an image must have; there is always one.

use std::borrow::Cow;

use super::digest::Expected;
use super::error::ChecksumError;
use super::list::find;
use super::select::{Selected, listed, select};

use crate::image::oci::{self, Registries};
use crate::image::request::{Checksums, ImageRequest};
use crate::image::source::{Download, SourceError, shown};
use crate::system::fetch::FetchRequest;

/// The largest checksum file.
const CHECKSUM_FILE: usize = 1 << 20;

/// The digest that the image must have: from the request, from a checksum file, from the
/// registry. What a registry says is checked in any case.
pub(in crate::image) async fn expected(
    request: &ImageRequest,
    registries: &Registries<'_>,
    download: &Download<'_>,
) -> Result<Expected, ChecksumError> {
    let named = named_by_registry(request, registries, download).await?;
    match named {
        Some(named) if request.checksums == Checksums::default() => Ok(named),
        Some(named) => stated(request, download).await?.and(named),
        None => stated(request, download).await,
    }
}

/// The digest of the first image in a registry among the URLs, if there is one.
async fn named_by_registry(
    request: &ImageRequest,
    registries: &Registries<'_>,
    download: &Download<'_>,
) -> Result<Option<Expected>, ChecksumError> {
    let references = || request.urls.iter().filter(|url| oci::is_reference(url));
    if references().next().is_none() {
        return Ok(None);
    }
    let id = &request.id;
    let mut retries = download.retry.retries;
    loop {
        let mut failures = Vec::new();
        let mut is_hopeless = true;
        for url in references() {
            let wanted = FetchRequest {
                url: url.clone(),
                ..download.template.clone()
            };
            let asked = registries.digest(&wanted);
            match download.within(id, asked).await? {
                Ok(digest) => return Expected::of_blob(&digest).map(Some),
                Err(error) => {
                    is_hopeless &= !error.is_temporary();
                    failures.push(error);
                }
            }
        }
        if is_hopeless || retries == 0 {
            let id = id.clone();
            return Err(SourceError::Registry { id, failures }.into());
        }
        retries -= 1;
        let pause = tokio::time::sleep(download.retry.interval);
        download.within(id, pause).await?;
    }
}

/// The digest that the request states, or that stands in the checksum file it names.
async fn stated(
    request: &ImageRequest,
    download: &Download<'_>,
) -> Result<Expected, ChecksumError> {
    let md5_enabled = request.md5_enabled;
    let (url, algorithm) = match select(&request.checksums, &request.id, md5_enabled)? {
        Selected::Known(expected) => return Ok(expected),
        Selected::Listed { url, algorithm } => (url, algorithm),
    };
    let file = shown(&url);
    // A checksum file is small, and nothing else verifies it.
    let mut download = download.clone();
    download.template.is_verified = false;
    let list = download.open(&file, &[url]).await?;
    let list = list.bytes(CHECKSUM_FILE).await?;
    let list = String::from_utf8_lossy(&list);
    let names: Vec<_> = request.urls.iter().flat_map(|url| names(url)).collect();
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    let digest = find(&list, &names, algorithm, md5_enabled)
        .map_err(|source| ChecksumError::File { file, source })?;
    listed(&digest, algorithm, md5_enabled)
}

/// The names that a checksum file may give to the last part of a URL's path: as it stands
/// there, and with its percent-encoding undone.
fn names(url: &str) -> [Cow<'_, str>; 2] {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').next().unwrap_or(path);
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    [Cow::Borrowed(name), decoded]
}
