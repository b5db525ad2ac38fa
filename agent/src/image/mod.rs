//! Bytes: fetch, verify, decode, write.
