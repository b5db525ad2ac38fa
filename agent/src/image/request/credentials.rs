//! The credentials for the image server: of the three sources the first that has any, never a
//! mixture.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ironic_document::JsonObject;
use ironic_text::Secret;
use thiserror::Error;

use super::text;
use crate::config::{AgentConfig, ImageServerAuth};
use crate::system::fetch::Credentials;

/// The credentials for the image server that the node names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ServerCredentials {
    /// Nothing: the agent's own configuration counts.
    #[default]
    Configured,
    /// An `Authorization` header.
    Header(Secret),
    /// A header that is not base64 encoded text.
    Unreadable,
    /// User and password of HTTP Basic.
    Basic {
        /// The user.
        user: Option<String>,
        /// The password.
        password: Option<Secret>,
    },
}

/// Why there are no credentials. The download fails because of it, and not the request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// The header cannot be read.
    #[error("image_request_authorization is not base64 encoded text")]
    NotBase64,
    /// HTTP Basic needs both.
    #[error("Missing [{}] fields from HTTP(S) basic auth config", .0.join(", "))]
    Missing(Vec<&'static str>),
}

impl ServerCredentials {
    pub(super) fn from_document(info: &JsonObject) -> Self {
        if let Some(encoded) = text(info, "image_request_authorization") {
            let decoded = STANDARD.decode(encoded).ok();
            let header = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            return header.map_or(Self::Unreadable, |text| Self::Header(Secret::new(text)));
        }
        let strategy = text(info, "image_server_auth_strategy");
        // Another strategy of the node brings no credentials, so the agent's own are used.
        if strategy.as_deref() == Some(ImageServerAuth::HttpBasic.word()) {
            return Self::Basic {
                user: text(info, "image_server_user"),
                password: text(info, "image_server_password").map(Secret::new),
            };
        }
        Self::Configured
    }

    /// What a request to the image server carries.
    pub(in crate::image) fn resolve(
        &self,
        config: &AgentConfig,
    ) -> Result<Option<Credentials>, CredentialsError> {
        match self {
            Self::Header(header) => Ok(Some(Credentials::Header(header.reveal().to_owned()))),
            Self::Unreadable => Err(CredentialsError::NotBase64),
            Self::Basic { user, password } => basic(user.as_deref(), password.as_ref()).map(Some),
            Self::Configured if config.image_server_auth_strategy == ImageServerAuth::HttpBasic => {
                let user = config.image_server_user.as_deref();
                basic(user, config.image_server_password.as_ref()).map(Some)
            }
            Self::Configured => Ok(None),
        }
    }
}

fn basic(user: Option<&str>, password: Option<&Secret>) -> Result<Credentials, CredentialsError> {
    let user = user.filter(|text| !text.is_empty());
    let password = password.map(Secret::reveal).filter(|text| !text.is_empty());
    match (user, password) {
        (Some(user), Some(password)) => Ok(Credentials::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        }),
        (user, password) => {
            let fields = [("'user'", user), ("'password'", password)];
            let missing = fields.into_iter().filter(|(_, value)| value.is_none());
            let missing = missing.map(|(name, _)| name);
            Err(CredentialsError::Missing(missing.collect()))
        }
    }
}
