//! The machines' door: the gRPC `ConductorService`.
