//! Shaping disks: tables, metadata, boot entries.
