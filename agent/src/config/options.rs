//! The options of the agent, a row for each. The command line, the files, the kernel command
//! line, `--help` and the reference page are made from the rows; the defaults stand in
//! `AgentConfig::default`, and what a value must fulfil stands in its row.

use std::path::Path;

use ironic_options::{Opt, Program, Settings, Tool, opt, section};
use ironic_program::CommonSettings;
use ironic_text::is_host;

use super::AgentConfig;

const HOST: &str = "an address or a host name of at most 253 letters, digits and .:_-";
const EXCLUSIVE: &str = "the kernel says whether a disk is in use; it is asked for two seconds";
const NO_CONVERT: &str = "images are converted while they are written, in bounded memory";

/// Tools that are part of the program.
const TOOLS: &[Tool] = &[
    Tool {
        name: "write-image",
        about: "Writes an image to a disk without any conductor; see write-image --help.",
    },
    Tool {
        name: "network",
        about: "Brings up the network of the ramdisk and keeps it up; see network --help.",
    },
    Tool {
        name: "collect-introspection-data",
        about: "Reports what the machine is to Ironic, once or again and again; it takes the \
                options of the agent.",
    },
];

impl Settings for AgentConfig {
    const PROGRAM: Program = Program {
        name: "ironic-agent",
        about: "Provisions the machine it runs on; commands come over gRPC.",
        tools: TOOLS,
        sources: ironic_program::SOURCES,
        version: ironic_program::version(),
        file: ironic_program::DEFAULT_FILE,
        directories: ironic_program::DEFAULT_DIRECTORIES,
    };

    fn defaults(_: &Path) -> Self {
        Self::default()
    }

    fn options() -> Vec<Opt<Self>> {
        let common = CommonSettings::options().into_iter().map(Opt::within);
        common
            .chain(section("This program", Self::program_options()))
            .chain(section("Ironic", Self::ironic_options()))
            .chain(section("Inspection", Self::inspection_options()))
            .chain(section("Machine", Self::machine_options()))
            .chain(section("Images", Self::image_options()))
            .chain(section("Disks", Self::disk_options()))
            .chain(section("Containers", Self::container_options()))
            .chain(ironic_program::not_offered())
            .collect()
    }
}

#[rustfmt::skip]
impl AgentConfig {
    fn program_options() -> Vec<Opt<Self>> {
        vec![
            opt!(state_dir, "Directory for what must survive a restart of the program but not of the machine."),
            opt!(grpc_listen, "Where the agent serves gRPC: ADDRESS:PORT or unix:PATH; with none it opens no port and attaches to the server that option conductor names.").kernel("ipa-grpc-listen"),
            opt!(grpc_callback_url, "The address that the server of ConductorService is given to call the agent: http:// or https://. When not given, the address and port of grpc_listen; if it listens at every address, the one from which it reaches that server.").kernel("ipa-grpc-callback-url"),
            opt!(conductor, "Where the agent finds its ConductorService, the shim's, a gateway's or an orchestrator's: http://, https:// or unix:PATH; several are tried in random order.").kernel("ipa-conductor"),
            opt!(conductor_ca_sha256, "SHA-256 of the certificate of the CA that the server of ConductorService shows: what it is known by, in place of grpc_tls_ca_file.").kernel("ipa-conductor-ca-sha256"),
            opt!(join_token, "What proves to a gateway which node this machine is, for a certificate of its own.").kernel("ipa-join-token").secret().word("TOKEN"),
            Opt::file_of("join_token", "join_token_file", "File that holds join_token: a command line can be read by every user of the machine."),
            opt!(hardware_managers_dir, "Directory of hardware managers that are programs of their own.").word("DIR"),
            opt!(standalone, "No lookup and no heartbeat: commands come from elsewhere."),
            opt!(simulate, "Use the files of this directory as the machine's disks.").word("DIR"),
        ]
    }

    fn ironic_options() -> Vec<Opt<Self>> {
        vec![
            opt!(lookup_timeout, "Time limit for the whole lookup; then the agent exits with status 1.").kernel("ipa-lookup-timeout"),
            opt!(lookup_interval, "Shortest wait between two lookups; waits grow from there.").kernel("ipa-lookup-interval"),
        ]
    }

    fn inspection_options() -> Vec<Opt<Self>> {
        vec![
            opt!(inspection_dhcp_wait_timeout, "How long the report waits for addresses; 0 does not wait.").kernel("ipa-inspection-dhcp-wait-timeout"),
            opt!(inspection_dhcp_all_interfaces, "Wait for all interfaces, not only for the one that booted.").kernel("ipa-inspection-dhcp-all-interfaces"),
            opt!(lldp_timeout, "How long LLDP packets are waited for.").kernel("ipa-lldp-timeout"),
            opt!(collect_lldp, "LLDP on every listing of interfaces.").kernel("ipa-collect-lldp"),
            opt!(introspection_daemon, "collect-introspection-data reports again and again."),
            opt!(introspection_daemon_post_interval, "Pause between two of these reports."),
        ]
    }

    fn machine_options() -> Vec<Opt<Self>> {
        vec![
            opt!(hardware_initialization_delay, "Pause before hardware is looked at.").kernel("ipa-hardware-initialization-delay"),
            opt!(disk_wait_attempts, "How often a suitable disk is looked for.").kernel("ipa-disk-wait-attempts"),
            opt!(disk_wait_delay, "Pause between two of these looks.").kernel("ipa-disk-wait-delay"),
            opt!(ntp_server if |server| server.as_deref().is_none_or(is_host), "Server to set the clock by.").kernel("ipa-ntp-server").expecting(HOST).word("HOST"),
            opt!(fail_if_clock_not_set, "A clock that cannot be set is a failure."),
            opt!(enable_vlan_interfaces, "VLAN interfaces to bring up.").kernel("ipa-enable-vlan-interfaces"),
            opt!(inject_files_priority if |priority| *priority <= 99, "Priority of the inject_files step, 0 is off.").kernel("ipa-inject-files-priority").expecting("a whole number from 0 to 99"),
            opt!(guard_special_filesystems, "Do not erase file systems that belong to clusters.").kernel("ipa-guard-special-filesystems").called("guard-special-filesystems"),
            Opt::switch_not_offered("", "enable-discard-erase", "a drive may ignore a discard, so it is not erasing"),
            opt!(ignore_bootloader_failure, "Continue when no boot loader can be installed.").kernel("ipa-ignore-bootloader-failure"),
            opt!(enable_bios_bootloader_install, "Run the GRUB of partition images. A lookup may switch it on.").kernel("ipa-enable-bios-bootloader-install"),
        ]
    }

    fn image_options() -> Vec<Opt<Self>> {
        vec![
            opt!(image_server_user, "User for image servers."),
            opt!(image_server_password, "Password for image servers.").secret(),
            Opt::file_of("image_server_password", "image_server_password_file", "File that holds image_server_password."),
            opt!(image_server_auth_strategy, "How to log in to image servers."),
            opt!(image_download_connection_timeout if |time| time.as_secs() >= 1, "Time limit for connecting and for each read.").kernel("ipa-image-download-connection-timeout").expecting("a number of seconds, at least 1"),
            opt!(image_download_connection_retries, "Further attempts after the first.").kernel("ipa-image-download-connection-retries"),
            opt!(image_download_connection_retry_interval, "Pause between two attempts.").kernel("ipa-image-download-connection-retry-interval"),
            opt!(image_download_max_duration, "Limit for a whole download, 0 means no limit.").kernel("ipa-image-download-max-duration"),
            opt!(md5_enabled, "MD5 is good enough as a checksum. A lookup decides."),
            opt!(disable_deep_image_inspection, "Do not compare image content with the declared format. A lookup decides."),
            opt!(permitted_image_formats, "Formats that may be written. A lookup decides."),
            opt!(config_drive_rebuild, "Rewrite the config drive as a FAT file system."),
            opt!(disable_bootc_deploy, "Do not deploy bootable containers."),
        ]
    }

    fn disk_options() -> Vec<Opt<Self>> {
        vec![
            opt!(disk_utils.efi_system_partition_size, "Size of an EFI system partition in MiB.").group("disk_utils"),
            opt!(disk_utils.bios_boot_partition_size, "Size of a BIOS boot partition in MiB.").group("disk_utils"),
            opt!(disk_utils.partition_detection_attempts, "How often a new partition is looked for.").group("disk_utils"),
            Opt::not_offered("disk_utils", "partprobe_attempts", "the agent announces partitions to the kernel directly, for two seconds while a disk is busy"),
            Opt::not_offered("disk_utils", "dd_block_size", "images are written without dd"),
            Opt::not_offered("disk_utils", "image_convert_memory_limit", NO_CONVERT),
            Opt::not_offered("disk_utils", "image_convert_attempts", NO_CONVERT),
            Opt::not_offered("disk_partitioner", "check_device_interval", EXCLUSIVE),
            Opt::not_offered("disk_partitioner", "check_device_max_retries", EXCLUSIVE),
        ]
    }

    fn container_options() -> Vec<Opt<Self>> {
        vec![
            opt!(container.allow_arbitrary_containers, "Any image may run.").group("container"),
            opt!(container.allowed_containers, "Images that may run.").group("container"),
            opt!(container.container_steps_file, "File that describes steps in containers.").group("container"),
            opt!(container.runner, "Program that runs containers.").group("container"),
            opt!(container.pull_options, "Arguments for pulling.").group("container"),
            opt!(container.run_options, "Arguments for running.").group("container"),
        ]
    }
}
