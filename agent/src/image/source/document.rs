//! Small documents that are no images.

use std::path::PathBuf;

use super::{Source, patience, plain_request, shown};
use crate::config::Config;
use crate::failure::Failure;
use crate::system::System;
use crate::task::Task;

/// Whose certificates are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that the configuration trusts.
    Configured,
    /// Any.
    Anybody,
    /// Those of the authorities in this PEM file.
    Authorities(PathBuf),
}

/// Gets a document of at most `limit` bytes, with the patience that images get.
///
/// # Errors
/// The server does not give it, or it is larger.
pub async fn download(
    system: &System,
    config: &Config,
    url: &str,
    trust: &Trust,
    limit: usize,
    task: &Task,
) -> Result<Vec<u8>, Failure> {
    let mut request = plain_request(config);
    match trust {
        Trust::Configured => {}
        Trust::Anybody => request.tls.insecure = true,
        Trust::Authorities(file) => {
            request.tls.insecure = false;
            request.tls.ca_file = Some(file.clone());
        }
    }
    let shown = shown(url);
    let urls = [url.to_owned()];
    let fetch = system.fetch.as_ref();
    Source::open(fetch, task, &shown, &urls, request, patience(config))
        .await?
        .bytes(limit)
        .await
}
