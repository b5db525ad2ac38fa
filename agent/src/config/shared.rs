//! The configuration in force: what was loaded, then what a lookup changed.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use ironic_document::JsonObject;
use ironic_text::Secret;
use ironic_transport::tls::TlsVersion;
use serde_json::Value;

use super::{AgentConfig, ContainerRunner};

/// A handle to the configuration in force. Cheap to clone; all clones see a change.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<RwLock<Arc<AgentConfig>>>);

/// What a lookup may change. `None` and empty mean unchanged; the names are Ironic's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionOverrides {
    /// Whether a checksum may be MD5: option `md5_enabled`.
    pub agent_md5_checksum_enable: Option<bool>,
    /// Option of the same name.
    pub disable_deep_image_inspection: Option<bool>,
    /// Option of the same name.
    pub permitted_image_formats: Option<Vec<String>>,
    /// Option of the same name; only switches it on.
    pub enable_bios_bootloader_install: Option<bool>,
    /// Whether the BMC's address is not looked for.
    pub agent_skip_bmc_detect: Option<bool>,
    /// `1.2` or `1.3`; empty means unchanged.
    pub tls_min_version: String,
    /// OpenSSL names; empty means unchanged.
    pub tls_cipher_suites: String,
    /// Options of group `container` by name.
    pub agent_containers: JsonObject,
}

/// A key of a lookup's answer that was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The key, with its group: `agent_containers.runner`.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: &'static str,
}

impl Shared {
    /// Shares a configuration.
    #[must_use]
    pub fn new(config: AgentConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// The configuration as it is now. Keep the `Arc` for one decision, not for long.
    #[must_use]
    pub fn current(&self) -> Arc<AgentConfig> {
        // A writer that panicked has replaced nothing: the value is whole.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies what a lookup answered. Nonsense is left out and reported: an answer that
    /// is partly wrong must not keep a machine from being deployed.
    pub fn apply(&self, overrides: &SessionOverrides) -> Vec<Ignored> {
        let mut ignored = Vec::new();
        self.change(|config| overrides.apply_to(config, &mut ignored));
        ignored
    }

    /// Replaces the agent token.
    pub fn adopt_token(&self, token: Secret) {
        self.change(|config| config.common.agent_token = Some(token));
    }

    fn change(&self, edit: impl FnOnce(&mut AgentConfig)) {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut config = AgentConfig::clone(&slot);
        edit(&mut config);
        *slot = Arc::new(config);
    }
}

impl SessionOverrides {
    fn apply_to(&self, config: &mut AgentConfig, ignored: &mut Vec<Ignored>) {
        if let Some(value) = self.agent_md5_checksum_enable {
            config.md5_enabled = value;
        }
        if let Some(value) = self.disable_deep_image_inspection {
            config.disable_deep_image_inspection = value;
        }
        if let Some(value) = &self.permitted_image_formats {
            config.permitted_image_formats.clone_from(value);
        }
        // Ironic's default is false and must not switch off what the operator asked for.
        config.enable_bios_bootloader_install |= self.enable_bios_bootloader_install == Some(true);
        config.agent_skip_bmc_detect |= self.agent_skip_bmc_detect == Some(true);
        match (
            self.tls_min_version.as_str(),
            TlsVersion::from_word(&self.tls_min_version),
        ) {
            ("", _) => {}
            (_, Some(version)) => config.common.tls_min_version = version,
            (_, None) => ignored.push(Ignored {
                key: "tls_min_version".to_owned(),
                reason: "expected 1.2 or 1.3",
            }),
        }
        if !self.tls_cipher_suites.is_empty() {
            config.common.tls_cipher_suites = Some(self.tls_cipher_suites.clone());
        }
        for (key, value) in &self.agent_containers {
            if let Err(reason) = container(config, key, value) {
                let key = format!("agent_containers.{key}");
                ignored.push(Ignored { key, reason });
            }
        }
    }
}

fn container(config: &mut AgentConfig, key: &str, value: &Value) -> Result<(), &'static str> {
    let container = &mut config.container;
    match key {
        "allow_arbitrary_containers" => {
            container.allow_arbitrary_containers =
                value.as_bool().ok_or("expected true or false")?;
        }
        "allowed_containers" => container.allowed_containers = texts(value)?,
        "pull_options" => container.pull_options = texts(value)?,
        "run_options" => container.run_options = texts(value)?,
        "container_steps_file" => {
            let path = value.as_str().ok_or("expected a path")?;
            container.container_steps_file = PathBuf::from(path);
        }
        "runner" => {
            let runner = value.as_str().and_then(ContainerRunner::from_word);
            container.runner = runner.ok_or("expected podman or docker")?;
        }
        _ => return Err("no such option"),
    }
    Ok(())
}

/// A list of texts, which Ironic sends as a list or as text with commas.
fn texts(value: &Value) -> Result<Vec<String>, &'static str> {
    const EXPECTED: &str = "expected a list of texts";
    match value {
        Value::String(text) => Ok(text
            .split(',')
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or(EXPECTED))
            .collect(),
        _ => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn containers(value: Value) -> SessionOverrides {
        let Value::Object(agent_containers) = value else {
            panic!("{value}")
        };
        SessionOverrides {
            agent_containers,
            ..SessionOverrides::default()
        }
    }

    #[test]
    fn absent_overrides_change_nothing() {
        let shared = Shared::new(AgentConfig::default());
        assert_eq!(shared.apply(&SessionOverrides::default()), []);
        assert_eq!(*shared.current(), AgentConfig::default());
    }

    #[test]
    fn every_clone_sees_a_change() {
        let shared = Shared::new(AgentConfig {
            md5_enabled: true,
            enable_bios_bootloader_install: true,
            ..AgentConfig::default()
        });
        let clone = shared.clone();
        let ignored = shared.apply(&SessionOverrides {
            agent_md5_checksum_enable: Some(false),
            disable_deep_image_inspection: Some(true),
            permitted_image_formats: Some(vec!["raw".into()]),
            enable_bios_bootloader_install: Some(false),
            agent_skip_bmc_detect: Some(true),
            tls_min_version: "1.3".into(),
            tls_cipher_suites: "ECDHE-RSA-AES256-GCM-SHA384".into(),
            agent_containers: JsonObject::new(),
        });
        assert_eq!(ignored, []);
        let config = clone.current();
        assert!(
            !config.md5_enabled
                && config.disable_deep_image_inspection
                && config.agent_skip_bmc_detect
        );
        assert!(
            config.enable_bios_bootloader_install,
            "only truthy values are applied"
        );
        assert_eq!(config.permitted_image_formats, ["raw"]);
        assert_eq!(config.common.tls_min_version, TlsVersion::V1_3);
        assert_eq!(
            config.common.tls_cipher_suites.as_deref(),
            Some("ECDHE-RSA-AES256-GCM-SHA384")
        );
        clone.adopt_token(Secret::new("T"));
        assert_eq!(shared.current().common.agent_token, Some(Secret::new("T")));
    }

    #[test]
    fn nonsense_is_left_out_and_named() {
        // Contract rows 89 and 90, and the TLS version that crashes the Python agent.
        let shared = Shared::default();
        let ignored = shared.apply(&containers(
            json!({"no_such_option": "x", "runner": "docker"}),
        ));
        assert_eq!(
            ignored,
            [Ignored {
                key: "agent_containers.no_such_option".into(),
                reason: "no such option"
            }]
        );
        assert_eq!(shared.current().container.runner, ContainerRunner::Docker);

        let shared = Shared::default();
        let ignored = shared.apply(&containers(
            json!({"runner": "nerdctl", "pull_options": "-a, -b", "run_options": 5}),
        ));
        let keys: Vec<_> = ignored.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(
            keys,
            ["agent_containers.runner", "agent_containers.run_options"]
        );
        assert_eq!(shared.current().container.runner, ContainerRunner::Podman);
        assert_eq!(shared.current().container.pull_options, ["-a", "-b"]);

        let ignored = shared.apply(&SessionOverrides {
            tls_min_version: "1.1".into(),
            ..SessionOverrides::default()
        });
        assert_eq!(ignored.len(), 1);
        assert_eq!(shared.current().common.tls_min_version, TlsVersion::V1_2);
    }
}
