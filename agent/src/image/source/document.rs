//! Small documents from the web, such as files to inject, got as images are.

use std::path::PathBuf;

use super::{Download, SourceError, shown};
use crate::config::AgentConfig;
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

/// A document that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The authorities that the server's certificate is checked against.
    pub trust: &'a Trust,
    /// The most bytes that it may have.
    pub limit: usize,
}

/// Gets a document, with the retries that images get.
///
/// # Errors
/// The server does not give it, or it is larger.
pub async fn download(
    system: &System,
    config: &AgentConfig,
    document: Document<'_>,
    task: &Task,
) -> Result<Vec<u8>, SourceError> {
    let mut download = Download::new(system.fetch.as_ref(), config, task);
    let tls = &mut download.template.tls;
    match document.trust {
        Trust::Configured => {}
        Trust::Anybody => tls.insecure = true,
        Trust::Authorities(file) => {
            tls.insecure = false;
            tls.ca_file = Some(file.clone());
        }
    }
    let source = download
        .open(&shown(document.url), &[document.url.to_owned()])
        .await?;
    source.bytes(document.limit).await
}
