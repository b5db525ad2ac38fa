# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ironic_shim_global_optspecs
    string join \n config-file= config-dir= debug= nodebug grpc_tls_cert_file= grpc_tls_key_file= grpc_tls_ca_file= api_url= agent_token= agent_token_file= http_request_timeout= tls_min_version= tls_cipher_suites= insecure= noinsecure cafile= certfile= keyfile= inspection_callback_url= inspection_collectors= mdns-use_mdns= mdns-nouse_mdns state_dir= agent= conductor_listen= insecure_conductor_listen= noinsecure_conductor_listen gateway_url= metrics_listen= fleet_listen= insecure_fleet_listen= noinsecure_fleet_listen fleet_tls_cert_file= fleet_tls_key_file= fleet_tls_ca_file= page_listen= fleet_tls_crl_file= fleet_policy_file= node_dir= admit= drain_timeout= gateway_ca_file= node_certificates= node_certificate_lifetime= trust_domain= nodes_ca_cert_file= nodes_ca_key_file= directory= directory_prefix= directory_credentials_file= directory_ca_file= directory_cert_file= directory_key_file= peer_listen= peer_url= peer_tls_cert_file= peer_tls_key_file= peer_tls_ca_file= global_request_id= ironic_call_rate= ironic_api_version= listen_host= listen_port= listen_tls= nolisten_tls tls_cert_file= tls_key_file= enable_auto_tls= noenable_auto_tls auto_tls_allowed_clock_skew= tls_certificate_curve= advertise_host= advertise_port= advertise_protocol= ip_lookup_attempts= ip_lookup_sleep= network_interface= ssl-ca_file= agent_token_required= noagent_token_required mdns-allowed_overrides= mdns-lookup_attempts= mdns-interfaces= mdns-params= metrics-backend= metrics-prepend_host= metrics-noprepend_host metrics-prepend_host_reverse= metrics-noprepend_host_reverse metrics-global_prefix= metrics_statsd-statsd_host= metrics_statsd-statsd_port= log_config_append= log_date_format= log_file= log_dir= watch_log_file= nowatch_log_file use_syslog= nouse_syslog use_journal= nouse_journal syslog_log_facility= use_json= nouse_json use_stderr= nouse_stderr log_color= nolog_color log_rotate_interval= log_rotate_interval_type= log_rotation_type= max_logfile_count= max_logfile_size_mb= logging_context_format_string= logging_default_format_string= logging_debug_format_suffix= logging_exception_prefix= logging_user_identity_format= default_log_levels= publish_errors= nopublish_errors instance_format= instance_uuid_format= rate_limit_interval= rate_limit_burst= rate_limit_except_level= fatal_deprecations= nofatal_deprecations h/help V/version
end

function __fish_ironic_shim_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ironic_shim_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ironic_shim_using_subcommand
    set -l cmd (__fish_ironic_shim_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l config-file -d 'Read this file; may be repeated.' -r -F
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l config-dir -d 'Read the *.conf files of this directory, in the order of their names; may be repeated.' -r -F
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l debug -d 'More lines in the log. The kernel parameter ipa-debug wins over every other source. [kernel: ipa-debug]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l grpc_tls_cert_file -d 'PEM certificate of this program for gRPC between agent and shim. [kernel: ipa-grpc-tls-cert-file]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l grpc_tls_key_file -d 'PEM key of grpc_tls_cert_file. [kernel: ipa-grpc-tls-key-file]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l grpc_tls_ca_file -d 'PEM certificates that the other end\'s gRPC certificate must chain to. [kernel: ipa-grpc-tls-ca-file]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l api_url -d 'Addresses of the Ironic API, tried in this order; or mdns. [kernel: ipa-api-url]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l agent_token -d 'Token shared with the conductor, replaced by the one that a lookup answers. [kernel: ipa-agent-token]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l agent_token_file -d 'File that holds agent_token: a command line can be read by every user of the machine. The environment variable IRONIC_AGENT_TOKEN may hold it, too.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l http_request_timeout -d 'Time limit for one exchange with Ironic. [default: 30] [kernel: ipa-http-request-timeout]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l tls_min_version -d 'Oldest TLS version, as server and as client. A lookup may raise it. [default: 1.2] [kernel: ipa-tls-min-version]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l tls_cipher_suites -d 'OpenSSL names of TLS 1.2 cipher suites, separated by colons or commas. [kernel: ipa-tls-cipher-suites]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l insecure -d 'Do not verify the certificates of servers. [kernel: ipa-insecure]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l cafile -d 'PEM certificates that servers must chain to, instead of the built-in ones.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l certfile -d 'PEM client certificate.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l keyfile -d 'PEM key of certfile.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l inspection_callback_url -d 'Addresses that take the inspection report, or mdns. [kernel: ipa-inspection-callback-url]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l inspection_collectors -d 'Collectors of the report; default and logs when not given. [kernel: ipa-inspection-collectors]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l mdns-use_mdns -d 'Look for Ironic when no address is given. [kernel: ipa-use-mdns]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l state_dir -d 'Directory for what must survive a restart of the program but not of the machine. [default: /run/ironic-shim]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l agent -d 'Where the shim finds its agent: http://, https:// or unix:PATH. [default: unix:/run/ironic-agent/agent.sock]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l conductor_listen -d 'Where the shim serves ConductorService: ADDRESS:PORT or unix:PATH. [default: unix:/run/ironic-shim/conductor.sock]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l insecure_conductor_listen -d 'Let conductor_listen be an address that other machines reach without client certificates: unauthenticated machines may look nodes up.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l gateway_url -d 'Be a gateway for many agents, which Ironic reaches below this URL.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics_listen -d 'Where /metrics (Prometheus), /healthz and /readyz are served: ADDRESS:PORT or unix:PATH. Plain HTTP without authentication, for a management network.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fleet_listen -d 'Where a gateway serves its nodes to orchestrators and operators, by FleetService and every node\'s CommandService: ADDRESS:PORT or unix:PATH.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l insecure_fleet_listen -d 'Let fleet_listen be an address that other machines reach without client certificates: unauthenticated callers may write the disks of every node.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fleet_tls_cert_file -d 'PEM certificate of fleet_listen.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fleet_tls_key_file -d 'PEM key of fleet_tls_cert_file.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fleet_tls_ca_file -d 'PEM of the CA whose certificates callers of fleet_listen must show. It is not the CA of the agents.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l page_listen -d 'Where a page shows the nodes to operators with a browser: ADDRESS:PORT or unix:PATH, with the certificates of the options fleet_tls_*.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fleet_tls_crl_file -d 'PEM of the lists (CRL) of certificates that the CA of fleet_tls_ca_file has revoked; each CA in that file needs one then. While a list is past its next update, no certificate of its CA is accepted. Read again at SIGHUP.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fleet_policy_file -d 'YAML file that says which role the holder of a certificate has at fleet_listen: observer, operator or provisioner; without it every caller may do everything. Read again when it changes.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l node_dir -d 'Directory of files that describe nodes, as YAML or JSON: without api_url these are the nodes of a gateway, otherwise they name and label those of Ironic.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l admit -d 'Which machines a gateway without api_url takes: those that a file in node_dir describes, or, in a lab, any machine under the UUID that its firmware says. [default: listed]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l drain_timeout -d 'How long SIGTERM lets agents attach elsewhere before the gateway ends; a second one ends it at once. [default: 30]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l gateway_ca_file -d 'PEM of the CA that Ironic verifies tls_cert_file with, if its own CAs do not; without tls_cert_file a CA is made and kept in state_dir.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l node_certificates -d 'Issue short-lived certificates to nodes, which agents then need: for a join_token, or also for the agent_token that Ironic has given the node. [default: none]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l node_certificate_lifetime -d 'How long such a certificate is valid; agents renew it at two thirds. [default: 86400]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l trust_domain -d 'What the names in certificates of nodes begin with: spiffe://NAME/node/UUID; the host of gateway_url when not given.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nodes_ca_cert_file -d 'PEM of the CA that signs certificates of nodes; without it a CA is made and kept in state_dir.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nodes_ca_key_file -d 'PEM key of nodes_ca_cert_file.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l directory -d 'Discovery (NATS): the servers by which replicas, gateways that share their nodes, find each other: nats://HOST:PORT or tls://HOST:PORT.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l directory_prefix -d 'First words of the subjects: gateways with the same prefix are replicas, which share their nodes. [default: ironic-agent]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l directory_credentials_file -d 'File with one line for the NATS servers: USER:PASSWORD, or a token.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l directory_ca_file -d 'PEM of the CA of the NATS servers; the system\'s when not given.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l directory_cert_file -d 'PEM certificate that is shown to the NATS servers.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l directory_key_file -d 'PEM key of directory_cert_file.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l peer_listen -d 'Where the other replicas call this gateway: ADDRESS:PORT.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l peer_url -d 'What the other replicas call this gateway by: https://HOST:PORT.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l peer_tls_cert_file -d 'PEM certificate among replicas, for servers and clients, with the host of peer_url.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l peer_tls_key_file -d 'PEM key of peer_tls_cert_file.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l peer_tls_ca_file -d 'PEM of the CA that signs replicas; it must sign nobody else, and no agents.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l global_request_id -d 'Sent to Ironic as X-OpenStack-Request-ID. [kernel: ipa-global-request-id]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l ironic_call_rate -d 'Calls to Ironic per second with which a gateway begins, before it has learned what Ironic follows. [default: 100]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l ironic_api_version -d 'API version to use instead of asking Ironic for the newest. [kernel: ipa-ironic-api-version]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l listen_host -d 'Address to listen at; :: takes IPv4, too. [default: 0.0.0.0] [kernel: ipa-listen-host]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l listen_port -d 'Port to listen at. [default: 9999] [kernel: ipa-listen-port]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l listen_tls -d 'The certificate is given by tls_cert_file and tls_key_file; none is generated.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l tls_cert_file -d 'PEM certificate.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l tls_key_file -d 'PEM key of tls_cert_file.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l enable_auto_tls -d 'Generate a certificate and give it to Ironic. [default: true]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l auto_tls_allowed_clock_skew -d 'How far the generated certificate is backdated. [default: 3600]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l tls_certificate_curve -d 'Elliptic curve of the generated key. [default: p384] [kernel: ipa-tls-certificate-curve]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l advertise_host -d 'Host of the URL that Ironic is given, instead of the address of the route to Ironic. [kernel: ipa-advertise-host]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l advertise_port -d 'Port of the URL that Ironic is given. [default: 9999] [kernel: ipa-advertise-port]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l advertise_protocol -d 'Scheme of the URL that Ironic is given, when no certificate is generated. [default: http] [kernel: ipa-advertise-protocol]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l ip_lookup_attempts -d 'Rounds of the search for the address that Ironic is given. [default: 6] [kernel: ipa-ip-lookup-attempts]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l ip_lookup_sleep -d 'Pause after a round without result. [default: 10] [kernel: ipa-ip-lookup-timeout]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l network_interface -d 'Interface whose IPv4 address Ironic is given. [kernel: ipa-network-interface]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l ssl-ca_file -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l agent_token_required -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l mdns-allowed_overrides -d 'Options that an answer may change. [default: inspection_callback_url,ntp_server]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l mdns-lookup_attempts -d 'How often it is asked. [default: 3]' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l mdns-interfaces -d 'Addresses of the interfaces to ask at; all when not given.' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l mdns-params -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics-backend -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics-prepend_host -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics-prepend_host_reverse -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics-global_prefix -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics_statsd-statsd_host -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics_statsd-statsd_port -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_config_append -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_date_format -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_file -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_dir -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l watch_log_file -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l use_syslog -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l use_journal -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l syslog_log_facility -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l use_json -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l use_stderr -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_color -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_rotate_interval -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_rotate_interval_type -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l log_rotation_type -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l max_logfile_count -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l max_logfile_size_mb -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l logging_context_format_string -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l logging_default_format_string -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l logging_debug_format_suffix -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l logging_exception_prefix -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l logging_user_identity_format -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l default_log_levels -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l publish_errors -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l instance_format -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l instance_uuid_format -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l rate_limit_interval -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l rate_limit_burst -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l rate_limit_except_level -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l fatal_deprecations -d '' -r
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nodebug
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l noinsecure
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l mdns-nouse_mdns
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l noinsecure_conductor_listen
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l noinsecure_fleet_listen
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nolisten_tls
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l noenable_auto_tls
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l noagent_token_required
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics-noprepend_host
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l metrics-noprepend_host_reverse
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nowatch_log_file
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nouse_syslog
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nouse_journal
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nouse_json
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nouse_stderr
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nolog_color
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nopublish_errors
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -l nofatal_deprecations
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -s h -l help -d 'Print help'
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -s V -l version -d 'Print version'
complete -c ironic-shim -n "__fish_ironic_shim_needs_command" -f -a "token" -d 'Makes, lists and revokes join tokens, which prove to this gateway which node a machine is.'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s h -l help -d 'Print help'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "create" -d 'Makes a token and prints it, once'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "list" -d 'Lists the tokens, without their secrets'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "revoke" -d 'Ends a token'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from create" -l state_dir -d 'The gateway\'s state_dir' -r -F
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from create" -l node -d 'The only node that it is for' -r
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from create" -l label -d 'A label that the node must have' -r
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from create" -l uses -d 'How often it may be used' -r
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from create" -l lifetime -d 'How long it may be used; an hour when not given' -r
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from list" -l state_dir -d 'The gateway\'s state_dir' -r -F
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from revoke" -l state_dir -d 'The gateway\'s state_dir' -r -F
complete -c ironic-shim -n "__fish_ironic_shim_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
