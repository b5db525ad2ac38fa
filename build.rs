//! Compiles `proto/` without a `protoc` binary, keeps the descriptor set, which reflection
//! serves and the lock test compares, and generates the tables of the verbs and of the roles.

use std::path::PathBuf;

use prost::Message;

#[path = "proto/generate_verbs/mod.rs"]
mod generate_verbs;

const PROTOS: [&str; 5] = [
    "ironic/agent/v1/command_service.proto",
    "ironic/agent/v1/conductor_service.proto",
    "ironic/agent/v1/fleet_service.proto",
    "ironic/agent/v1/hardware_manager_service.proto",
    "ironic/agent/v1/identity_service.proto",
];

/// Notes for the generator and what they build on: no part of what is on the wire.
const NOTES: [&str; 2] = [
    "ironic/agent/v1/verb.proto",
    "google/protobuf/descriptor.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(PROTOS)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let verbs = generate_verbs::generate(&compiler.descriptor_pool())?;
    std::fs::write(out.join("verbs.rs"), verbs)?;
    let methods = generate_verbs::generate_methods(&compiler.descriptor_pool())?;
    std::fs::write(out.join("methods.rs"), methods)?;

    let mut descriptors = compiler.file_descriptor_set();
    descriptors
        .file
        .retain(|file| !NOTES.contains(&file.name()));
    for file in &mut descriptors.file {
        file.dependency
            .retain(|name| !NOTES.contains(&name.as_str()));
    }

    // The reference in docs/api.md is made of these.
    let mut documented = descriptors.clone();
    documented
        .file
        .retain(|file| file.package() == "ironic.agent.v1");
    let documented = documented.encode_to_vec();
    std::fs::write(out.join("documented_descriptor_set.bin"), documented)?;

    // Comments would triple the set that every agent carries for reflection.
    let mut published = descriptors.clone();
    for file in &mut published.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("descriptor_set.bin"), published.encode_to_vec())?;

    tonic_prost_build::configure()
        .codec_path("crate::codec::SmallBuffers")
        // What a tunnel carries is passed on, not copied.
        .bytes(".ironic.agent.v1.AttachRequest.data")
        .bytes(".ironic.agent.v1.AttachResponse.data")
        .compile_fds(descriptors)?;
    Ok(())
}
