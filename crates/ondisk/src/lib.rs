//! On-disk formats: bytes in, values out.
//!
//! Nothing here opens a file, writes or logs. A reader takes a [`Source`], which is bytes at
//! offsets, and returns what these bytes mean. The bytes come from disks and images that
//! strangers made: no reader trusts a number, and every loop has a bound.
//!
//! The crate lies below all others of the workspace and imports none of them.

pub mod read;
pub mod size;

pub use read::Source;
