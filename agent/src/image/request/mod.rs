//! Ironic's `image_info`: an open document in, a checked request out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::deployment::Object;
use super::oci;
use crate::config::{Config, ImageServerAuth};
use crate::failure::{Failure, FailureKind};
use crate::system::fetch::{Credentials, Proxies};

/// A checksum of this many hexadecimal digits or less can only be MD5.
const MD5_DIGITS: usize = 32;

/// What is to be written, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct ImageRequest {
    /// The image's id, for messages.
    pub(super) id: String,
    /// Where it is, in the order of preference. Never empty.
    pub(super) urls: Vec<String>,
    /// The declared format in lower case; `None` when absent, null or `unknown`.
    pub(super) disk_format: Option<String>,
    /// Whether it is one partition's content instead of a whole disk's.
    pub(super) is_partition: bool,
    /// What the image's checksum is claimed to be.
    pub(super) checksums: Checksums,
    /// The proxies to use.
    pub(super) proxies: Proxies,
    /// The older place of the config drive.
    pub(super) configdrive: Option<String>,
}

/// The checksum keys as they came; see `checksum` for how one is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Checksums {
    /// Name of a hash.
    pub(super) os_hash_algo: Option<String>,
    /// Hexadecimal digest, or the URL of a checksum file.
    pub(super) os_hash_value: Option<String>,
    /// Hexadecimal digest, or the URL of a checksum file.
    pub(super) checksum: Option<String>,
}

impl ImageRequest {
    /// Reads a document that the validator may not have seen: steps bypass it.
    pub(super) fn new(info: &Object, config: &Config) -> Result<Self, Failure> {
        validate(info, config)?;
        let text = |key: &str| text(info, key);
        let urls = info
            .get("urls")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(|url| url.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| refused("Image 'urls' must hold text only."))?;
        Ok(Self {
            id: match info.get("id") {
                Some(Value::String(id)) => id.clone(),
                other => other.map(ToString::to_string).unwrap_or_default(),
            },
            urls,
            disk_format: text("disk_format")
                .map(|format| format.to_ascii_lowercase())
                .filter(|format| format != "unknown"),
            is_partition: text("image_type").as_deref() == Some("partition"),
            checksums: Checksums {
                os_hash_algo: text("os_hash_algo").map(|name| name.to_ascii_lowercase()),
                os_hash_value: text("os_hash_value"),
                checksum: text("checksum"),
            },
            proxies: proxies(info),
            configdrive: text("configdrive"),
        })
    }
}

/// Checks `image_info` before anything is started, in the order and with the words of the
/// Python agent's validator.
///
/// # Errors
/// `InvalidCommandParams`.
pub fn validate(image_info: &Object, config: &Config) -> Result<(), Failure> {
    for field in ["id", "urls"] {
        if !image_info.contains_key(field) {
            return Err(refused(format!("Image is missing '{field}' field.")));
        }
    }
    if !matches!(image_info.get("urls"), Some(Value::Array(urls)) if !urls.is_empty()) {
        return Err(refused(
            "Image 'urls' must be a list with at least one element.",
        ));
    }
    // The name of an image in a registry leads to its digest.
    let mut usable = matches!(image_info.get("urls"), Some(Value::Array(urls))
        if urls.iter().filter_map(Value::as_str).any(oci::is_reference));
    if let Some(checksum) = image_info.get("checksum").filter(|value| !value.is_null()) {
        let checksum = non_empty(checksum, "checksum")?;
        usable |= is_url(checksum) || checksum.len() > MD5_DIGITS || config.md5_enabled;
    }
    let algorithm = image_info.get("os_hash_algo").unwrap_or(&Value::Null);
    let value = image_info.get("os_hash_value").unwrap_or(&Value::Null);
    if is_truthy(algorithm) || is_truthy(value) {
        non_empty(algorithm, "os_hash_algo")?;
        non_empty(value, "os_hash_value")?;
        usable = true;
    }
    if usable {
        Ok(())
    } else {
        Err(refused(
            "Image checksum is not available, either the 'checksum' field or the \
             'os_hash_algo' and 'os_hash_value' fields pair must be set for image verification.",
        ))
    }
}

/// Who we are to the image server: of the three sources the first that says anything,
/// never a mixture.
///
/// # Errors
/// What is wrong, to be told as a failed download.
pub(super) fn credentials(info: &Object, config: &Config) -> Result<Option<Credentials>, String> {
    if let Some(encoded) = text(info, "image_request_authorization") {
        let header = STANDARD
            .decode(encoded)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or("image_request_authorization is not base64 encoded text")?;
        return Ok(Some(Credentials::Header(header)));
    }
    let basic = ImageServerAuth::HttpBasic.word();
    let strategy = text(info, "image_server_auth_strategy");
    // Another strategy of the node brings no credentials, so the agent's own are used.
    let (user, password) = if strategy.as_deref() == Some(basic) {
        (
            text(info, "image_server_user"),
            text(info, "image_server_password"),
        )
    } else if config.image_server_auth_strategy == ImageServerAuth::HttpBasic {
        let password = config.image_server_password.as_ref();
        (
            config.image_server_user.clone(),
            password.map(|secret| secret.reveal().to_owned()),
        )
    } else {
        return Ok(None);
    };
    match (
        user.filter(|text| !text.is_empty()),
        password.filter(|text| !text.is_empty()),
    ) {
        (Some(user), Some(password)) => Ok(Some(Credentials::Basic { user, password })),
        (user, password) => {
            let missing: Vec<_> = [("user", user), ("password", password)]
                .into_iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| format!("'{name}'"))
                .collect();
            Err(format!(
                "Missing [{}] fields from HTTP(S) basic auth config",
                missing.join(", ")
            ))
        }
    }
}

/// Whether a value of this document is the address of something rather than the thing.
pub(super) fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    })
}

fn proxies(info: &Object) -> Proxies {
    let proxy = |scheme: &str| {
        let url = info.get("proxies")?.get(scheme)?.as_str()?;
        Some(url.to_owned()).filter(|url| !url.is_empty())
    };
    Proxies {
        http: proxy("http"),
        https: proxy("https"),
        except: text(info, "no_proxy"),
    }
}

/// A text that is there and not empty.
fn text(info: &Object, key: &str) -> Option<String> {
    let text = info.get(key)?.as_str()?;
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn non_empty<'a>(value: &'a Value, field: &str) -> Result<&'a str, Failure> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| refused(format!("Image '{field}' must be a non-empty string.")))
}

/// Python's idea of truth, by which the pair counts as given.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn refused(details: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidCommandParams, details)
}

#[cfg(test)]
mod tests {
    use ironic_text::Secret;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else {
            panic!("{value}")
        };
        object
    }

    fn verdict(info: Value, md5_enabled: bool) -> Result<(), String> {
        let config = Config {
            md5_enabled,
            ..Config::default()
        };
        validate(&object(info), &config).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_validator_speaks_like_the_python_agent() {
        let urls = json!(["http://host/image"]);
        let none = "Image checksum is not available, either the 'checksum' field or the \
                    'os_hash_algo' and 'os_hash_value' fields pair must be set for image verification.";
        for (info, error) in [
            (json!({}), "Image is missing 'id' field."),
            (json!({"id": "x"}), "Image is missing 'urls' field."),
            (
                json!({"id": "x", "urls": []}),
                "Image 'urls' must be a list with at least one element.",
            ),
            (
                json!({"id": "x", "urls": "http://host"}),
                "Image 'urls' must be a list with at least one element.",
            ),
            (
                json!({"id": "x", "urls": urls, "checksum": 5}),
                "Image 'checksum' must be a non-empty string.",
            ),
            (
                json!({"id": "x", "urls": urls, "checksum": ""}),
                "Image 'checksum' must be a non-empty string.",
            ),
            (
                json!({"id": "x", "urls": urls, "os_hash_algo": "sha256"}),
                "Image 'os_hash_value' must be a non-empty string.",
            ),
            (
                json!({"id": "x", "urls": urls, "os_hash_value": "ab"}),
                "Image 'os_hash_algo' must be a non-empty string.",
            ),
            (
                json!({"id": "x", "urls": urls, "checksum": "a".repeat(32)}),
                none,
            ),
            (json!({"id": "x", "urls": urls, "checksum": null}), none),
        ] {
            let expected = format!("Invalid command parameters: {error}");
            assert_eq!(verdict(info.clone(), false), Err(expected), "{info}");
        }
    }

    #[test]
    fn the_validator_accepts_every_usable_checksum() {
        let urls = json!(["http://host/image"]);
        for (info, md5_enabled) in [
            (json!({"checksum": "short"}), true),
            (json!({"checksum": "a".repeat(64)}), false),
            (json!({"checksum": "https://fake.url"}), false),
            (
                json!({"checksum": null, "os_hash_algo": "md5", "os_hash_value": "ab"}),
                false,
            ),
            (
                json!({"os_hash_algo": "sha512", "os_hash_value": "http://host/sums"}),
                false,
            ),
        ] {
            let mut info = object(info);
            info.insert("id".into(), "x".into());
            info.insert("urls".into(), urls.clone());
            assert_eq!(
                verdict(Value::Object(info.clone()), md5_enabled),
                Ok(()),
                "{info:?}"
            );
        }
    }

    #[test]
    fn credentials_come_from_one_source() {
        let configured = Config {
            image_server_auth_strategy: ImageServerAuth::HttpBasic,
            image_server_user: Some("agent".into()),
            image_server_password: Some(Secret::new("word")),
            ..Config::default()
        };
        let basic = |user: &str, password: &str| {
            Ok(Some(Credentials::Basic {
                user: user.into(),
                password: password.into(),
            }))
        };
        let found = |info: Value, config: &Config| credentials(&object(info), config);
        assert_eq!(found(json!({}), &Config::default()), Ok(None));
        assert_eq!(found(json!({}), &configured), basic("agent", "word"));
        let token = json!({"image_request_authorization": "QmVhcmVyIGYwMA=="});
        assert_eq!(
            found(token, &configured),
            Ok(Some(Credentials::Header("Bearer f00".into())))
        );
        let own = json!({"image_server_auth_strategy": "http_basic",
                         "image_server_user": "u", "image_server_password": "p"});
        assert_eq!(found(own, &configured), basic("u", "p"));
        // The strategy is the node's, the credentials only the agent's: not mixed.
        for strategy in ["noauth", "", "bearer"] {
            let alone = json!({"image_server_auth_strategy": strategy});
            assert_eq!(found(alone.clone(), &configured), basic("agent", "word"));
            assert_eq!(found(alone, &Config::default()), Ok(None));
        }
        // Credentials without a strategy are the node's word about nothing.
        let silent = json!({"image_server_user": "u", "image_server_password": "p"});
        assert_eq!(found(silent.clone(), &configured), basic("agent", "word"));
        assert_eq!(found(silent, &Config::default()), Ok(None));
        let mixed = json!({"image_server_auth_strategy": "http_basic", "image_server_user": ""});
        assert_eq!(
            found(mixed, &configured),
            Err("Missing ['user', 'password'] fields from HTTP(S) basic auth config".into())
        );
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!(
            "{:?}",
            Credentials::Basic {
                user: "u".into(),
                password: "hunter2".into()
            }
        );
        assert!(!shown.contains("hunter2"));
    }

    #[test]
    fn a_request_is_read_once_and_whole() {
        let info = object(json!({
            "id": 7, "urls": ["http://a/x", "http://b/x"], "disk_format": "RAW",
            "image_type": "whole-disk-image", "os_hash_algo": "SHA256", "os_hash_value": "AB",
            "proxies": {"http": "http://p:1", "https": ""}, "no_proxy": "local", "configdrive": null,
        }));
        let request = ImageRequest::new(&info, &Config::default()).unwrap();
        assert_eq!((request.id.as_str(), request.urls.len()), ("7", 2));
        assert_eq!(request.disk_format.as_deref(), Some("raw"));
        assert!(!request.is_partition);
        assert_eq!(request.checksums.os_hash_algo.as_deref(), Some("sha256"));
        assert_eq!(request.proxies.http.as_deref(), Some("http://p:1"));
        assert_eq!(request.proxies.https, None);
        assert_eq!(request.configdrive, None);
        let bad = object(json!({"id": "x", "urls": [1], "checksum": "a".repeat(64)}));
        assert!(ImageRequest::new(&bad, &Config::default()).is_err());
    }
}
