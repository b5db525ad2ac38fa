//! On-disk formats: bytes in, values out.
//!
//! Nothing here opens a file, writes or logs. A reader takes a [`Source`], which is bytes at
//! offsets, and returns what these bytes mean; what fits
//! into memory may come as a slice. The bytes come from untrusted disks
//! and images: no reader trusts a number, and every loop has a bound.
//!
//! The crate lies below all others of the workspace and imports none of them.

mod checksum;
pub mod executable;
pub mod filesystem;
#[cfg(test)]
mod fuzz;
mod identity;
pub mod image_file;
pub mod partition_table;
pub mod raid;
pub mod read;
pub mod signature;
pub mod size;
mod text;
mod volume;
mod window;

pub use identity::FormatIdentity;
pub use read::Source;
pub use text::serial_number;
