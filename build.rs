//! Compiles `proto/` without a `protoc` binary and keeps the descriptor set, which
//! reflection serves and the lock test compares.

use std::path::PathBuf;

use prost::Message;

const PROTOS: [&str; 3] = [
    "ironic/agent/v1/command_service.proto",
    "ironic/agent/v1/conductor_service.proto",
    "ironic/agent/v1/hardware_manager_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    // Comments would triple the set that every agent carries for reflection.
    let mut published = descriptors.clone();
    for file in &mut published.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("descriptor_set.bin"), published.encode_to_vec())?;

    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
