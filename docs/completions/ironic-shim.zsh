#compdef ironic-shim

autoload -U is-at-least

_ironic-shim() {
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
'--state_dir=[Directory for what must survive a restart of the program but not of the machine. \[default\: /run/ironic-shim\]]:PATH:_default' \
'--agent=[Where the shim finds its agent\: http\://, https\:// or unix\:PATH. \[default\: unix\:/run/ironic-agent/agent.sock\]]:ADDRESS:_default' \
'--conductor_listen=[Where the shim serves ConductorService\: ADDRESS\:PORT or unix\:PATH. \[default\: unix\:/run/ironic-shim/conductor.sock\]]:ADDRESS:_default' \
'--insecure_conductor_listen=[Let conductor_listen be an address that other machines reach without client certificates\: unauthenticated machines may look nodes up.]::BOOL:_default' \
'--gateway_url=[Be a gateway for many agents, which Ironic reaches below this URL.]:URL:_default' \
'--metrics_listen=[Where /metrics (Prometheus), /healthz and /readyz are served\: ADDRESS\:PORT or unix\:PATH. Plain HTTP without authentication, for a management network.]:ADDRESS:_default' \
'--fleet_listen=[Where a gateway serves its nodes to orchestrators and operators, by FleetService and every node'\''s CommandService\: ADDRESS\:PORT or unix\:PATH.]:ADDRESS:_default' \
'--insecure_fleet_listen=[Let fleet_listen be an address that other machines reach without client certificates\: unauthenticated callers may write the disks of every node.]::BOOL:_default' \
'--fleet_tls_cert_file=[PEM certificate of fleet_listen.]:PATH:_default' \
'--fleet_tls_key_file=[PEM key of fleet_tls_cert_file.]:PATH:_default' \
'--fleet_tls_ca_file=[PEM of the CA whose certificates callers of fleet_listen must show. It is not the CA of the agents.]:PATH:_default' \
'--page_listen=[Where a page shows the nodes to operators with a browser\: ADDRESS\:PORT or unix\:PATH, with the certificates of the options fleet_tls_*.]:ADDRESS:_default' \
'--fleet_tls_crl_file=[PEM of the lists (CRL) of certificates that the CA of fleet_tls_ca_file has revoked; each CA in that file needs one then. While a list is past its next update, no certificate of its CA is accepted. Read again at SIGHUP.]:PATH:_default' \
'--fleet_policy_file=[YAML file that says which role the holder of a certificate has at fleet_listen\: observer, operator or provisioner; without it every caller may do everything. Read again when it changes.]:PATH:_default' \
'--node_dir=[Directory of files that describe nodes, as YAML or JSON\: without api_url these are the nodes of a gateway, otherwise they name and label those of Ironic.]:DIR:_default' \
'--admit=[Which machines a gateway without api_url takes\: those that a file in node_dir describes, or, in a lab, any machine under the UUID that its firmware says. \[default\: listed\]]:listed|open:_default' \
'--drain_timeout=[How long SIGTERM lets agents attach elsewhere before the gateway ends; a second one ends it at once. \[default\: 30\]]:SECONDS:_default' \
'--gateway_ca_file=[PEM of the CA that Ironic verifies tls_cert_file with, if its own CAs do not; without tls_cert_file a CA is made and kept in state_dir.]:PATH:_default' \
'--node_certificates=[Issue short-lived certificates to nodes, which agents then need\: for a join_token, or also for the agent_token that Ironic has given the node. \[default\: none\]]:none|join_token|agent_token:_default' \
'--node_certificate_lifetime=[How long such a certificate is valid; agents renew it at two thirds. \[default\: 86400\]]:SECONDS:_default' \
'--trust_domain=[What the names in certificates of nodes begin with\: spiffe\://NAME/node/UUID; the host of gateway_url when not given.]:NAME:_default' \
'--nodes_ca_cert_file=[PEM of the CA that signs certificates of nodes; without it a CA is made and kept in state_dir.]:PATH:_default' \
'--nodes_ca_key_file=[PEM key of nodes_ca_cert_file.]:PATH:_default' \
'--directory=[Discovery (NATS)\: the servers by which replicas, gateways that share their nodes, find each other\: nats\://HOST\:PORT or tls\://HOST\:PORT.]:SERVERS:_default' \
'--directory_prefix=[First words of the subjects\: gateways with the same prefix are replicas, which share their nodes. \[default\: ironic-agent\]]:PREFIX:_default' \
'--directory_credentials_file=[File with one line for the NATS servers\: USER\:PASSWORD, or a token.]:PATH:_default' \
'--directory_ca_file=[PEM of the CA of the NATS servers; the system'\''s when not given.]:PATH:_default' \
'--directory_cert_file=[PEM certificate that is shown to the NATS servers.]:PATH:_default' \
'--directory_key_file=[PEM key of directory_cert_file.]:PATH:_default' \
'--peer_listen=[Where the other replicas call this gateway\: ADDRESS\:PORT.]:ADDRESS:_default' \
'--peer_url=[What the other replicas call this gateway by\: https\://HOST\:PORT.]:ADDRESS:_default' \
'--peer_tls_cert_file=[PEM certificate among replicas, for servers and clients, with the host of peer_url.]:PATH:_default' \
'--peer_tls_key_file=[PEM key of peer_tls_cert_file.]:PATH:_default' \
'--peer_tls_ca_file=[PEM of the CA that signs replicas; it must sign nobody else, and no agents.]:PATH:_default' \
'--global_request_id=[Sent to Ironic as X-OpenStack-Request-ID. \[kernel\: ipa-global-request-id\]]:TEXT:_default' \
'--ironic_call_rate=[Calls to Ironic per second with which a gateway begins, before it has learned what Ironic follows. \[default\: 100\]]:NUMBER:_default' \
'--ironic_api_version=[API version to use instead of asking Ironic for the newest. \[kernel\: ipa-ironic-api-version\]]:VERSION:_default' \
'--listen_host=[Address to listen at; \:\: takes IPv4, too. \[default\: 0.0.0.0\] \[kernel\: ipa-listen-host\]]:ADDRESS:_default' \
'--listen_port=[Port to listen at. \[default\: 9999\] \[kernel\: ipa-listen-port\]]:PORT:_default' \
'--listen_tls=[The certificate is given by tls_cert_file and tls_key_file; none is generated.]::BOOL:_default' \
'--tls_cert_file=[PEM certificate.]:PATH:_default' \
'--tls_key_file=[PEM key of tls_cert_file.]:PATH:_default' \
'--enable_auto_tls=[Generate a certificate and give it to Ironic. \[default\: true\]]::BOOL:_default' \
'--auto_tls_allowed_clock_skew=[How far the generated certificate is backdated. \[default\: 3600\]]:SECONDS:_default' \
'--tls_certificate_curve=[Elliptic curve of the generated key. \[default\: p384\] \[kernel\: ipa-tls-certificate-curve\]]:p256|p384|p521:_default' \
'--advertise_host=[Host of the URL that Ironic is given, instead of the address of the route to Ironic. \[kernel\: ipa-advertise-host\]]:TEXT:_default' \
'--advertise_port=[Port of the URL that Ironic is given. \[default\: 9999\] \[kernel\: ipa-advertise-port\]]:PORT:_default' \
'--advertise_protocol=[Scheme of the URL that Ironic is given, when no certificate is generated. \[default\: http\] \[kernel\: ipa-advertise-protocol\]]:http|https:_default' \
'--ip_lookup_attempts=[Rounds of the search for the address that Ironic is given. \[default\: 6\] \[kernel\: ipa-ip-lookup-attempts\]]:NUMBER:_default' \
'--ip_lookup_sleep=[Pause after a round without result. \[default\: 10\] \[kernel\: ipa-ip-lookup-timeout\]]:SECONDS:_default' \
'--network_interface=[Interface whose IPv4 address Ironic is given. \[kernel\: ipa-network-interface\]]:TEXT:_default' \
'--ssl-ca_file=[]:TEXT:_default' \
'--agent_token_required=[]::BOOL:_default' \
'--mdns-allowed_overrides=[Options that an answer may change. \[default\: inspection_callback_url,ntp_server\]]:LIST:_default' \
'--mdns-lookup_attempts=[How often it is asked. \[default\: 3\]]:NUMBER:_default' \
'--mdns-interfaces=[Addresses of the interfaces to ask at; all when not given.]:LIST:_default' \
'--mdns-params=[]:TEXT:_default' \
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
'--noinsecure_conductor_listen[]' \
'--noinsecure_fleet_listen[]' \
'--nolisten_tls[]' \
'--noenable_auto_tls[]' \
'--noagent_token_required[]' \
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
":: :_ironic-shim_commands" \
"*::: :->ironic-shim" \
&& ret=0
    case $state in
    (ironic-shim)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ironic-shim-command-$line[1]:"
        case $line[1] in
            (token)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
":: :_ironic-shim__subcmd__token_commands" \
"*::: :->token" \
&& ret=0

    case $state in
    (token)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:ironic-shim-token-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'--state_dir=[The gateway'\''s state_dir]:DIR:_files' \
'--node=[The only node that it is for]:UUID:_default' \
'*--label=[A label that the node must have]:KEY=VALUE:_default' \
'--uses=[How often it may be used]:NUMBER:_default' \
'--lifetime=[How long it may be used; an hour when not given]:SECONDS:_default' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--state_dir=[The gateway'\''s state_dir]:DIR:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
'--state_dir=[The gateway'\''s state_dir]:DIR:_files' \
'-h[Print help]' \
'--help[Print help]' \
':id -- What the token begins with:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_ironic-shim_commands] )) ||
_ironic-shim_commands() {
    local commands; commands=(
'token:Makes, lists and revokes join tokens, which prove to this gateway which node a machine is.' \
    )
    _describe -t commands 'ironic-shim commands' commands "$@"
}
(( $+functions[_ironic-shim__subcmd__token_commands] )) ||
_ironic-shim__subcmd__token_commands() {
    local commands; commands=(
'create:Makes a token and prints it, once' \
'list:Lists the tokens, without their secrets' \
'revoke:Ends a token' \
    )
    _describe -t commands 'ironic-shim token commands' commands "$@"
}
(( $+functions[_ironic-shim__subcmd__token__subcmd__create_commands] )) ||
_ironic-shim__subcmd__token__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'ironic-shim token create commands' commands "$@"
}
(( $+functions[_ironic-shim__subcmd__token__subcmd__list_commands] )) ||
_ironic-shim__subcmd__token__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'ironic-shim token list commands' commands "$@"
}
(( $+functions[_ironic-shim__subcmd__token__subcmd__revoke_commands] )) ||
_ironic-shim__subcmd__token__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'ironic-shim token revoke commands' commands "$@"
}

if [ "$funcstack[1]" = "_ironic-shim" ]; then
    _ironic-shim "$@"
else
    compdef _ironic-shim ironic-shim
fi
