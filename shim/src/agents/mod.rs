//! A placeholder of minutes: the owner of this room is about to push it.
#![allow(missing_docs, clippy::all, reason = "placeholder")]
use ironic_agent::config::{Endpoint, Secret};
use std::path::PathBuf;
#[derive(Debug, Clone, Default)]
pub struct Roster(());
#[derive(Debug)]
pub enum Place {
    Root,
}
#[derive(Debug, Default)]
pub struct Identity {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}
#[derive(Debug)]
pub struct Registration {
    pub endpoint: Endpoint,
    pub identity: Identity,
    pub token: Option<Secret>,
    pub version: String,
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct InvalidEndpoint;
impl Roster {
    pub fn register(&self, _: Place, _: Registration) -> Result<u64, InvalidEndpoint> {
        Ok(1)
    }
}
