_ironic__shim() {
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
                cmd="ironic__shim"
                ;;
            ironic__shim,token)
                cmd="ironic__shim__subcmd__token"
                ;;
            ironic__shim__subcmd__token,create)
                cmd="ironic__shim__subcmd__token__subcmd__create"
                ;;
            ironic__shim__subcmd__token,list)
                cmd="ironic__shim__subcmd__token__subcmd__list"
                ;;
            ironic__shim__subcmd__token,revoke)
                cmd="ironic__shim__subcmd__token__subcmd__revoke"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        ironic__shim)
            opts="-h -V --config-file --config-dir --debug --nodebug --grpc_tls_cert_file --grpc_tls_key_file --grpc_tls_ca_file --api_url --agent_token --agent_token_file --http_request_timeout --tls_min_version --tls_cipher_suites --insecure --noinsecure --cafile --certfile --keyfile --inspection_callback_url --inspection_collectors --mdns-use_mdns --mdns-nouse_mdns --state_dir --agent --conductor_listen --insecure_conductor_listen --noinsecure_conductor_listen --gateway_url --metrics_listen --fleet_listen --insecure_fleet_listen --noinsecure_fleet_listen --fleet_tls_cert_file --fleet_tls_key_file --fleet_tls_ca_file --page_listen --fleet_tls_crl_file --fleet_policy_file --node_dir --admit --drain_timeout --gateway_ca_file --node_certificates --node_certificate_lifetime --trust_domain --nodes_ca_cert_file --nodes_ca_key_file --directory --directory_prefix --directory_credentials_file --directory_ca_file --directory_cert_file --directory_key_file --peer_listen --peer_url --peer_tls_cert_file --peer_tls_key_file --peer_tls_ca_file --global_request_id --ironic_call_rate --ironic_api_version --listen_host --listen_port --listen_tls --nolisten_tls --tls_cert_file --tls_key_file --enable_auto_tls --noenable_auto_tls --auto_tls_allowed_clock_skew --tls_certificate_curve --advertise_host --advertise_port --advertise_protocol --ip_lookup_attempts --ip_lookup_sleep --network_interface --ssl-ca_file --agent_token_required --noagent_token_required --mdns-allowed_overrides --mdns-lookup_attempts --mdns-interfaces --mdns-params --metrics-backend --metrics-prepend_host --metrics-noprepend_host --metrics-prepend_host_reverse --metrics-noprepend_host_reverse --metrics-global_prefix --metrics_statsd-statsd_host --metrics_statsd-statsd_port --log_config_append --log_date_format --log_file --log_dir --watch_log_file --nowatch_log_file --use_syslog --nouse_syslog --use_journal --nouse_journal --syslog_log_facility --use_json --nouse_json --use_stderr --nouse_stderr --log_color --nolog_color --log_rotate_interval --log_rotate_interval_type --log_rotation_type --max_logfile_count --max_logfile_size_mb --logging_context_format_string --logging_default_format_string --logging_debug_format_suffix --logging_exception_prefix --logging_user_identity_format --default_log_levels --publish_errors --nopublish_errors --instance_format --instance_uuid_format --rate_limit_interval --rate_limit_burst --rate_limit_except_level --fatal_deprecations --nofatal_deprecations --help --version token"
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
                --agent)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --conductor_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --insecure_conductor_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --gateway_url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --metrics_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fleet_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --insecure_fleet_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fleet_tls_cert_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fleet_tls_key_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fleet_tls_ca_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --page_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fleet_tls_crl_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --fleet_policy_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --node_dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --admit)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --drain_timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --gateway_ca_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --node_certificates)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --node_certificate_lifetime)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --trust_domain)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --nodes_ca_cert_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --nodes_ca_key_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --directory)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --directory_prefix)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --directory_credentials_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --directory_ca_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --directory_cert_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --directory_key_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --peer_listen)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --peer_url)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --peer_tls_cert_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --peer_tls_key_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --peer_tls_ca_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --global_request_id)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ironic_call_rate)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ironic_api_version)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --listen_host)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --listen_port)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --listen_tls)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls_cert_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls_key_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --enable_auto_tls)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --auto_tls_allowed_clock_skew)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --tls_certificate_curve)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --advertise_host)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --advertise_port)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --advertise_protocol)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ip_lookup_attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ip_lookup_sleep)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --network_interface)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ssl-ca_file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --agent_token_required)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mdns-allowed_overrides)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mdns-lookup_attempts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mdns-interfaces)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --mdns-params)
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
        ironic__subcmd__shim__subcmd__token)
            opts="-h --help create list revoke"
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
        ironic__subcmd__shim__subcmd__token__subcmd__create)
            opts="-h --state_dir --node --label --uses --lifetime --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --state_dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --node)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --label)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --uses)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --lifetime)
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
        ironic__subcmd__shim__subcmd__token__subcmd__list)
            opts="-h --state_dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --state_dir)
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
        ironic__subcmd__shim__subcmd__token__subcmd__revoke)
            opts="-h --state_dir --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 3 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --state_dir)
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
    complete -F _ironic__shim -o nosort -o bashdefault -o default ironic-shim
else
    complete -F _ironic__shim -o bashdefault -o default ironic-shim
fi
