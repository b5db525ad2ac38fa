//! Bytes: fetch, verify, decode, write.
//!
//! In comes Ironic's `image_info`, out comes a disk that boots, or a disk that has no
//! partition table and an error that says why. [`deploy`] is the order of it all, and
//! [`pipeline`] draws the way of the bytes.

mod block;
pub mod bootc;
mod checksum;
mod config_drive;
mod decode;
mod deploy;
mod deployment;
mod last_deployment;
mod oci;
mod partition_image;
mod partition_table;
mod pipeline;
mod progress;
mod request;
mod source;
mod write;

pub use deploy::{plan, prepare};
pub use deployment::Deployment;
pub use last_deployment::Installed;
pub use request::validate;
pub use source::document;

#[cfg(test)]
mod tests;
