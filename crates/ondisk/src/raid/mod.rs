//! Members of arrays: Linux RAID, and the formats of firmware RAID that Linux can run.

pub(crate) mod firmware;
pub mod linux;
