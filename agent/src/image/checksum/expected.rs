//! Which digest an image must have: somebody always names one.

use std::borrow::Cow;

use super::{Expected, Selected, find_in_list, listed, select};
use crate::failure::Failure;
use crate::image::deployment::Deployment;
use crate::image::oci::{self, Registries};
use crate::image::request::{Checksums, ImageRequest};
use crate::image::source::{self, Patience, Source, download_failed};
use crate::system::fetch::Request;

/// The largest checksum file.
const CHECKSUM_FILE: usize = 1 << 20;

/// The digest that the image must have: from the request, from a checksum file, from the
/// registry. What a registry says is checked in any case.
pub(in crate::image) async fn expected(
    deployment: Deployment<'_>,
    request: &ImageRequest,
    registries: &Registries<'_>,
    template: &Request,
    patience: Patience,
) -> Result<Expected, Failure> {
    let named = named_by_registry(deployment, request, registries, template, patience).await?;
    match named {
        Some(named) if request.checksums == Checksums::default() => Ok(named),
        Some(named) => stated(deployment, request, template, patience)
            .await?
            .and(named),
        None => stated(deployment, request, template, patience).await,
    }
}

/// The digest of the first image in a registry among the URLs, if there is one.
async fn named_by_registry(
    deployment: Deployment<'_>,
    request: &ImageRequest,
    registries: &Registries<'_>,
    template: &Request,
    patience: Patience,
) -> Result<Option<Expected>, Failure> {
    let references = || request.urls.iter().filter(|url| oci::is_reference(url));
    if references().next().is_none() {
        return Ok(None);
    }
    let mut retries = patience.retries;
    loop {
        let mut failures = Vec::new();
        let mut is_hopeless = true;
        for url in references() {
            let wanted = Request {
                url: url.clone(),
                ..template.clone()
            };
            let asked = registries.digest(&wanted);
            match source::patiently(deployment.task, patience, &request.id, asked).await? {
                Ok(digest) => return Expected::of_blob(&digest).map(Some),
                Err(error) => {
                    is_hopeless &= !error.is_temporary();
                    failures.push(error.to_string());
                }
            }
        }
        if is_hopeless || retries == 0 {
            return Err(download_failed(&request.id, &failures.join("; ")));
        }
        retries -= 1;
        let pause = tokio::time::sleep(patience.interval);
        source::patiently(deployment.task, patience, &request.id, pause).await?;
    }
}

/// The digest that the request states, or that stands in the checksum file it names.
async fn stated(
    deployment: Deployment<'_>,
    request: &ImageRequest,
    template: &Request,
    patience: Patience,
) -> Result<Expected, Failure> {
    let md5_enabled = deployment.config.md5_enabled;
    let (url, algorithm) = match select(&request.checksums, &request.id, md5_enabled)? {
        Selected::Known(expected) => return Ok(expected),
        Selected::Listed { url, algorithm } => (url, algorithm),
    };
    let shown = source::shown(&url);
    let source = Source::open(
        deployment.system.fetch.as_ref(),
        deployment.task,
        &shown,
        std::slice::from_ref(&url),
        Request {
            is_verified: false,
            ..template.clone()
        },
        patience,
    )
    .await?;
    let list = source.bytes(CHECKSUM_FILE).await?;
    let list = String::from_utf8_lossy(&list);
    let names: Vec<_> = request.urls.iter().flat_map(|url| names(url)).collect();
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    let digest = find_in_list(&list, &names, algorithm, md5_enabled)
        .map_err(|reason| download_failed(&shown, &reason))?;
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
