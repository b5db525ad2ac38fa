//! The configuration file: gateways by name, each with the files that prove who the caller is.
//!
//! ```yaml
//! current_context: lab
//! contexts:
//!   lab:
//!     gateway: https://gw.example:9997
//!     ca_file: /home/me/lab/ca.crt
//!     certificate_file: /home/me/lab/me.crt
//!     key_file: /home/me/lab/me.key
//! ```
//!
//! Files are named and not copied: a certificate that is renewed in its place counts at the next call.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ironic_program::state_file;
use ironic_transport::Endpoint;
use ironic_transport::grpc::{InvalidEndpoint, TlsFiles};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContextFile {
    /// The context that counts when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current_context: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, GatewayContext>,
}

/// A gateway, and who the caller is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayContext {
    /// Its `fleet_listen`: `https://HOST:PORT`, `http://HOST:PORT` or `unix:/PATH`.
    pub(crate) gateway: String,
    /// PEM certificates that the gateway's must chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM certificate of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_file: Option<PathBuf>,
    /// PEM key of `certificate_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

/// Why there is no context to work with.
#[derive(Debug, Error)]
pub(crate) enum ContextError {
    /// Neither an option nor the environment says where the file is.
    #[error("there is no place for the configuration file: HOME is not set")]
    NoHome,
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path} is not a configuration file of agentctl")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        #[source]
        source: serde_saphyr::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is to be written cannot be YAML.
    #[error("the contexts cannot be written as YAML")]
    Serialize(#[source] serde_saphyr::SerializeError),
    /// A context names a gateway by something else than an address.
    #[error("context {name:?} in {path}")]
    Gateway {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidEndpoint,
    },
    /// No context is named and none is the current one.
    #[error("no context is chosen, and no --agent")]
    NoneChosen {
        /// The file.
        path: PathBuf,
        /// The contexts that there are.
        known: Vec<String>,
    },
    /// There is no context with this name.
    #[error("there is no context {name:?} in {path}")]
    Unknown {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The contexts that there are.
        known: Vec<String>,
    },
}

impl ContextError {
    /// What to do next.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::NoHome => "set AGENTCTL_CONFIG, or say --config FILE".to_owned(),
            Self::NoneChosen { known, .. } | Self::Unknown { known, .. } if known.is_empty() => {
                "make one: agentctl login NAME --gateway https://HOST:9997 --ca-file CA \
                 --certificate-file CERT --key-file KEY"
                    .to_owned()
            }
            Self::NoneChosen { known, .. } => format!(
                "choose one by --context, or for good by `agentctl contexts use`: {}",
                known.join(", ")
            ),
            Self::Unknown { known, name, .. } => format!(
                "there are: {}; `agentctl login {name} --gateway ...` makes it",
                known.join(", ")
            ),
            Self::Gateway { name, .. } => {
                format!("mend its `gateway`, or run `agentctl login {name}` again")
            }
            Self::Parse { .. } => {
                "correct it, or move it away and run `agentctl login`; docs/agentctl.md shows one"
                    .to_owned()
            }
            Self::Read { .. } | Self::Write { .. } | Self::Serialize(_) => {
                "name another file by --config or AGENTCTL_CONFIG".to_owned()
            }
        }
    }
}

/// The place of the file: the option or AGENTCTL_CONFIG, else that of the XDG base directories.
///
/// # Errors
/// The environment names no home.
pub(crate) fn config_path(
    option: Option<&Path>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, ContextError> {
    if let Some(path) = option {
        return Ok(path.to_owned());
    }
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .ok_or(ContextError::NoHome)?;
    Ok(base.join("agentctl/config.yaml"))
}

impl ContextFile {
    /// Reads the file; one that is not there has no contexts.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub(crate) fn read(path: &Path) -> Result<Self, ContextError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                let path = path.to_owned();
                return Err(ContextError::Read { path, source });
            }
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(&text).map_err(|source| ContextError::Parse {
            path: path.to_owned(),
            source,
        })
    }

    /// Replaces the file. Only its owner can read it.
    ///
    /// # Errors
    /// It cannot be written; the earlier one is whole then.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ContextError> {
        let text = serde_saphyr::to_string(self).map_err(ContextError::Serialize)?;
        state_file::replace(path, text.as_bytes()).map_err(|source| ContextError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The context with this name, or the current one.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn choose(
        &self,
        name: Option<&str>,
        path: &Path,
    ) -> Result<(&str, &GatewayContext), ContextError> {
        let known = || self.contexts.keys().cloned().collect();
        let path = path.to_owned();
        let Some(name) = name.or(self.current_context.as_deref()) else {
            let known = known();
            return Err(ContextError::NoneChosen { path, known });
        };
        match self.contexts.get_key_value(name) {
            Some((name, context)) => Ok((name, context)),
            None => Err(ContextError::Unknown {
                name: name.to_owned(),
                path,
                known: known(),
            }),
        }
    }
}

impl GatewayContext {
    /// The address of the gateway.
    ///
    /// # Errors
    /// It is not one.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, InvalidEndpoint> {
        let endpoint = self.gateway.parse();
        endpoint.map_err(|_| InvalidEndpoint::Url(self.gateway.clone()))
    }

    /// The files for TLS.
    pub(crate) fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.certificate_file.clone(),
            key: self.key_file.clone(),
            authorities: self.ca_file.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
