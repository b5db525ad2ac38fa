#compdef ironic-agent

autoload -U is-at-least

_ironic-agent() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'*--config-file=[Read this file; may be repeated.]:FILE:_files' \
'*--config-dir=[Read the *.conf files of this directory, in the order of their names; may be repeated.]:DIR:_files' \
'--debug=[More lines in the log. The kernel parameter ipa-debug wins over every other source. \[kernel\: ipa-debug\]]::BOOL:_default' \
'--grpc_tls_cert_file=[PEM certificate of this program for gRPC between agent and shim. \[kernel\: ipa-grpc-tls-cert-file\]]:PATH:_default' \
'--grpc_tls_key_file=[PEM key of grpc_tls_cert_file. \[kernel\: ipa-grpc-tls-key-file\]]:PATH:_default' \
'--grpc_tls_ca_file=[PEM certificates that the other end'\''s gRPC certificate must chain to. \[kernel\: ipa-grpc-tls-ca-file\]]:PATH:_default' \
'--api_url=[Addresses of the Ironic API, tried in this order; or mdns. \[kernel\: ipa-api-url\]]:URLS:_default' \
'--agent_token=[Token shared with the conductor, replaced by the one that a lookup answers. \[kernel\: ipa-agent-token\]]:TOKEN:_default' \
'--agent_token_file=[File that holds agent_token\: a command line can be read by every user of the machine. The environment variable IRONIC_AGENT_TOKEN may hold it, too.]:FILE:_default' \
'--http_request_timeout=[Time limit for one exchange with Ironic. \[default\: 30\] \[kernel\: ipa-http-request-timeout\]]:SECONDS:_default' \
'--tls_min_version=[Oldest TLS version, as server and as client. A lookup may raise it. \[default\: 1.2\] \[kernel\: ipa-tls-min-version\]]:1.2|1.3:_default' \
'--tls_cipher_suites=[OpenSSL names of TLS 1.2 cipher suites, separated by colons or commas. \[kernel\: ipa-tls-cipher-suites\]]:TEXT:_default' \
'--insecure=[Do not verify the certificates of servers. \[kernel\: ipa-insecure\]]::BOOL:_default' \
'--cafile=[PEM certificates that servers must chain to, instead of the built-in ones.]:PATH:_default' \
'--certfile=[PEM client certificate.]:PATH:_default' \
'--keyfile=[PEM key of certfile.]:PATH:_default' \
'--inspection_callback_url=[Addresses that take the inspection report, or mdns. \[kernel\: ipa-inspection-callback-url\]]:URLS:_default' \
'--inspection_collectors=[Collectors of the report; default and logs when not given. \[kernel\: ipa-inspection-collectors\]]:LIST:_default' \
'--mdns-use_mdns=[Look for Ironic when no address is given. \[kernel\: ipa-use-mdns\]]::BOOL:_default' \
'--state_dir=[Directory for what must survive a restart of the program but not of the machine. \[default\: /run/ironic-agent\]]:PATH:_default' \
'--grpc_listen=[Where the agent serves gRPC\: ADDRESS\:PORT or unix\:PATH; with none it opens no port and attaches to the server that option conductor names. \[default\: unix\:/run/ironic-agent/agent.sock\] \[kernel\: ipa-grpc-listen\]]:ADDRESS:_default' \
'--grpc_callback_url=[The address that the server of ConductorService is given to call the agent\: http\:// or https\://. When not given, the address and port of grpc_listen; if it listens at every address, the one from which it reaches that server. \[kernel\: ipa-grpc-callback-url\]]:ADDRESS:_default' \
'--conductor=[Where the agent finds its ConductorService, the shim'\''s, a gateway'\''s or an orchestrator'\''s\: http\://, https\:// or unix\:PATH; several are tried in random order. \[default\: unix\:/run/ironic-shim/conductor.sock\] \[kernel\: ipa-conductor\]]:ADDRESS,...:_default' \
'--conductor_ca_sha256=[SHA-256 of the certificate of the CA that the server of ConductorService shows\: what it is known by, in place of grpc_tls_ca_file. \[kernel\: ipa-conductor-ca-sha256\]]:SHA256:_default' \
'--join_token=[What proves to a gateway which node this machine is, for a certificate of its own. \[kernel\: ipa-join-token\]]:TOKEN:_default' \
'--join_token_file=[File that holds join_token\: a command line can be read by every user of the machine.]:FILE:_default' \
'--hardware_managers_dir=[Directory of hardware managers that are programs of their own. \[default\: /usr/lib/ironic-agent/hardware-managers\]]:DIR:_default' \
'--standalone=[No lookup and no heartbeat\: commands come from elsewhere.]::BOOL:_default' \
'--simulate=[Use the files of this directory as the machine'\''s disks.]:DIR:_default' \
'--lookup_timeout=[Time limit for the whole lookup; then the agent exits with status 1. \[default\: 600\] \[kernel\: ipa-lookup-timeout\]]:SECONDS:_default' \
'--lookup_interval=[Shortest wait between two lookups; waits grow from there. \[default\: 1\] \[kernel\: ipa-lookup-interval\]]:SECONDS:_default' \
'--inspection_dhcp_wait_timeout=[How long the report waits for addresses; 0 does not wait. \[default\: 60\] \[kernel\: ipa-inspection-dhcp-wait-timeout\]]:SECONDS:_default' \
'--inspection_dhcp_all_interfaces=[Wait for all interfaces, not only for the one that booted. \[kernel\: ipa-inspection-dhcp-all-interfaces\]]::BOOL:_default' \
'--lldp_timeout=[How long LLDP packets are waited for. \[default\: 30\] \[kernel\: ipa-lldp-timeout\]]:SECONDS:_default' \
'--collect_lldp=[LLDP on every listing of interfaces. \[kernel\: ipa-collect-lldp\]]::BOOL:_default' \
'--introspection_daemon=[collect-introspection-data reports again and again.]::BOOL:_default' \
'--introspection_daemon_post_interval=[Pause between two of these reports. \[default\: 300\]]:SECONDS:_default' \
'--hardware_initialization_delay=[Pause before hardware is looked at. \[default\: 0\] \[kernel\: ipa-hardware-initialization-delay\]]:SECONDS:_default' \
'--disk_wait_attempts=[How often a suitable disk is looked for. \[default\: 10\] \[kernel\: ipa-disk-wait-attempts\]]:NUMBER:_default' \
'--disk_wait_delay=[Pause between two of these looks. \[default\: 3\] \[kernel\: ipa-disk-wait-delay\]]:SECONDS:_default' \
'--ntp_server=[Server to set the clock by. \[kernel\: ipa-ntp-server\]]:HOST:_default' \
'--fail_if_clock_not_set=[A clock that cannot be set is a failure.]::BOOL:_default' \
'--enable_vlan_interfaces=[VLAN interfaces to bring up. \[kernel\: ipa-enable-vlan-interfaces\]]:LIST:_default' \
'--inject_files_priority=[Priority of the inject_files step, 0 is off. \[default\: 0\] \[kernel\: ipa-inject-files-priority\]]:NUMBER:_default' \
'--guard-special-filesystems=[Do not erase file systems that belong to clusters. \[default\: true\] \[kernel\: ipa-guard-special-filesystems\]]::BOOL:_default' \
'--enable-discard-erase=[]::BOOL:_default' \
'--ignore_bootloader_failure=[Continue when no boot loader can be installed. \[kernel\: ipa-ignore-bootloader-failure\]]::BOOL:_default' \
'--enable_bios_bootloader_install=[Run the GRUB of partition images. A lookup may switch it on. \[kernel\: ipa-enable-bios-bootloader-install\]]::BOOL:_default' \
'--image_server_user=[User for image servers.]:TEXT:_default' \
'--image_server_password=[Password for image servers.]:TEXT:_default' \
'--image_server_password_file=[File that holds image_server_password.]:FILE:_default' \
'--image_server_auth_strategy=[How to log in to image servers. \[default\: noauth\]]:noauth|http_basic:_default' \
'--image_download_connection_timeout=[Time limit for connecting and for each read. \[default\: 60\] \[kernel\: ipa-image-download-connection-timeout\]]:SECONDS:_default' \
'--image_download_connection_retries=[Further attempts after the first. \[default\: 9\] \[kernel\: ipa-image-download-connection-retries\]]:NUMBER:_default' \
'--image_download_connection_retry_interval=[Pause between two attempts. \[default\: 10\] \[kernel\: ipa-image-download-connection-retry-interval\]]:SECONDS:_default' \
'--image_download_max_duration=[Limit for a whole download, 0 means no limit. \[default\: 0\] \[kernel\: ipa-image-download-max-duration\]]:SECONDS:_default' \
'--md5_enabled=[MD5 is good enough as a checksum. A lookup decides.]::BOOL:_default' \
'--disable_deep_image_inspection=[Do not compare image content with the declared format. A lookup decides.]::BOOL:_default' \
'--permitted_image_formats=[Formats that may be written. A lookup decides. \[default\: raw,gpt,qcow2\]]:LIST:_default' \
'--config_drive_rebuild=[Rewrite the config drive as a FAT file system.]::BOOL:_default' \
'--disable_bootc_deploy=[Do not deploy bootable containers.]::BOOL:_default' \
'--disk_utils-efi_system_partition_size=[Size of an EFI system partition in MiB. \[default\: 550\]]:NUMBER:_default' \
'--disk_utils-bios_boot_partition_size=[Size of a BIOS boot partition in MiB. \[default\: 1\]]:NUMBER:_default' \
'--disk_utils-partition_detection_attempts=[How often a new partition is looked for. \[default\: 3\]]:NUMBER:_default' \
'--disk_utils-partprobe_attempts=[]:TEXT:_default' \
'--disk_utils-dd_block_size=[]:TEXT:_default' \
'--disk_utils-image_convert_memory_limit=[]:TEXT:_default' \
'--disk_utils-image_convert_attempts=[]:TEXT:_default' \
'--disk_partitioner-check_device_interval=[]:TEXT:_default' \
'--disk_partitioner-check_device_max_retries=[]:TEXT:_default' \
'--container-allow_arbitrary_containers=[Any image may run.]::BOOL:_default' \
'--container-allowed_containers=[Images that may run.]:LIST:_default' \
'--container-container_steps_file=[File that describes steps in containers. \[default\: /etc/ironic-python-agent.d/mysteps.yaml\]]:PATH:_default' \
'--container-runner=[Program that runs containers. \[default\: podman\]]:podman|docker:_default' \
'--container-pull_options=[Arguments for pulling.]:LIST:_default' \
'--container-run_options=[Arguments for running. \[default\: --rm,--network=host\]]:LIST:_default' \
'--metrics-backend=[]:TEXT:_default' \
'--metrics-prepend_host=[]::BOOL:_default' \
'--metrics-prepend_host_reverse=[]::BOOL:_default' \
'--metrics-global_prefix=[]:TEXT:_default' \
'--metrics_statsd-statsd_host=[]:TEXT:_default' \
'--metrics_statsd-statsd_port=[]:TEXT:_default' \
'--log_config_append=[]:TEXT:_default' \
'--log_date_format=[]:TEXT:_default' \
'--log_file=[]:TEXT:_default' \
'--log_dir=[]:TEXT:_default' \
'--watch_log_file=[]::BOOL:_default' \
'--use_syslog=[]::BOOL:_default' \
'--use_journal=[]::BOOL:_default' \
'--syslog_log_facility=[]:TEXT:_default' \
'--use_json=[]::BOOL:_default' \
'--use_stderr=[]::BOOL:_default' \
'--log_color=[]::BOOL:_default' \
'--log_rotate_interval=[]:TEXT:_default' \
'--log_rotate_interval_type=[]:TEXT:_default' \
'--log_rotation_type=[]:TEXT:_default' \
'--max_logfile_count=[]:TEXT:_default' \
'--max_logfile_size_mb=[]:TEXT:_default' \
'--logging_context_format_string=[]:TEXT:_default' \
'--logging_default_format_string=[]:TEXT:_default' \
'--logging_debug_format_suffix=[]:TEXT:_default' \
'--logging_exception_prefix=[]:TEXT:_default' \
'--logging_user_identity_format=[]:TEXT:_default' \
'--default_log_levels=[]:TEXT:_default' \
'--publish_errors=[]::BOOL:_default' \
'--instance_format=[]:TEXT:_default' \
'--instance_uuid_format=[]:TEXT:_default' \
'--rate_limit_interval=[]:TEXT:_default' \
'--rate_limit_burst=[]:TEXT:_default' \
'--rate_limit_except_level=[]:TEXT:_default' \
'--fatal_deprecations=[]::BOOL:_default' \
'--nodebug[]' \
'--noinsecure[]' \
'--mdns-nouse_mdns[]' \
'--nostandalone[]' \
'--noinspection_dhcp_all_interfaces[]' \
'--nocollect_lldp[]' \
'--nointrospection_daemon[]' \
'--nofail_if_clock_not_set[]' \
'--noguard-special-filesystems[]' \
'--noenable-discard-erase[]' \
'--noignore_bootloader_failure[]' \
'--noenable_bios_bootloader_install[]' \
'--nomd5_enabled[]' \
'--nodisable_deep_image_inspection[]' \
'--noconfig_drive_rebuild[]' \
'--nodisable_bootc_deploy[]' \
'--container-noallow_arbitrary_containers[]' \
'--metrics-noprepend_host[]' \
'--metrics-noprepend_host_reverse[]' \
'--nowatch_log_file[]' \
'--nouse_syslog[]' \
'--nouse_journal[]' \
'--nouse_json[]' \
'--nouse_stderr[]' \
'--nolog_color[]' \
'--nopublish_errors[]' \
'--nofatal_deprecations[]' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_ironic-agent_commands" \
"*::: :->ironic-agent" \
&& ret=0
    case $state in
    (ironic-agent)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ironic-agent-command-$line[1]:"
        case $line[1] in
            (collect-introspection-data)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(write-image)
_arguments "${_arguments_options[@]}" : \
'*--url=[Where the image is; repeated\: tried in this order]:URL:_default' \
'--sha256=[SHA-256 of the file, or a checksum file]:DIGEST|URL:_default' \
'--sha512=[SHA-512 of the file, or a checksum file]:DIGEST|URL:_default' \
'--checksum=[Digest whose length tells the algorithm, or a checksum file]:DIGEST|URL:_default' \
'--disk-format=[raw (also when compressed), qcow2, ...; without it the content decides]:FORMAT:_default' \
'--device=[The disk, or a plain file of the disk'\''s size]:PATH:_files' \
'--configdrive=[A config drive\: ISO 9660, as it is or packed by gzip, in base64 when given inline]:URL|FILE|BASE64:_default' \
'--ca-file=[Trust these authorities (PEM)]:FILE:_files' \
'--cert-file=[Our certificate (PEM)]:FILE:_files' \
'--key-file=[The key of our certificate (PEM)]:FILE:_files' \
'--tls-min-version=[The oldest TLS that the server may speak\: 1.2 or 1.3]:VERSION:(1.2 1.3)' \
'--tls-cipher-suites=[The suites of TLS 1.2 that may be used, by their IANA or OpenSSL names, with colons]:NAMES:_default' \
'(--authorization-file)--user=[User at the server, by HTTP Basic]:NAME:_default' \
'--password-file=[Its first line is the password of --user]:FILE:_files' \
'--authorization-file=[Its first line is sent as Authorization header, for example "Bearer ..."]:FILE:_files' \
'--retries=[Attempts after the first, without progress in between]:N:_default' \
'--timeout=[How long a server may be silent]:SECONDS:_default' \
'*--permit-format=[A format that the content may have; repeated. Without it\: raw, gpt and qcow2]:FORMAT:_default' \
'--insecure[Accept every certificate of the server]' \
'--allow-md5[Accept a checksum that is an MD5 digest]' \
'--no-inspection[Believe --disk-format without looking at the content]' \
'--debug[Log what happens on standard error]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(network)
_arguments "${_arguments_options[@]}" : \
'*--card=[Treat these interfaces as the machine'\''s cards, instead of all that lead to a device; repeated]:NAME:_default' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
        esac
    ;;
esac
}

(( $+functions[_ironic-agent_commands] )) ||
_ironic-agent_commands() {
    local commands; commands=(
'collect-introspection-data:Reports what the machine is to Ironic, once or again and again; it takes the options of the agent.' \
'write-image:Writes an image to a disk\: downloaded, verified, decoded and written in one pass. The status is 0 only when the verified image is on the disk; otherwise the disk has no partition table, or is as it was' \
'network:Brings up the network as network_data.json on virtual media and the kernel command line say, writes what came of it to standard output, and does not end. /run/network/ready is there once the agent can be started' \
    )
    _describe -t commands 'ironic-agent commands' commands "$@"
}
(( $+functions[_ironic-agent__subcmd__collect-introspection-data_commands] )) ||
_ironic-agent__subcmd__collect-introspection-data_commands() {
    local commands; commands=()
    _describe -t commands 'ironic-agent collect-introspection-data commands' commands "$@"
}
(( $+functions[_ironic-agent__subcmd__network_commands] )) ||
_ironic-agent__subcmd__network_commands() {
    local commands; commands=()
    _describe -t commands 'ironic-agent network commands' commands "$@"
}
(( $+functions[_ironic-agent__subcmd__write-image_commands] )) ||
_ironic-agent__subcmd__write-image_commands() {
    local commands; commands=()
    _describe -t commands 'ironic-agent write-image commands' commands "$@"
}

if [ "$funcstack[1]" = "_ironic-agent" ]; then
    _ironic-agent "$@"
else
    compdef _ironic-agent ironic-agent
fi
