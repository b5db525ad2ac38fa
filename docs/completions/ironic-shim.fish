complete -c ironic-shim -l config-file -d 'Read this file; may be repeated.' -r -F
complete -c ironic-shim -l config-dir -d 'Read the *.conf files of this directory, in the order of their names; may be repeated.' -r -F
complete -c ironic-shim -l debug -d 'More lines in the log. The kernel parameter ipa-debug wins over every other source. [kernel: ipa-debug]' -r
complete -c ironic-shim -l grpc_tls_cert_file -d 'PEM certificate of this program for gRPC between agent and shim.' -r
complete -c ironic-shim -l grpc_tls_key_file -d 'PEM key of grpc_tls_cert_file.' -r
complete -c ironic-shim -l grpc_tls_ca_file -d 'PEM certificates that the other end\'s gRPC certificate must chain to.' -r
complete -c ironic-shim -l api_url -d 'Addresses of the Ironic API, tried in this order; or mdns. [kernel: ipa-api-url]' -r
complete -c ironic-shim -l agent_token -d 'Token shared with the conductor, replaced by the one that a lookup answers. [kernel: ipa-agent-token]' -r
complete -c ironic-shim -l agent_token_file -d 'File that holds agent_token: a command line can be read by every user of the machine. The environment variable IRONIC_AGENT_TOKEN may hold it, too.' -r
complete -c ironic-shim -l http_request_timeout -d 'Time limit for one exchange with Ironic. [default: 30] [kernel: ipa-http-request-timeout]' -r
complete -c ironic-shim -l tls_min_version -d 'Oldest TLS version, as server and as client. A lookup may raise it. [default: 1.2] [kernel: ipa-tls-min-version]' -r
complete -c ironic-shim -l tls_cipher_suites -d 'OpenSSL names of TLS 1.2 cipher suites, separated by colons. [kernel: ipa-tls-cipher-suites]' -r
complete -c ironic-shim -l insecure -d 'Do not verify the certificates of servers. [kernel: ipa-insecure]' -r
complete -c ironic-shim -l cafile -d 'PEM certificates that servers must chain to, instead of the built-in ones.' -r
complete -c ironic-shim -l certfile -d 'PEM client certificate.' -r
complete -c ironic-shim -l keyfile -d 'PEM key of certfile.' -r
complete -c ironic-shim -l inspection_callback_url -d 'Addresses that take the inspection report, or mdns. [kernel: ipa-inspection-callback-url]' -r
complete -c ironic-shim -l inspection_collectors -d 'Collectors of the report; default and logs when not given. [kernel: ipa-inspection-collectors]' -r
complete -c ironic-shim -l mdns-use_mdns -d 'Look for Ironic when no address is given. [kernel: ipa-use-mdns]' -r
complete -c ironic-shim -l state_dir -d 'Directory for what must survive a restart of the program but not of the machine. [default: /run/ironic-shim]' -r
complete -c ironic-shim -l agent -d 'Where the shim finds its agent: http://, https:// or unix:PATH. [default: unix:/run/ironic-agent/agent.sock]' -r
complete -c ironic-shim -l conductor_listen -d 'Where the shim serves ConductorService: ADDRESS:PORT or unix:PATH. [default: unix:/run/ironic-shim/conductor.sock]' -r
complete -c ironic-shim -l insecure_conductor_listen -d 'Let conductor_listen be an address that other machines reach without client certificates: unauthenticated machines may look nodes up.' -r
complete -c ironic-shim -l gateway_url -d 'Be a gateway for many agents, which Ironic reaches below this URL.' -r
complete -c ironic-shim -l metrics_listen -d 'Where /metrics (Prometheus), /healthz and /readyz are served: ADDRESS:PORT or unix:PATH. Plain HTTP without authentication, for a management network.' -r
complete -c ironic-shim -l gateway_ca_file -d 'PEM of the CA that Ironic verifies tls_cert_file with, if its own CAs do not; without tls_cert_file a CA is made and kept in state_dir.' -r
complete -c ironic-shim -l directory -d 'NATS servers by which gateways that share their nodes find each other: nats://HOST:PORT or tls://HOST:PORT.' -r
complete -c ironic-shim -l directory_prefix -d 'First words of the subjects: gateways with the same prefix share their nodes. [default: ironic-agent]' -r
complete -c ironic-shim -l directory_credentials_file -d 'File with one line for the NATS servers: USER:PASSWORD, or a token.' -r
complete -c ironic-shim -l directory_ca_file -d 'PEM of the CA of the NATS servers; the system\'s when not given.' -r
complete -c ironic-shim -l directory_cert_file -d 'PEM certificate that is shown to the NATS servers.' -r
complete -c ironic-shim -l directory_key_file -d 'PEM key of directory_cert_file.' -r
complete -c ironic-shim -l peer_listen -d 'Where the other gateways call this one: ADDRESS:PORT.' -r
complete -c ironic-shim -l peer_url -d 'What the other gateways call this one by: https://HOST:PORT.' -r
complete -c ironic-shim -l peer_tls_cert_file -d 'PEM certificate among gateways, for servers and clients, with the host of peer_url.' -r
complete -c ironic-shim -l peer_tls_key_file -d 'PEM key of peer_tls_cert_file.' -r
complete -c ironic-shim -l peer_tls_ca_file -d 'PEM of the CA that signs gateways; it must sign nobody else, and no agents.' -r
complete -c ironic-shim -l global_request_id -d 'Sent to Ironic as X-OpenStack-Request-ID. [kernel: ipa-global-request-id]' -r
complete -c ironic-shim -l ironic_api_version -d 'API version to use instead of asking Ironic for the newest. [kernel: ipa-ironic-api-version]' -r
complete -c ironic-shim -l listen_host -d 'Address to listen at; :: takes IPv4, too. [default: 0.0.0.0] [kernel: ipa-listen-host]' -r
complete -c ironic-shim -l listen_port -d 'Port to listen at. [default: 9999] [kernel: ipa-listen-port]' -r
complete -c ironic-shim -l listen_tls -d 'The certificate is given by tls_cert_file and tls_key_file; none is generated.' -r
complete -c ironic-shim -l tls_cert_file -d 'PEM certificate.' -r
complete -c ironic-shim -l tls_key_file -d 'PEM key of tls_cert_file.' -r
complete -c ironic-shim -l enable_auto_tls -d 'Generate a certificate and give it to Ironic. [default: true]' -r
complete -c ironic-shim -l auto_tls_allowed_clock_skew -d 'How far the generated certificate is backdated. [default: 3600]' -r
complete -c ironic-shim -l tls_certificate_curve -d 'Elliptic curve of the generated key. [default: p384] [kernel: ipa-tls-certificate-curve]' -r
complete -c ironic-shim -l advertise_host -d 'Host of the URL that Ironic is given, instead of the address of the route to Ironic. [kernel: ipa-advertise-host]' -r
complete -c ironic-shim -l advertise_port -d 'Port of the URL that Ironic is given. [default: 9999] [kernel: ipa-advertise-port]' -r
complete -c ironic-shim -l advertise_protocol -d 'Scheme of the URL that Ironic is given, when no certificate is generated. [default: http] [kernel: ipa-advertise-protocol]' -r
complete -c ironic-shim -l ip_lookup_attempts -d 'Rounds of the search for the address that Ironic is given. [default: 6] [kernel: ipa-ip-lookup-attempts]' -r
complete -c ironic-shim -l ip_lookup_sleep -d 'Pause after a round without result. [default: 10] [kernel: ipa-ip-lookup-timeout]' -r
complete -c ironic-shim -l network_interface -d 'Interface whose IPv4 address Ironic is given. [kernel: ipa-network-interface]' -r
complete -c ironic-shim -l ssl-ca_file -d '' -r
complete -c ironic-shim -l agent_token_required -d '' -r
complete -c ironic-shim -l mdns-allowed_overrides -d 'Options that an answer may change. [default: inspection_callback_url,ntp_server]' -r
complete -c ironic-shim -l mdns-lookup_attempts -d 'How often it is asked. [default: 3]' -r
complete -c ironic-shim -l mdns-interfaces -d 'Addresses of the interfaces to ask at; all when not given.' -r
complete -c ironic-shim -l mdns-params -d '' -r
complete -c ironic-shim -l metrics-backend -d '' -r
complete -c ironic-shim -l metrics-prepend_host -d '' -r
complete -c ironic-shim -l metrics-prepend_host_reverse -d '' -r
complete -c ironic-shim -l metrics-global_prefix -d '' -r
complete -c ironic-shim -l metrics_statsd-statsd_host -d '' -r
complete -c ironic-shim -l metrics_statsd-statsd_port -d '' -r
complete -c ironic-shim -l log_config_append -d '' -r
complete -c ironic-shim -l log_date_format -d '' -r
complete -c ironic-shim -l log_file -d '' -r
complete -c ironic-shim -l log_dir -d '' -r
complete -c ironic-shim -l watch_log_file -d '' -r
complete -c ironic-shim -l use_syslog -d '' -r
complete -c ironic-shim -l use_journal -d '' -r
complete -c ironic-shim -l syslog_log_facility -d '' -r
complete -c ironic-shim -l use_json -d '' -r
complete -c ironic-shim -l use_stderr -d '' -r
complete -c ironic-shim -l log_color -d '' -r
complete -c ironic-shim -l log_rotate_interval -d '' -r
complete -c ironic-shim -l log_rotate_interval_type -d '' -r
complete -c ironic-shim -l log_rotation_type -d '' -r
complete -c ironic-shim -l max_logfile_count -d '' -r
complete -c ironic-shim -l max_logfile_size_mb -d '' -r
complete -c ironic-shim -l logging_context_format_string -d '' -r
complete -c ironic-shim -l logging_default_format_string -d '' -r
complete -c ironic-shim -l logging_debug_format_suffix -d '' -r
complete -c ironic-shim -l logging_exception_prefix -d '' -r
complete -c ironic-shim -l logging_user_identity_format -d '' -r
complete -c ironic-shim -l default_log_levels -d '' -r
complete -c ironic-shim -l publish_errors -d '' -r
complete -c ironic-shim -l instance_format -d '' -r
complete -c ironic-shim -l instance_uuid_format -d '' -r
complete -c ironic-shim -l rate_limit_interval -d '' -r
complete -c ironic-shim -l rate_limit_burst -d '' -r
complete -c ironic-shim -l rate_limit_except_level -d '' -r
complete -c ironic-shim -l fatal_deprecations -d '' -r
complete -c ironic-shim -l nodebug
complete -c ironic-shim -l noinsecure
complete -c ironic-shim -l mdns-nouse_mdns
complete -c ironic-shim -l noinsecure_conductor_listen
complete -c ironic-shim -l nolisten_tls
complete -c ironic-shim -l noenable_auto_tls
complete -c ironic-shim -l noagent_token_required
complete -c ironic-shim -l metrics-noprepend_host
complete -c ironic-shim -l metrics-noprepend_host_reverse
complete -c ironic-shim -l nowatch_log_file
complete -c ironic-shim -l nouse_syslog
complete -c ironic-shim -l nouse_journal
complete -c ironic-shim -l nouse_json
complete -c ironic-shim -l nouse_stderr
complete -c ironic-shim -l nolog_color
complete -c ironic-shim -l nopublish_errors
complete -c ironic-shim -l nofatal_deprecations
complete -c ironic-shim -s h -l help -d 'Print help'
complete -c ironic-shim -s V -l version -d 'Print version'
