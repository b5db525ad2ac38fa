//! A registry that is a table of answers: who is asked what, with which proof.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream;
use ironic_transport::tls::TlsSettings;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::token::parameter;
use super::*;
use crate::system::fetch::RangeRequest;

const HOST: &str = "https://r.example/v2/os/image/";
const REALM: &str = "https://auth.example/token";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// What a registry asks of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RegistryAuth {
    Open,
    Basic,
    /// A token is good for so many requests.
    Token(usize),
}

#[derive(Debug)]
struct Registry {
    auth: RegistryAuth,
    documents: HashMap<String, Vec<u8>>,
    asked: Mutex<Vec<(String, String)>>,
    tokens: Mutex<(usize, usize)>,
    /// Requests for a part.
    parts: Mutex<usize>,
}

impl Registry {
    fn new(auth: RegistryAuth, documents: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self {
            auth,
            documents: documents.into_iter().collect(),
            asked: Mutex::default(),
            tokens: Mutex::default(),
            parts: Mutex::default(),
        }
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }

    fn is_let_in(&self, proof: &str) -> bool {
        match self.auth {
            RegistryAuth::Open => true,
            RegistryAuth::Basic => proof == "Basic me:word",
            RegistryAuth::Token(uses) => {
                let mut tokens = self.tokens.lock().unwrap();
                let is_good = proof == format!("Bearer t{}", tokens.0) && tokens.1 < uses;
                tokens.1 += usize::from(is_good);
                is_good
            }
        }
    }

    fn challenge(&self) -> Option<String> {
        match self.auth {
            RegistryAuth::Open => None,
            RegistryAuth::Basic => Some("Basic realm=\"r\"".to_owned()),
            RegistryAuth::Token(_) => Some(format!(
                "Bearer realm=\"{REALM}\",service=\"r.example\",scope=\"repository:os/image:pull\""
            )),
        }
    }
}

impl Fetch for Registry {
    fn open(&self, request: FetchRequest) -> BoxFuture<'_, Result<FetchResponse, FetchError>> {
        let proof = match &request.credentials {
            None => String::new(),
            Some(Credentials::Header(text)) => text.clone(),
            Some(Credentials::Basic { user, password }) => format!("Basic {user}:{password}"),
        };
        self.asked
            .lock()
            .unwrap()
            .push((request.url.clone(), proof.clone()));
        if request.part.is_some() {
            *self.parts.lock().unwrap() += 1;
        }
        let (status, challenge, body) = if request.url.starts_with(REALM) {
            let mut tokens = self.tokens.lock().unwrap();
            *tokens = (tokens.0 + 1, 0);
            let token = json!({"token": format!("t{}", tokens.0), "expires_in": 60});
            (200, None, token.to_string().into_bytes())
        } else if !self.is_let_in(&proof) {
            (401, self.challenge(), b"{}".to_vec())
        } else {
            match self.documents.get(&request.url) {
                Some(document) => (200, None, document.clone()),
                None => (404, None, b"no such manifest".to_vec()),
            }
        };
        Box::pin(std::future::ready(Ok(FetchResponse {
            status,
            length: Some(body.len() as u64),
            validator: None,
            part: None,
            challenge,
            coding: None,
            retry_after: None,
            headers: "{}".into(),
            body: stream::iter([Ok(Bytes::from(body))]).boxed(),
        })))
    }
}

/// An index with a raw image of `content` for this machine.
fn documents(content: &[u8]) -> Vec<(String, Vec<u8>)> {
    let layer = json!({"mediaType": "application/zstd", "digest": digest(content),
                       "size": content.len()});
    let manifest = json!({"schemaVersion": 2, "layers": [layer]})
        .to_string()
        .into_bytes();
    let container = json!({"layers": [layer, layer]}).to_string().into_bytes();
    let entry =
        |manifest: &[u8]| json!({"digest": digest(manifest), "annotations": {"disktype": "raw"}});
    let index = json!({"manifests": [entry(&container), entry(&manifest)]});
    vec![
        (
            format!("{HOST}manifests/1.0"),
            index.to_string().into_bytes(),
        ),
        (format!("{HOST}manifests/plain"), manifest.clone()),
        (format!("{HOST}manifests/{}", digest(&manifest)), manifest),
        (format!("{HOST}manifests/{}", digest(&container)), container),
        (format!("{HOST}blobs/{}", digest(content)), content.to_vec()),
    ]
}

fn wanted(version: &str, credentials: Option<Credentials>) -> FetchRequest {
    FetchRequest {
        url: format!("oci://r.example/os/image{version}"),
        credentials,
        ..FetchRequest::default()
    }
}

async fn read(registries: &Registries<'_>, request: FetchRequest) -> Result<Vec<u8>, FetchError> {
    document(registries.open(request).await?, "the image").await
}

fn password() -> Option<Credentials> {
    Some(Credentials::Basic {
        user: "me".into(),
        password: "word".into(),
    })
}

#[tokio::test]
async fn an_image_is_found_by_tag_and_by_digest() {
    let registry = Registry::new(RegistryAuth::Open, documents(b"content"));
    let registries = Registries::new(&registry);
    let by_digest = registry
        .documents
        .keys()
        .filter(|url| url.contains("/manifests/sha256"))
        .find(|url| registry.documents[*url].len() < 200)
        .map(|url| format!("@{}", url.rsplit('/').next().unwrap()))
        .unwrap();
    for version in [":1.0", ":plain", &by_digest] {
        let request = wanted(version, None);
        let found = registries.digest(&request).await.unwrap();
        assert_eq!(found, digest(b"content"));
        let before = registry.asked().len();
        assert_eq!(read(&registries, request).await.unwrap(), b"content");
        // What a reference means is looked up once.
        assert_eq!(registry.asked().len(), before + 1);
    }
    // Everything else passes through.
    let other = FetchRequest {
        url: format!("{HOST}manifests/plain"),
        ..FetchRequest::default()
    };
    assert!(read(&registries, other).await.is_ok());
}

#[tokio::test]
async fn a_token_is_fetched_when_it_is_wanted_and_again_when_it_ends() {
    // Four requests per image: the index, two manifests and the blob.
    for (uses, tokens) in [(9, 1), (2, 2), (1, 4)] {
        for given in [None, password()] {
            let registry = Registry::new(RegistryAuth::Token(uses), documents(b"content"));
            let registries = Registries::new(&registry);
            let content = read(&registries, wanted(":1.0", given.clone())).await;
            assert_eq!(content.unwrap(), b"content");
            let asked = registry.asked();
            let to_service: Vec<_> = asked
                .iter()
                .filter(|(url, _)| url.starts_with(REALM))
                .collect();
            assert_eq!(to_service.len(), tokens);
            let proof = if given.is_some() { "Basic me:word" } else { "" };
            let url = format!("{REALM}?service=r.example&scope=repository:os/image:pull");
            assert!(
                to_service
                    .iter()
                    .all(|asked| **asked == (url.clone(), proof.into()))
            );
            // The password is for the token service alone.
            assert!(
                !asked
                    .iter()
                    .any(|(url, proof)| url.starts_with(HOST) && proof.starts_with("Basic"))
            );
        }
    }
}

#[tokio::test]
async fn passwords_and_ready_headers_go_to_the_registry() {
    let registry = Registry::new(RegistryAuth::Basic, documents(b"content"));
    let registries = Registries::new(&registry);
    assert!(read(&registries, wanted(":1.0", password())).await.is_ok());
    // Only the first request was without it.
    let without = registry
        .asked()
        .iter()
        .filter(|(_, proof)| proof.is_empty())
        .count();
    assert_eq!(without, 1);

    // What Ironic got from the token service.
    let registry = Registry::new(RegistryAuth::Token(9), documents(b"content"));
    registry.tokens.lock().unwrap().0 = 7;
    let registries = Registries::new(&registry);
    let header = Some(Credentials::Header("Bearer t7".into()));
    assert!(read(&registries, wanted(":1.0", header)).await.is_ok());
    assert!(
        registry
            .asked()
            .iter()
            .all(|(_, proof)| proof == "Bearer t7")
    );
}

#[tokio::test]
async fn refusals_say_what_is_missing() {
    let mut forged = documents(b"content");
    for (url, document) in &mut forged {
        if url.contains("manifests/sha256") {
            document.push(b' ');
        }
    }
    let mut longer = documents(b"content");
    longer.last_mut().unwrap().1.push(b'!');
    let header = Some(Credentials::Header("Bearer old".into()));
    for (registry, request, why) in [
        (
            Registry::new(RegistryAuth::Basic, []),
            wanted(":1.0", None),
            "user and a password",
        ),
        (
            Registry::new(RegistryAuth::Open, []),
            wanted(":1.0", None),
            "404: no such manifest",
        ),
        (
            Registry::new(RegistryAuth::Token(9), []),
            wanted(":1.0", header),
            "answered 401",
        ),
        (
            Registry::new(RegistryAuth::Open, forged),
            wanted(":1.0", None),
            "does not have the digest",
        ),
        (
            Registry::new(RegistryAuth::Open, longer),
            wanted(":1.0", None),
            "8 bytes for an image of 7",
        ),
        (
            Registry::new(RegistryAuth::Open, []),
            wanted(":/", None),
            "a tag has",
        ),
    ] {
        let registries = Registries::new(&registry);
        let error = read(&registries, request).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn a_password_goes_to_no_token_service_without_https() {
    let registry = Registry::new(RegistryAuth::Open, []);
    let registries = Registries::new(&registry);
    let ask = async |realm: &str, insecure: bool| {
        let request = FetchRequest {
            tls: TlsSettings {
                insecure,
                ..TlsSettings::default()
            },
            ..FetchRequest::default()
        };
        let challenge = format!("Bearer realm=\"{realm}\"");
        let proof = registries.authenticate(&challenge, password(), HOST, &request);
        proof.await.unwrap_err().to_string()
    };
    for (realm, insecure) in [
        ("http://auth.example/", true),
        ("http://127.0.0.1/", false),
        ("ftp://x/", true),
        ("", true),
    ] {
        assert!(
            ask(realm, insecure).await.contains("does not use https"),
            "{realm}"
        );
    }
    assert_eq!(registry.asked(), []);
    // On this machine, and when certificates do not count anyway.
    assert!(
        ask("http://127.0.0.1:5001/token", true)
            .await
            .contains("404")
    );
    let (url, _) = registry.asked().pop().unwrap();
    assert_eq!(
        url,
        "http://127.0.0.1:5001/token?scope=repository:os/image:pull"
    );
}

#[test]
fn challenges_are_read() {
    let parameters =
        "realm=\"https://a/t?x=1,2\", service=\"r, s\",error=invalid_token,scope=\"b\"";
    for (name, value) in [
        ("realm", Some("https://a/t?x=1,2")),
        ("Service", Some("r, s")),
        ("error", Some("invalid_token")),
        ("scope", Some("b")),
        ("nonce", None),
    ] {
        assert_eq!(parameter(parameters, name).as_deref(), value);
    }
    for broken in ["", "realm", "realm=\"x", "=", "realm=\"\""] {
        assert!(parameter(broken, "realm").unwrap_or_default().is_empty());
    }
    let url = token::token_url("https://t", r#"service="a b&c=ü",scope="s""#, "");
    assert_eq!(url, "https://t?service=a%20b%26c%3D%C3%BC&scope=s");
}

#[tokio::test]
async fn parts_are_parts_of_the_blob() {
    let registry = Registry::new(RegistryAuth::Open, documents(b"content"));
    let registries = Registries::new(&registry);
    let mut request = wanted(":plain", None);
    request.part = Some(RangeRequest {
        offset: 3,
        length: None,
        validator: None,
    });
    assert!(registries.open(request).await.is_ok());
    // A manifest is never asked for in part.
    assert_eq!(
        (registry.asked().len(), *registry.parts.lock().unwrap()),
        (2, 1)
    );
}

/// Nothing in a reference leads to another server or out of the repository: the HTTP client's
/// own parser finds exactly these parts in the URL.
fn assert_base_is_what_it_says(reference: &Reference) {
    let base = reference.base(false);
    let rest = base.strip_prefix("https://").unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    assert_eq!(authority, reference.registry, "{base}");
    assert_eq!(path, format!("/v2/{}/", reference.repository), "{base}");
    let url = reqwest::Url::parse(&base).unwrap();
    let uri: http::Uri = base.parse().unwrap();
    let host = uri.host().unwrap().to_ascii_lowercase();
    if !host.starts_with('[') {
        assert_eq!(url.host_str(), Some(host.as_str()), "{base}");
    }
    let port = uri.port_u16().unwrap_or(443);
    assert_eq!(url.port_or_known_default(), Some(port), "{base}");
    assert_eq!((url.username(), url.password()), ("", None), "{base}");
    assert_eq!(
        (url.path(), url.query(), url.fragment()),
        (path, None, None),
        "{base}"
    );
}

/// Every place of every authority of up to five characters from these holds, or is refused.
#[test]
fn a_registry_is_a_host_and_a_port_or_refused() {
    let letters = [
        "a", "A", "0", "1", ".", "-", "_", ":", "[", "]", "%", "@", "\\", "\u{e9}",
    ];
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        let longer = texts
            .iter()
            .flat_map(|text| letters.map(|letter| format!("{text}{letter}")))
            .collect();
        texts = longer;
        for text in &texts {
            if let Ok(reference) = Reference::parse(&format!("oci://{text}/a/b")) {
                assert_base_is_what_it_says(&reference);
            }
        }
    }
}

#[test]
fn damaged_input() {
    ironic_fuzz::run("registry", |bytes| {
        let _ = manifest::read(bytes, "x86_64");
        let text = String::from_utf8_lossy(bytes);
        if let Ok(reference) = Reference::parse(&text) {
            assert_base_is_what_it_says(&reference);
        }
        for name in ["realm", "service", "scope"] {
            let _ = parameter(&text, name);
        }
    });
}
