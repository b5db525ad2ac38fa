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
mod error;
mod last_deployment;
mod oci;
mod partition_image;
mod partition_table;
mod pipeline;
mod progress;
mod recognize;
mod request;
mod source;
mod write;

pub use checksum::{ChecksumError, DigestError, ListError};
pub use config_drive::ConfigDriveError;
pub use decode::DecodeError;
pub use decode::format::FormatError;
pub use deploy::{plan, prepare};
pub use deployment::Deployment;
pub use error::ImageError;
pub use last_deployment::LastDeployment;
pub use partition_image::PartitionImageError;
pub use partition_table::ImageTableError;
pub use request::{
    Checksums, CredentialsError, ImageRequest, InvalidImageInfo, PartitionRequest,
    ServerCredentials,
};
pub use source::{SourceError, document};

#[cfg(test)]
mod tests;
