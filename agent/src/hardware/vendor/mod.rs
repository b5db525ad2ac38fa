//! Managers of one vendor's hardware.

pub mod intel_cna;
pub mod mellanox;
