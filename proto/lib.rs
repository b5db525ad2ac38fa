//! The protocol of ironic-agent, generated from `proto/ironic/agent/v1`.
//!
//! [`v1::command_service_server::CommandService`] is served by the agent and called by the
//! shim or by an orchestrator. [`v1::conductor_service_server::ConductorService`] is served
//! by the shim or by an orchestrator and called by the agent. [`v1::fleet_service_server::FleetService`]
//! is served by a shim that is a gateway and called by orchestrators and operators.
//! [`v1::hardware_manager_service_server::HardwareManagerService`] is served by a hardware
//! manager that is a program of its own and called by the agent. The documents are the
//! `.proto` files. [`verbs`] is what they note about the commands, as a table, [`roles`] what callers need for them, [`codec`] how messages
//! become bytes; more logic than that is not here.

/// Messages and services of package `ironic.agent.v1`.
#[allow(
    missing_docs,
    clippy::all,
    reason = "generated from the documented .proto files"
)]
pub mod v1 {
    tonic::include_proto!("ironic.agent.v1");
}

pub mod codec;
mod document;
pub mod roles;
pub mod verbs;

/// The serialised `google.protobuf.FileDescriptorSet` of this package and its imports,
/// without comments: what server reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));
