//! What an `image_info` may be, in the words of the Python agent.

use ironic_document::JsonObject;
use serde_json::json;

use super::*;
use ironic_text::Secret;

use crate::config::{AgentConfig, ImageServerAuth};
use crate::system::fetch::Credentials;

fn object(value: Value) -> JsonObject {
    let Value::Object(object) = value else {
        panic!("{value}")
    };
    object
}

fn verdict(info: Value, md5_enabled: bool) -> Result<(), String> {
    let request = ImageRequest::from_document(&object(info), md5_enabled);
    request.map(drop).map_err(|error| error.to_string())
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
        assert_eq!(
            verdict(info.clone(), false),
            Err(error.to_owned()),
            "{info}"
        );
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
    let configured = AgentConfig {
        image_server_auth_strategy: ImageServerAuth::HttpBasic,
        image_server_user: Some("agent".into()),
        image_server_password: Some(Secret::new("word")),
        ..AgentConfig::default()
    };
    let basic = |user: &str, password: &str| {
        Ok(Some(Credentials::Basic {
            user: user.into(),
            password: password.into(),
        }))
    };
    let found = |info: Value, config: &AgentConfig| {
        ServerCredentials::from_document(&object(info)).resolve(config)
    };
    assert_eq!(found(json!({}), &AgentConfig::default()), Ok(None));
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
        assert_eq!(found(alone, &AgentConfig::default()), Ok(None));
    }
    // Credentials without a strategy are the node's word about nothing.
    let silent = json!({"image_server_user": "u", "image_server_password": "p"});
    assert_eq!(found(silent.clone(), &configured), basic("agent", "word"));
    assert_eq!(found(silent, &AgentConfig::default()), Ok(None));
    let mixed = json!({"image_server_auth_strategy": "http_basic", "image_server_user": ""});
    let error = found(mixed, &configured).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Missing ['user', 'password'] fields from HTTP(S) basic auth config"
    );
    let unreadable = json!({"image_request_authorization": "no base64"});
    assert_eq!(
        found(unreadable, &configured),
        Err(CredentialsError::NotBase64)
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
    let request = ImageRequest::from_document(&info, false).unwrap();
    assert_eq!((request.id.as_str(), request.urls.len()), ("7", 2));
    assert_eq!(request.disk_format.as_deref(), Some("raw"));
    assert!(request.partition.is_none());
    assert_eq!(request.checksums.os_hash_algo.as_deref(), Some("sha256"));
    assert_eq!(request.proxies.http.as_deref(), Some("http://p:1"));
    assert_eq!(request.proxies.https, None);
    assert_eq!(request.configdrive, None);
    let bad = object(json!({"id": "x", "urls": [1], "checksum": "a".repeat(64)}));
    assert!(ImageRequest::from_document(&bad, false).is_err());
}
