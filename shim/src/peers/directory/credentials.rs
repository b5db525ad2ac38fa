//! The credentials of a replica for the NATS servers of the directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ironic_text::Secret;
use thiserror::Error;

/// Why the file of credentials cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryCredentialsError {
    /// It cannot be read.
    #[error("option directory_credentials_file: cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "option directory_credentials_file: {0} must hold one line, USER:PASSWORD or a token of the NATS server"
    )]
    Shape(PathBuf),
    /// It holds a user of NATS' decentralised authentication.
    #[error(
        "option directory_credentials_file: {0} holds a NATS user JWT, which is not supported: give the gateways a user with a password or a token, or a client certificate by directory_cert_file"
    )]
    Jwt(PathBuf),
}

/// What is shown to the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryCredentials {
    /// A user and the password.
    User(String, Secret),
    /// A token.
    Token(Secret),
}

impl DirectoryCredentials {
    /// Reads a file with one line.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, DirectoryCredentialsError> {
        let text =
            fs::read_to_string(path).map_err(|source| DirectoryCredentialsError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
        if text.contains("BEGIN NATS USER JWT") {
            return Err(DirectoryCredentialsError::Jwt(path.to_owned()));
        }
        let line = text.trim();
        if line.is_empty() || line.contains(char::is_whitespace) {
            return Err(DirectoryCredentialsError::Shape(path.to_owned()));
        }
        Ok(match line.split_once(':') {
            Some((user, password)) => Self::User(user.to_owned(), Secret::new(password)),
            None => Self::Token(Secret::new(line)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_a_user_or_a_token_or_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            DirectoryCredentials::read(&path).map_err(|error| error.to_string())
        };
        let user = DirectoryCredentials::User("gw".into(), Secret::new("a:b"));
        assert_eq!(read("gw:a:b\n"), Ok(user));
        assert_eq!(
            read("t0k3n\n"),
            Ok(DirectoryCredentials::Token(Secret::new("t0k3n")))
        );
        for text in ["", "\n", "user: password", "a\nb"] {
            let error = read(text).unwrap_err();
            assert!(error.contains("USER:PASSWORD"), "{text:?}: {error}");
        }
        let jwt = read("-----BEGIN NATS USER JWT-----\nx\n").unwrap_err();
        assert!(jwt.contains("not supported"), "{jwt}");
        fs::remove_file(&path).unwrap();
        let error = DirectoryCredentials::read(&path).unwrap_err().to_string();
        assert!(
            error.starts_with("option directory_credentials_file: cannot read"),
            "{error}"
        );
    }
}
