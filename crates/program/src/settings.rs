//! The options that both programs have.

use std::path::PathBuf;
use std::time::Duration;

use ironic_options::{Opt, opt, section};
use ironic_text::Secret;
use ironic_transport::grpc::TlsFiles;
use ironic_transport::tls::{self, TlsSettings, TlsVersion};

use crate::TOKEN_VARIABLE;

const URLS: &str = "addresses beginning with http:// or https://, separated by commas, or mdns";

const LOGGING: &str = "the log goes to standard error, one line each";
const METRICS: &str = "there is no statsd client: the backend is always noop";

/// The settings that both programs have. A field carries the name of its option, whose help is
/// what it means for an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonSettings {
    /// More lines in the log.
    pub debug: bool,
    /// PEM certificate of this program for gRPC between agent and shim.
    pub grpc_tls_cert_file: Option<PathBuf>,
    /// PEM key of `grpc_tls_cert_file`.
    pub grpc_tls_key_file: Option<PathBuf>,
    /// PEM certificates that the other end's gRPC certificate must chain to.
    pub grpc_tls_ca_file: Option<PathBuf>,

    /// Ironic API addresses in the order of preference, as configured; or one item `mdns`.
    pub api_url: Vec<String>,
    /// The pre-shared token; replaced by the one that a lookup answers.
    pub agent_token: Option<Secret>,
    /// The time limit for one HTTP exchange with Ironic, for connecting and for reading.
    pub http_request_timeout: Duration,

    /// The oldest TLS version, as server and as client.
    pub tls_min_version: TlsVersion,
    /// OpenSSL names of TLS 1.2 cipher suites, separated by colons or commas.
    pub tls_cipher_suites: Option<String>,
    /// Servers are not verified.
    pub insecure: bool,
    /// PEM certificates that servers must chain to; the system's when absent.
    pub cafile: Option<PathBuf>,
    /// PEM client certificate.
    pub certfile: Option<PathBuf>,
    /// PEM key of `certfile`.
    pub keyfile: Option<PathBuf>,

    /// Addresses that take inspection reports, used verbatim; or one item `mdns`.
    pub inspection_callback_url: Vec<String>,
    /// Collectors by name; `None` means `default` and `logs`, and no inspection unless
    /// `inspection_callback_url` asks for one.
    pub inspection_collectors: Option<Vec<String>>,
    /// `[mdns] use_mdns`: whether Ironic is looked for when no address is configured.
    pub use_mdns: bool,
}

impl Default for CommonSettings {
    /// Those of ironic-python-agent 13.0.
    fn default() -> Self {
        Self {
            debug: false,
            grpc_tls_cert_file: None,
            grpc_tls_key_file: None,
            grpc_tls_ca_file: None,
            api_url: Vec::new(),
            agent_token: None,
            http_request_timeout: Duration::from_secs(30),
            tls_min_version: TlsVersion::V1_2,
            tls_cipher_suites: None,
            insecure: false,
            cafile: None,
            certfile: None,
            keyfile: None,
            inspection_callback_url: Vec::new(),
            inspection_collectors: None,
            use_mdns: false,
        }
    }
}

impl CommonSettings {
    /// The rows of the options.
    #[rustfmt::skip]
    #[must_use]
    pub fn options() -> Vec<Opt<Self>> {
        let this_program = section("This program", [
            opt!(debug, "More lines in the log. The kernel parameter ipa-debug wins over every other source.").kernel_final("ipa-debug"),
            opt!(grpc_tls_cert_file, "PEM certificate of this program for gRPC between agent and shim.").kernel("ipa-grpc-tls-cert-file"),
            opt!(grpc_tls_key_file, "PEM key of grpc_tls_cert_file.").kernel("ipa-grpc-tls-key-file"),
            opt!(grpc_tls_ca_file, "PEM certificates that the other end's gRPC certificate must chain to.").kernel("ipa-grpc-tls-ca-file"),
        ]);
        let ironic = section("Ironic", [
            opt!(api_url if |urls| is_url_list(urls), "Addresses of the Ironic API, tried in this order; or mdns.").kernel("ipa-api-url").expecting(URLS).word("URLS"),
            opt!(agent_token, "Token shared with the conductor, replaced by the one that a lookup answers.").kernel("ipa-agent-token").environment(TOKEN_VARIABLE).secret().word("TOKEN"),
            Opt::file_of("agent_token", "agent_token_file", "File that holds agent_token: a command line can be read by every user of the machine. The environment variable IRONIC_AGENT_TOKEN may hold it, too."),
            opt!(http_request_timeout if |time| time.as_secs() >= 1, "Time limit for one exchange with Ironic.").kernel("ipa-http-request-timeout").expecting("a number of seconds, at least 1"),
        ]);
        let tls = section("TLS", [
            opt!(tls_min_version, "Oldest TLS version, as server and as client. A lookup may raise it.").kernel("ipa-tls-min-version"),
            opt!(tls_cipher_suites, "OpenSSL names of TLS 1.2 cipher suites, separated by colons or commas.").kernel("ipa-tls-cipher-suites"),
            opt!(insecure, "Do not verify the certificates of servers.").kernel("ipa-insecure"),
            opt!(cafile, "PEM certificates that servers must chain to, instead of the built-in ones."),
            opt!(certfile, "PEM client certificate.").pair("keyfile"),
            opt!(keyfile, "PEM key of certfile."),
        ]);
        let inspection = section("Inspection", [
            opt!(inspection_callback_url if |urls| is_url_list(urls), "Addresses that take the inspection report, or mdns.").kernel("ipa-inspection-callback-url").expecting(URLS).word("URLS"),
            opt!(inspection_collectors, "Collectors of the report; default and logs when not given.").kernel("ipa-inspection-collectors"),
        ]);
        let mdns = section("Multicast DNS", [
            opt!(use_mdns, "Look for Ironic when no address is given.").group("mdns").kernel("ipa-use-mdns"),
        ]);
        this_program.chain(ironic).chain(tls).chain(inspection).chain(mdns).collect()
    }

    /// How this program, as a client, trusts HTTPS servers and proves who it is.
    #[must_use]
    pub fn client_tls(&self) -> TlsSettings {
        TlsSettings {
            insecure: self.insecure,
            ca_file: self.cafile.clone(),
            // One without the other is reported when the options are loaded.
            identity: self.certfile.clone().zip(self.keyfile.clone()),
            only_1_3: self.tls_min_version == TlsVersion::V1_3,
            cipher_suites: tls::cipher_suites(
                self.tls_cipher_suites.as_deref().unwrap_or_default(),
            ),
        }
    }

    /// The files for gRPC between agent and shim.
    #[must_use]
    pub fn grpc_tls(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.grpc_tls_cert_file.clone(),
            key: self.grpc_tls_key_file.clone(),
            authorities: self.grpc_tls_ca_file.clone(),
        }
    }
}

/// Options of ironic-python-agent that neither program offers.
#[rustfmt::skip]
pub fn not_offered<S: 'static>() -> impl Iterator<Item = Opt<S>> {
    section("Not offered", [
        Opt::not_offered("metrics", "backend", METRICS),
        Opt::switch_not_offered("metrics", "prepend_host", METRICS),
        Opt::switch_not_offered("metrics", "prepend_host_reverse", METRICS),
        Opt::not_offered("metrics", "global_prefix", METRICS),
        Opt::not_offered("metrics_statsd", "statsd_host", METRICS),
        Opt::not_offered("metrics_statsd", "statsd_port", METRICS),
        Opt::not_offered("", "log_config_append", LOGGING),
        Opt::not_offered("", "log_date_format", LOGGING),
        Opt::not_offered("", "log_file", LOGGING).old(&[("", "logfile")]),
        Opt::not_offered("", "log_dir", LOGGING).old(&[("", "logdir")]),
        Opt::switch_not_offered("", "watch_log_file", LOGGING),
        Opt::switch_not_offered("", "use_syslog", LOGGING),
        Opt::switch_not_offered("", "use_journal", LOGGING),
        Opt::not_offered("", "syslog_log_facility", LOGGING),
        Opt::switch_not_offered("", "use_json", LOGGING),
        Opt::switch_not_offered("", "use_stderr", LOGGING),
        Opt::switch_not_offered("", "log_color", LOGGING),
        Opt::not_offered("", "log_rotate_interval", LOGGING),
        Opt::not_offered("", "log_rotate_interval_type", LOGGING),
        Opt::not_offered("", "log_rotation_type", LOGGING),
        Opt::not_offered("", "max_logfile_count", LOGGING),
        Opt::not_offered("", "max_logfile_size_mb", LOGGING),
        Opt::not_offered("", "logging_context_format_string", LOGGING),
        Opt::not_offered("", "logging_default_format_string", LOGGING),
        Opt::not_offered("", "logging_debug_format_suffix", LOGGING),
        Opt::not_offered("", "logging_exception_prefix", LOGGING),
        Opt::not_offered("", "logging_user_identity_format", LOGGING),
        Opt::not_offered("", "default_log_levels", LOGGING),
        Opt::switch_not_offered("", "publish_errors", LOGGING),
        Opt::not_offered("", "instance_format", LOGGING),
        Opt::not_offered("", "instance_uuid_format", LOGGING),
        Opt::not_offered("", "rate_limit_interval", LOGGING),
        Opt::not_offered("", "rate_limit_burst", LOGGING),
        Opt::not_offered("", "rate_limit_except_level", LOGGING),
        Opt::switch_not_offered("", "fatal_deprecations", LOGGING),
    ])
}

/// Whether every address begins as a URL does, or the only one is `mdns`.
#[must_use]
pub fn is_url_list(urls: &[String]) -> bool {
    let begins = |url: &String, scheme| {
        url.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    };
    let is_url = |url: &String| begins(url, "http://") || begins(url, "https://");
    urls == ["mdns"] || urls.iter().all(is_url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_suites_of_a_client_may_be_separated_by_colons_or_commas() {
        for text in ["A:B", "A,B", " A , B:", ":A::B,"] {
            let settings = CommonSettings {
                tls_cipher_suites: Some(text.to_owned()),
                ..CommonSettings::default()
            };
            assert_eq!(settings.client_tls().cipher_suites, ["A", "B"], "{text}");
        }
    }

    #[test]
    fn half_a_client_certificate_is_not_used() {
        let settings = CommonSettings {
            certfile: Some("/c".into()),
            ..CommonSettings::default()
        };
        assert_eq!(settings.client_tls().identity, None);
    }

    #[test]
    fn addresses_are_urls_or_mdns() {
        let cases: [(&[&str], bool); 6] = [
            (&["http://a", "https://b"], true),
            (&["mdns"], true),
            (&["mdns", "http://a"], false),
            (&["ftp://x"], false),
            (&["http://"], false),
            (&[], true),
        ];
        for (urls, valid) in cases {
            let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
            assert_eq!(is_url_list(&urls), valid, "{urls:?}");
        }
    }
}
