//! The protocol is locked: only additive changes pass.

#[test]
fn the_descriptor_set_decodes() {
    use prost::Message;
    let set =
        prost_types::FileDescriptorSet::decode(ironic_agent_protocol::FILE_DESCRIPTOR_SET).unwrap();
    assert!(
        set.file
            .iter()
            .any(|file| file.package() == "ironic.agent.v1")
    );
}
