_ironic__agent() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="ironic__agent"
                ;;
            ironic__agent,collect-introspection-data)
                cmd="ironic__agent__subcmd__collect__subcmd__introspection__subcmd__data"
                ;;
            ironic__agent,network)
                cmd="ironic__agent__subcmd__network"
                ;;
            ironic__agent,write-image)
                cmd="ironic__agent__subcmd__write__subcmd__image"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        ironic__agent)
            opts="-h -V --config-file --config-dir --debug --nodebug --grpc_tls_cert_file --grpc_tls_key_file --grpc_tls_ca_file --api_url --agent_token --agent_token_file --http_request_timeout --tls_min_version --tls_cipher_suites --insecure --noinsecure --cafile --certfile --keyfile --inspection_callback_url --inspection_collectors --mdns-use_mdns --mdns-nouse_mdns --state_dir --grpc_listen --grpc_callback_url --conductor --conductor_ca_sha256 --join_token --join_token_file --hardware_managers_dir --standalone --nostandalone --simulate --lookup_timeout --lookup_interval --inspection_dhcp_wait_timeout --inspection_dhcp_all_interfaces --noinspection_dhcp_all_interfaces --lldp_timeout --collect_lldp --nocollect_lldp --introspection_daemon --nointrospection_daemon --introspection_daemon_post_interval --hardware_initialization_delay --disk_wait_attempts --disk_wait_delay --ntp_server --fail_if_clock_not_set --nofail_if_clock_not_set --enable_vlan_interfaces --inject_files_priority --guard-special-filesystems --noguard-special-filesystems --enable-discard-erase --noenable-discard-erase --ignore_bootloader_failure --noignore_bootloader_failure --enable_bios_bootloader_install --noenable_bios_bootloader_install --image_server_user --image_server_password --image_server_password_file --image_server_auth_strategy --image_download_connection_timeout --image_download_connection_retries --image_download_connection_retry_interval --image_download_max_duration --md5_enabled --nomd5_enabled --disable_deep_image_inspection --nodisable_deep_image_inspection --permitted_image_formats --config_drive_rebuild --noconfig_drive_rebuild --disable_bootc_deploy --nodisable_bootc_deploy --disk_utils-efi_system_partition_size --disk_utils-bios_boot_partition_size --disk_utils-partition_detection_attempts --disk_utils-partprobe_attempts --disk_utils-dd_block_size --disk_utils-image_convert_memory_limit --disk_utils-image_convert_attempts --disk_partitioner-check_device_interval --disk_partitioner-check_device_max_retries --container-allow_arbitrary_containers --container-noallow_arbitrary_containers --container-allowed_containers --container-container_steps_file --container-runner --container-pull_options --container-run_options --metrics-backend --metrics-prepend_host --metrics-noprepend_host --metrics-prepend_host_reverse --metrics-noprepend_host_reverse --metrics-global_prefix --metrics_statsd-statsd_host --metrics_statsd-statsd_port --log_config_append --log_date_format --log_file --log_dir --watch_log_file --nowatch_log_file --use_syslog --nouse_syslog --use_journal --nouse_journal --syslog_log_facility --use_json --nouse_json --use_stderr --nouse_stderr --log_color --nolog_color --log_rotate_interval --log_rotate_interval_type --log_rotation_type --max_logfile_count --max_logfile_size_mb --logging_context_format_string --logging_default_format_string --logging_debug_format_suffix --logging_exception_prefix --logging_user_identity_format --default_log_levels --publish_errors --nopublish_errors --instance_format --instance_uuid_format --rate_limit_interval --rate_limit_burst --rate_limit_except_level --fatal_deprecations --nofatal_deprecations --help --version collect-introspection-data write-image network"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --config-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --debug)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grpc_tls_cert_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grpc_tls_key_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grpc_tls_ca_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --api_url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --agent_token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --agent_token_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --http_request_timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls_min_version)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls_cipher_suites)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --insecure)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cafile)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --certfile)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --keyfile)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --inspection_callback_url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --inspection_collectors)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mdns-use_mdns)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --state_dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grpc_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grpc_callback_url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --conductor)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --conductor_ca_sha256)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --join_token)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --join_token_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --hardware_managers_dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --standalone)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --simulate)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lookup_timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lookup_interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --inspection_dhcp_wait_timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --inspection_dhcp_all_interfaces)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lldp_timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --collect_lldp)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --introspection_daemon)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --introspection_daemon_post_interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --hardware_initialization_delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_wait_attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_wait_delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ntp_server)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fail_if_clock_not_set)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --enable_vlan_interfaces)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --inject_files_priority)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --guard-special-filesystems)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --enable-discard-erase)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ignore_bootloader_failure)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --enable_bios_bootloader_install)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_server_user)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_server_password)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_server_password_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_server_auth_strategy)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_download_connection_timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_download_connection_retries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_download_connection_retry_interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --image_download_max_duration)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --md5_enabled)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disable_deep_image_inspection)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --permitted_image_formats)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config_drive_rebuild)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disable_bootc_deploy)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-efi_system_partition_size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-bios_boot_partition_size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-partition_detection_attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-partprobe_attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-dd_block_size)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-image_convert_memory_limit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_utils-image_convert_attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_partitioner-check_device_interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk_partitioner-check_device_max_retries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --container-allow_arbitrary_containers)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --container-allowed_containers)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --container-container_steps_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --container-runner)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --container-pull_options)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --container-run_options)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics-backend)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics-prepend_host)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics-prepend_host_reverse)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics-global_prefix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics_statsd-statsd_host)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics_statsd-statsd_port)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_config_append)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_date_format)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --watch_log_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --use_syslog)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --use_journal)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --syslog_log_facility)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --use_json)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --use_stderr)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_color)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_rotate_interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_rotate_interval_type)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --log_rotation_type)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max_logfile_count)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max_logfile_size_mb)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --logging_context_format_string)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --logging_default_format_string)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --logging_debug_format_suffix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --logging_exception_prefix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --logging_user_identity_format)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --default_log_levels)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --publish_errors)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --instance_format)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --instance_uuid_format)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rate_limit_interval)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rate_limit_burst)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --rate_limit_except_level)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fatal_deprecations)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        ironic__subcmd__agent__subcmd__collect__subcmd__introspection__subcmd__data)
            opts="-h --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        ironic__subcmd__agent__subcmd__network)
            opts="-h --card --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --card)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        ironic__subcmd__agent__subcmd__write__subcmd__image)
            opts="-h --url --sha256 --sha512 --checksum --disk-format --device --configdrive --ca-file --cert-file --key-file --insecure --tls-min-version --tls-cipher-suites --user --password-file --authorization-file --retries --timeout --allow-md5 --permit-format --no-inspection --debug --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --sha256)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --sha512)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --checksum)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --disk-format)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --device)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --configdrive)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ca-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cert-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --key-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls-min-version)
                    COMPREPLY=($(compgen -W "1.2 1.3" -- "${cur}"))
                    return 0
                    ;;
                --tls-cipher-suites)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --user)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --password-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --authorization-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --retries)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --permit-format)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _ironic__agent -o nosort -o bashdefault -o default ironic-agent
else
    complete -F _ironic__agent -o bashdefault -o default ironic-agent
fi
