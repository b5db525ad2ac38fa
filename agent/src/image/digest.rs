//! Which digest an image must have: somebody always names one.

use super::checksum::{self, Expected, Selected};
use super::oci::{self, Registries};
use super::request::{Checksums, ImageRequest};
use super::source::{self, Patience, Source};
use super::{Deployment, download_failed};
use crate::failure::Failure;
use crate::system::fetch::Request;

/// The largest checksum file.
const CHECKSUM_FILE: usize = 1 << 20;

/// The digest that the image must have: from the request, from a checksum file, from the
/// registry. What a registry says is checked in any case.
pub(super) async fn expected(
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
    let (url, algorithm) = match checksum::select(&request.checksums, &request.id, md5_enabled)? {
        Selected::Known(expected) => return Ok(expected),
        Selected::Listed { url, algorithm } => (url, algorithm),
    };
    let shown = source::shown(&url);
    let source = Source::open(
        deployment.system.fetch.as_ref(),
        deployment.task,
        &shown,
        std::slice::from_ref(&url),
        template.clone(),
        patience,
    )
    .await?;
    let list = source.bytes(CHECKSUM_FILE).await?;
    let list = String::from_utf8_lossy(&list);
    let names: Vec<&str> = request.urls.iter().map(|url| file_name(url)).collect();
    let digest = checksum::find_in_list(&list, &names, algorithm, md5_enabled)
        .map_err(|reason| download_failed(&shown, &reason))?;
    checksum::listed(&digest, algorithm, md5_enabled)
}

/// The last part of a URL's path.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}
