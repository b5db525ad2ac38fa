# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ironic_agent_global_optspecs
    string join \n config-file= config-dir= debug= nodebug grpc_tls_cert_file= grpc_tls_key_file= grpc_tls_ca_file= api_url= agent_token= agent_token_file= http_request_timeout= tls_min_version= tls_cipher_suites= insecure= noinsecure cafile= certfile= keyfile= inspection_callback_url= inspection_collectors= mdns-use_mdns= mdns-nouse_mdns state_dir= grpc_listen= grpc_callback_url= conductor= conductor_ca_sha256= join_token= join_token_file= hardware_managers_dir= standalone= nostandalone simulate= lookup_timeout= lookup_interval= inspection_dhcp_wait_timeout= inspection_dhcp_all_interfaces= noinspection_dhcp_all_interfaces lldp_timeout= collect_lldp= nocollect_lldp introspection_daemon= nointrospection_daemon introspection_daemon_post_interval= hardware_initialization_delay= disk_wait_attempts= disk_wait_delay= ntp_server= fail_if_clock_not_set= nofail_if_clock_not_set enable_vlan_interfaces= inject_files_priority= guard-special-filesystems= noguard-special-filesystems enable-discard-erase= noenable-discard-erase ignore_bootloader_failure= noignore_bootloader_failure enable_bios_bootloader_install= noenable_bios_bootloader_install image_server_user= image_server_password= image_server_password_file= image_server_auth_strategy= image_download_connection_timeout= image_download_connection_retries= image_download_connection_retry_interval= image_download_max_duration= md5_enabled= nomd5_enabled disable_deep_image_inspection= nodisable_deep_image_inspection permitted_image_formats= config_drive_rebuild= noconfig_drive_rebuild disable_bootc_deploy= nodisable_bootc_deploy disk_utils-efi_system_partition_size= disk_utils-bios_boot_partition_size= disk_utils-partition_detection_attempts= disk_utils-partprobe_attempts= disk_utils-dd_block_size= disk_utils-image_convert_memory_limit= disk_utils-image_convert_attempts= disk_partitioner-check_device_interval= disk_partitioner-check_device_max_retries= container-allow_arbitrary_containers= container-noallow_arbitrary_containers container-allowed_containers= container-container_steps_file= container-runner= container-pull_options= container-run_options= metrics-backend= metrics-prepend_host= metrics-noprepend_host metrics-prepend_host_reverse= metrics-noprepend_host_reverse metrics-global_prefix= metrics_statsd-statsd_host= metrics_statsd-statsd_port= log_config_append= log_date_format= log_file= log_dir= watch_log_file= nowatch_log_file use_syslog= nouse_syslog use_journal= nouse_journal syslog_log_facility= use_json= nouse_json use_stderr= nouse_stderr log_color= nolog_color log_rotate_interval= log_rotate_interval_type= log_rotation_type= max_logfile_count= max_logfile_size_mb= logging_context_format_string= logging_default_format_string= logging_debug_format_suffix= logging_exception_prefix= logging_user_identity_format= default_log_levels= publish_errors= nopublish_errors instance_format= instance_uuid_format= rate_limit_interval= rate_limit_burst= rate_limit_except_level= fatal_deprecations= nofatal_deprecations h/help V/version
end

function __fish_ironic_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ironic_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ironic_agent_using_subcommand
    set -l cmd (__fish_ironic_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l config-file -d 'Read this file; may be repeated.' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l config-dir -d 'Read the *.conf files of this directory, in the order of their names; may be repeated.' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l debug -d 'More lines in the log. The kernel parameter ipa-debug wins over every other source. [kernel: ipa-debug]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l grpc_tls_cert_file -d 'PEM certificate of this program for gRPC between agent and shim. [kernel: ipa-grpc-tls-cert-file]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l grpc_tls_key_file -d 'PEM key of grpc_tls_cert_file. [kernel: ipa-grpc-tls-key-file]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l grpc_tls_ca_file -d 'PEM certificates that the other end\'s gRPC certificate must chain to. [kernel: ipa-grpc-tls-ca-file]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l api_url -d 'Addresses of the Ironic API, tried in this order; or mdns. [kernel: ipa-api-url]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l agent_token -d 'Token shared with the conductor, replaced by the one that a lookup answers. [kernel: ipa-agent-token]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l agent_token_file -d 'File that holds agent_token: a command line can be read by every user of the machine. The environment variable IRONIC_AGENT_TOKEN may hold it, too.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l http_request_timeout -d 'Time limit for one exchange with Ironic. [default: 30] [kernel: ipa-http-request-timeout]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l tls_min_version -d 'Oldest TLS version, as server and as client. A lookup may raise it. [default: 1.2] [kernel: ipa-tls-min-version]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l tls_cipher_suites -d 'OpenSSL names of TLS 1.2 cipher suites, separated by colons or commas. [kernel: ipa-tls-cipher-suites]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l insecure -d 'Do not verify the certificates of servers. [kernel: ipa-insecure]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l cafile -d 'PEM certificates that servers must chain to, instead of the built-in ones.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l certfile -d 'PEM client certificate.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l keyfile -d 'PEM key of certfile.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l inspection_callback_url -d 'Addresses that take the inspection report, or mdns. [kernel: ipa-inspection-callback-url]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l inspection_collectors -d 'Collectors of the report; default and logs when not given. [kernel: ipa-inspection-collectors]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l mdns-use_mdns -d 'Look for Ironic when no address is given. [kernel: ipa-use-mdns]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l state_dir -d 'Directory for what must survive a restart of the program but not of the machine. [default: /run/ironic-agent]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l grpc_listen -d 'Where the agent serves gRPC: ADDRESS:PORT or unix:PATH; with none it opens no port and attaches to the server that option conductor names. [default: unix:/run/ironic-agent/agent.sock] [kernel: ipa-grpc-listen]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l grpc_callback_url -d 'The address that the server of ConductorService is given to call the agent: http:// or https://. When not given, the address and port of grpc_listen; if it listens at every address, the one from which it reaches that server. [kernel: ipa-grpc-callback-url]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l conductor -d 'Where the agent finds its ConductorService, the shim\'s, a gateway\'s or an orchestrator\'s: http://, https:// or unix:PATH; several are tried in random order. [default: unix:/run/ironic-shim/conductor.sock] [kernel: ipa-conductor]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l conductor_ca_sha256 -d 'SHA-256 of the certificate of the CA that the server of ConductorService shows: what it is known by, in place of grpc_tls_ca_file. [kernel: ipa-conductor-ca-sha256]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l join_token -d 'What proves to a gateway which node this machine is, for a certificate of its own. [kernel: ipa-join-token]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l join_token_file -d 'File that holds join_token: a command line can be read by every user of the machine.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l hardware_managers_dir -d 'Directory of hardware managers that are programs of their own. [default: /usr/lib/ironic-agent/hardware-managers]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l standalone -d 'No lookup and no heartbeat: commands come from elsewhere.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l simulate -d 'Use the files of this directory as the machine\'s disks.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l lookup_timeout -d 'Time limit for the whole lookup; then the agent exits with status 1. [default: 600] [kernel: ipa-lookup-timeout]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l lookup_interval -d 'Shortest wait between two lookups; waits grow from there. [default: 1] [kernel: ipa-lookup-interval]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l inspection_dhcp_wait_timeout -d 'How long the report waits for addresses; 0 does not wait. [default: 60] [kernel: ipa-inspection-dhcp-wait-timeout]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l inspection_dhcp_all_interfaces -d 'Wait for all interfaces, not only for the one that booted. [kernel: ipa-inspection-dhcp-all-interfaces]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l lldp_timeout -d 'How long LLDP packets are waited for. [default: 30] [kernel: ipa-lldp-timeout]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l collect_lldp -d 'LLDP on every listing of interfaces. [kernel: ipa-collect-lldp]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l introspection_daemon -d 'collect-introspection-data reports again and again.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l introspection_daemon_post_interval -d 'Pause between two of these reports. [default: 300]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l hardware_initialization_delay -d 'Pause before hardware is looked at. [default: 0] [kernel: ipa-hardware-initialization-delay]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_wait_attempts -d 'How often a suitable disk is looked for. [default: 10] [kernel: ipa-disk-wait-attempts]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_wait_delay -d 'Pause between two of these looks. [default: 3] [kernel: ipa-disk-wait-delay]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l ntp_server -d 'Server to set the clock by. [kernel: ipa-ntp-server]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l fail_if_clock_not_set -d 'A clock that cannot be set is a failure.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l enable_vlan_interfaces -d 'VLAN interfaces to bring up. [kernel: ipa-enable-vlan-interfaces]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l inject_files_priority -d 'Priority of the inject_files step, 0 is off. [default: 0] [kernel: ipa-inject-files-priority]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l guard-special-filesystems -d 'Do not erase file systems that belong to clusters. [default: true] [kernel: ipa-guard-special-filesystems]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l enable-discard-erase -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l ignore_bootloader_failure -d 'Continue when no boot loader can be installed. [kernel: ipa-ignore-bootloader-failure]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l enable_bios_bootloader_install -d 'Run the GRUB of partition images. A lookup may switch it on. [kernel: ipa-enable-bios-bootloader-install]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_server_user -d 'User for image servers.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_server_password -d 'Password for image servers.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_server_password_file -d 'File that holds image_server_password.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_server_auth_strategy -d 'How to log in to image servers. [default: noauth]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_download_connection_timeout -d 'Time limit for connecting and for each read. [default: 60] [kernel: ipa-image-download-connection-timeout]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_download_connection_retries -d 'Further attempts after the first. [default: 9] [kernel: ipa-image-download-connection-retries]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_download_connection_retry_interval -d 'Pause between two attempts. [default: 10] [kernel: ipa-image-download-connection-retry-interval]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l image_download_max_duration -d 'Limit for a whole download, 0 means no limit. [default: 0] [kernel: ipa-image-download-max-duration]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l md5_enabled -d 'MD5 is good enough as a checksum. A lookup decides.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disable_deep_image_inspection -d 'Do not compare image content with the declared format. A lookup decides.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l permitted_image_formats -d 'Formats that may be written. A lookup decides. [default: raw,gpt,qcow2]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l config_drive_rebuild -d 'Rewrite the config drive as a FAT file system.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disable_bootc_deploy -d 'Do not deploy bootable containers.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-efi_system_partition_size -d 'Size of an EFI system partition in MiB. [default: 550]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-bios_boot_partition_size -d 'Size of a BIOS boot partition in MiB. [default: 1]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-partition_detection_attempts -d 'How often a new partition is looked for. [default: 3]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-partprobe_attempts -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-dd_block_size -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-image_convert_memory_limit -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_utils-image_convert_attempts -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_partitioner-check_device_interval -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l disk_partitioner-check_device_max_retries -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-allow_arbitrary_containers -d 'Any image may run.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-allowed_containers -d 'Images that may run.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-container_steps_file -d 'File that describes steps in containers. [default: /etc/ironic-python-agent.d/mysteps.yaml]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-runner -d 'Program that runs containers. [default: podman]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-pull_options -d 'Arguments for pulling.' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-run_options -d 'Arguments for running. [default: --rm,--network=host]' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics-backend -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics-prepend_host -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics-prepend_host_reverse -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics-global_prefix -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics_statsd-statsd_host -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics_statsd-statsd_port -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_config_append -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_date_format -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_file -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_dir -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l watch_log_file -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l use_syslog -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l use_journal -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l syslog_log_facility -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l use_json -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l use_stderr -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_color -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_rotate_interval -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_rotate_interval_type -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l log_rotation_type -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l max_logfile_count -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l max_logfile_size_mb -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l logging_context_format_string -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l logging_default_format_string -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l logging_debug_format_suffix -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l logging_exception_prefix -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l logging_user_identity_format -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l default_log_levels -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l publish_errors -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l instance_format -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l instance_uuid_format -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l rate_limit_interval -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l rate_limit_burst -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l rate_limit_except_level -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l fatal_deprecations -d '' -r
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nodebug
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noinsecure
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l mdns-nouse_mdns
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nostandalone
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noinspection_dhcp_all_interfaces
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nocollect_lldp
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nointrospection_daemon
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nofail_if_clock_not_set
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noguard-special-filesystems
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noenable-discard-erase
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noignore_bootloader_failure
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noenable_bios_bootloader_install
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nomd5_enabled
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nodisable_deep_image_inspection
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l noconfig_drive_rebuild
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nodisable_bootc_deploy
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l container-noallow_arbitrary_containers
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics-noprepend_host
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l metrics-noprepend_host_reverse
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nowatch_log_file
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nouse_syslog
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nouse_journal
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nouse_json
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nouse_stderr
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nolog_color
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nopublish_errors
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -l nofatal_deprecations
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -s h -l help -d 'Print help'
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -s V -l version -d 'Print version'
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -f -a "collect-introspection-data" -d 'Reports what the machine is to Ironic, once or again and again; it takes the options of the agent.'
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -f -a "write-image" -d 'Writes an image to a disk: downloaded, verified, decoded and written in one pass. The status is 0 only when the verified image is on the disk; otherwise the disk has no partition table, or is as it was'
complete -c ironic-agent -n "__fish_ironic_agent_needs_command" -f -a "network" -d 'Brings up the network as network_data.json on virtual media and the kernel command line say, writes what came of it to standard output, and does not end. /run/network/ready is there once the agent can be started'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand collect-introspection-data" -s h -l help -d 'Print help'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l url -d 'Where the image is; repeated: tried in this order' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l sha256 -d 'SHA-256 of the file, or a checksum file' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l sha512 -d 'SHA-512 of the file, or a checksum file' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l checksum -d 'Digest whose length tells the algorithm, or a checksum file' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l disk-format -d 'raw (also when compressed), qcow2, ...; without it the content decides' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l device -d 'The disk, or a plain file of the disk\'s size' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l configdrive -d 'A config drive: ISO 9660, as it is or packed by gzip, in base64 when given inline' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l ca-file -d 'Trust these authorities (PEM)' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l cert-file -d 'Our certificate (PEM)' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l key-file -d 'The key of our certificate (PEM)' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l tls-min-version -d 'The oldest TLS that the server may speak: 1.2 or 1.3' -r -f -a "1.2\t''
1.3\t''"
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l tls-cipher-suites -d 'The suites of TLS 1.2 that may be used, by their IANA or OpenSSL names, with colons' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l user -d 'User at the server, by HTTP Basic' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l password-file -d 'Its first line is the password of --user' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l authorization-file -d 'Its first line is sent as Authorization header, for example "Bearer ..."' -r -F
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l retries -d 'Attempts after the first, without progress in between' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l timeout -d 'How long a server may be silent' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l permit-format -d 'A format that the content may have; repeated. Without it: raw, gpt and qcow2' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l insecure -d 'Accept every certificate of the server'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l allow-md5 -d 'Accept a checksum that is an MD5 digest'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l no-inspection -d 'Believe --disk-format without looking at the content'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -l debug -d 'Log what happens on standard error'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand write-image" -s h -l help -d 'Print help'
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand network" -l card -d 'Treat these interfaces as the machine\'s cards, instead of all that lead to a device; repeated' -r
complete -c ironic-agent -n "__fish_ironic_agent_using_subcommand network" -s h -l help -d 'Print help'
