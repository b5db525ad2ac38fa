//! HTTP, HTTPS, proxies and redirects over real sockets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// The heads of the requests that a server saw.
type Heads = Arc<Mutex<Vec<String>>>;

/// A server that gives every request the same answer.
struct Server {
    address: std::net::SocketAddr,
    heads: Heads,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(answer: String, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Heads::default();
        let record = Arc::clone(&heads);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => answer_with(stream, &answer, &record).await,
                    Some(tls) => {
                        // A client that does not trust us ends the handshake.
                        if let Ok(stream) = tls.accept(stream).await {
                            answer_with(stream, &answer, &record).await;
                        }
                    }
                }
            }
        });
        Self {
            address,
            heads,
            _task: task,
        }
    }

    async fn plain(answer: &str) -> Self {
        Self::start(answer.to_owned(), None).await
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn answer_with(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, heads: &Heads) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    heads.lock().unwrap().push(head);
    // A client may be gone already.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"1\"\r\n\r\nhello";

/// A redirect.
fn found(location: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}

fn both_kinds_of_credentials() -> [Credentials; 2] {
    let (user, password) = ("me".into(), "word".into());
    [
        Credentials::Header("Bearer secret".into()),
        Credentials::Basic { user, password },
    ]
}

async fn get(request: FetchRequest) -> Result<String, FetchError> {
    let mut answer = HttpFetch::default().open(request).await?;
    let mut text = String::new();
    while let Some(piece) = answer.body.next().await {
        text.push_str(std::str::from_utf8(&piece?).unwrap());
    }
    Ok(text)
}

fn request(url: String) -> FetchRequest {
    FetchRequest {
        url,
        timeout: Duration::from_secs(30),
        ..FetchRequest::default()
    }
}

#[tokio::test]
async fn an_answer_comes_with_its_head_and_asks_for_no_encoding() {
    let server = Server::plain(HELLO).await;
    let mut wanted = request(format!("http://{}/image", server.address));
    wanted.part = Some(RangeRequest {
        offset: 7,
        length: None,
        validator: Some("\"1\"".into()),
    });
    let answer = HttpFetch::default().open(wanted).await.unwrap();
    assert_eq!((answer.status, answer.length), (200, Some(5)));
    assert_eq!(answer.validator.as_deref(), Some("\"1\""));
    let head = server.heads()[0].to_lowercase();
    for line in [
        "accept-encoding: identity",
        "range: bytes=7-",
        "if-range: \"1\"",
    ] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn requests_that_follow_each_other_share_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&connections);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            let mut heads = Vec::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                if line == "\r\n" {
                    let _ = stream.write_all(HELLO.as_bytes()).await;
                    heads.push(());
                }
                line.clear();
            }
            record.lock().unwrap().push(heads.len());
        }
    });
    let fetch = HttpFetch::default();
    for first in 0..3 {
        let mut wanted = request(format!("http://{address}/image"));
        wanted.part = Some(RangeRequest {
            offset: first,
            length: Some(2),
            validator: None,
        });
        let mut answer = fetch.open(wanted).await.unwrap();
        while let Some(piece) = answer.body.next().await {
            piece.unwrap();
        }
    }
    drop(fetch);
    // Dropping the client closes its connection.
    while connections.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*connections.lock().unwrap(), [3]);
}

#[tokio::test]
async fn a_part_is_asked_for_by_its_first_and_last_byte() {
    let server = Server::plain(HELLO).await;
    let mut wanted = request(format!("http://{}/image", server.address));
    for (offset, length, range) in [(7, Some(3), "bytes=7-9"), (0, Some(1), "bytes=0-0")] {
        wanted.part = Some(RangeRequest {
            offset,
            length,
            validator: None,
        });
        get(wanted.clone()).await.unwrap();
        let heads = server.heads();
        let head = heads.last().unwrap().to_lowercase();
        assert!(head.contains(&format!("range: {range}\r\n")), "{head}");
    }
    for (offset, length) in [(7, 0), (7, u64::MAX)] {
        wanted.part = Some(RangeRequest {
            offset,
            length: Some(length),
            validator: None,
        });
        let error = get(wanted.clone()).await.unwrap_err();
        assert!(!error.is_temporary(), "{error}");
    }
}

#[tokio::test]
async fn an_encoding_that_changes_the_bytes_is_refused_unless_they_are_verified() {
    for (header, is_coding) in [
        ("gzip", true),
        ("X-GZip", true),
        ("identity, br", true),
        ("zstd", true),
        ("aws-chunked", false),
        ("aws-chunked,gzip", true),
        ("", false),
        ("binary", false),
        ("utf-8", false),
        ("Identity", false),
        ("none", false),
    ] {
        let server = Server::plain(&format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {header}\r\nContent-Length: 5\r\n\r\nhello"
        ))
        .await;
        let wanted = request(format!("http://{}/", server.address));
        let answer = get(wanted.clone()).await;
        if is_coding {
            let error = answer.unwrap_err();
            assert!(error.to_string().contains("encodes the body"), "{error}");
        } else {
            assert_eq!(answer.unwrap(), "hello", "{header}");
        }
        let verified = FetchRequest {
            is_verified: true,
            ..wanted
        };
        assert_eq!(get(verified).await.unwrap(), "hello", "{header}");
    }
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    for (headers, seconds) in [
        ("Retry-After: 17", Some(17)),
        (
            "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\nRetry-After: Tue, 15 Nov 1994 08:13:31 GMT",
            Some(60),
        ),
        ("Retry-After: soon", None),
        ("Retry-After: -1", None),
        ("X: y", None),
    ] {
        let server = Server::plain(&format!(
            "HTTP/1.1 503 Busy\r\n{headers}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
        let wanted = request(format!("http://{}/", server.address));
        let answer = HttpFetch::default().open(wanted).await.unwrap();
        let wish = answer.retry_after.map(|wish| wish.as_secs());
        assert_eq!(wish, seconds, "{headers}");
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_server() {
    let target = Server::plain(HELLO).await;
    let redirect = found(&format!("http://{}/elsewhere", target.address));
    let first = Server::plain(&redirect).await;
    for credentials in both_kinds_of_credentials() {
        let mut wanted = request(format!("http://{}/image", first.address));
        wanted.credentials = Some(credentials);
        assert_eq!(get(wanted).await.unwrap(), "hello");
    }
    assert!(
        first
            .heads()
            .iter()
            .all(|head| head.contains("authorization: "))
    );
    assert_eq!(target.heads().len(), 2);
    assert!(
        !target
            .heads()
            .iter()
            .any(|head| head.contains("authorization: "))
    );
}

/// A server that sends its clients to another path of its own must not get what another server has
/// left behind. The query of a URL may be a signature: nobody else sees it either.
#[tokio::test]
async fn a_second_redirect_does_not_bring_credentials_back() {
    let target = Server::plain(HELLO).await;
    let middle = Server::plain(&found(&format!("http://{}/3", target.address))).await;
    // The middle one by another name, then by the same one again: two requests to another server.
    let again = Server::plain(&found(&format!("http://{}/2", middle.address))).await;
    let first = Server::plain(&found(&format!("http://{}/1", again.address))).await;
    for credentials in both_kinds_of_credentials() {
        let mut wanted = request(format!("http://{}/image?signature=secret", first.address));
        wanted.credentials = Some(credentials);
        assert_eq!(get(wanted).await.unwrap(), "hello");
    }
    let named = request(format!("http://me:word@{}/image", first.address));
    assert_eq!(get(named).await.unwrap(), "hello");
    let has_it = |head: &String| head.to_lowercase().contains("authorization: ");
    assert_eq!(first.heads().iter().filter(|head| has_it(head)).count(), 3);
    for other in [again, middle, target] {
        assert_eq!(other.heads().len(), 3);
        for head in other.heads() {
            let head = head.to_lowercase();
            assert!(!head.contains("authorization"), "{head}");
            assert!(
                !head.contains("referer") && !head.contains("signature"),
                "{head}"
            );
            assert!(head.contains("user-agent: ironic-agent/"), "{head}");
        }
    }
}

/// A redirect within a server: the credentials are still for it.
#[tokio::test]
async fn credentials_follow_a_redirect_within_their_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Heads::default();
    let record = Arc::clone(&heads);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let answers = [
            "HTTP/1.1 307 Elsewhere\r\nLocation: /2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
            format!("HTTP/1.1 301 Moved\r\nLocation: http://{address}/3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            HELLO.replace("ETag", "Connection: close\r\nETag"),
        ];
        for answer in answers.iter().cycle() {
            let (stream, _) = listener.accept().await.unwrap();
            answer_with(stream, answer, &record).await;
        }
    });
    let mut by_header = request(format!("http://{address}/1"));
    by_header.credentials = Some(Credentials::Header("Bearer secret".into()));
    let by_name = request(format!("http://me:word@{address}/1"));
    for wanted in [by_header, by_name] {
        assert_eq!(get(wanted).await.unwrap(), "hello");
    }
    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 6);
    let has_it = |head: &String| head.to_lowercase().contains("authorization: ");
    assert!(heads.iter().all(has_it), "{heads:?}");
}

/// A proxy wants its password for each request, wherever redirects lead.
#[tokio::test]
async fn a_proxy_gets_its_password_after_a_redirect_to_another_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let heads = Heads::default();
    let record = Arc::clone(&heads);
    let mut task = JoinSet::new();
    task.spawn(async move {
        for answer in [found("http://other.example/"), HELLO.to_owned()] {
            let (stream, _) = listener.accept().await.unwrap();
            answer_with(stream, &answer, &record).await;
        }
    });
    let mut wanted = request("http://mirror.example/image".to_owned());
    wanted.proxies.http = Some(format!("http://user:word@{proxy}"));
    assert_eq!(get(wanted).await.unwrap(), "hello");
    let heads = heads.lock().unwrap().clone();
    let has_it = |head: &String| head.to_lowercase().contains("proxy-authorization: basic");
    assert_eq!(
        heads.iter().filter(|head| has_it(head)).count(),
        2,
        "{heads:?}"
    );
}

#[tokio::test]
async fn a_redirect_out_of_tls_is_not_followed() {
    let target = Server::plain(HELLO).await;
    let redirect = found(&format!("http://{}/elsewhere", target.address));
    let directory = tempfile::tempdir().unwrap();
    let (tls, ca_file) = tls_of(directory.path(), &rustls::version::TLS13, None);
    let first = Server::start(redirect, Some(tls)).await;
    let mut wanted = request(format!("https://{}/image", first.address));
    wanted.tls.ca_file = Some(ca_file);
    let error = get(wanted).await.unwrap_err();
    assert!(error.to_string().contains("not https"), "{error}");
    assert!(!error.is_temporary());
    assert_eq!((first.heads().len(), target.heads().len()), (1, 0));
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let circle = found(&format!("http://127.0.0.1:{port}/"));
    let heads = Heads::default();
    let record = Arc::clone(&heads);
    let mut task = JoinSet::new();
    task.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer_with(stream, &circle, &record).await;
        }
    });
    let error = get(request(format!("http://127.0.0.1:{port}/")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn proxies_are_used_except_where_they_are_not_to_be() {
    let proxy = Server::plain(HELLO).await;
    let mut wanted = request("http://image.invalid/image".into());
    wanted.proxies.http = Some(format!("http://{}", proxy.address));
    wanted.proxies.except = Some("other.invalid,127.0.0.1".into());
    assert_eq!(get(wanted.clone()).await.unwrap(), "hello");
    assert!(proxy.heads()[0].starts_with("GET http://image.invalid/image "));

    let direct = Server::plain(HELLO).await;
    wanted.url = format!("http://{}/image", direct.address);
    assert_eq!(get(wanted).await.unwrap(), "hello");
    assert_eq!((proxy.heads().len(), direct.heads().len()), (1, 1));
}

#[tokio::test]
async fn an_international_host_name_is_asked_for_in_its_ascii_form() {
    let proxy = Server::plain(HELLO).await;
    // The examples of RFC 3492 and of UTS 46: a capital is folded, `ß` stays, both directions of
    // writing, a label that is composed of two characters.
    for (written, asked) in [
        ("bücher.invalid", "xn--bcher-kva.invalid"),
        ("BÜCHER.invalid", "xn--bcher-kva.invalid"),
        ("bu\u{308}cher.invalid", "xn--bcher-kva.invalid"),
        ("faß.invalid", "xn--fa-hia.invalid"),
        ("例え.invalid", "xn--r8jz45g.invalid"),
        ("مثال.invalid", "xn--mgbh0fb.invalid"),
    ] {
        let mut wanted = request(format!("http://{written}/image"));
        wanted.proxies.http = Some(format!("http://{}", proxy.address));
        assert_eq!(get(wanted).await.unwrap(), "hello");
        let heads = proxy.heads();
        let head = heads.last().unwrap();
        assert!(
            head.starts_with(&format!("GET http://{asked}/image ")),
            "{written}: {head}"
        );
    }
    // A mixture of both directions that nobody could read.
    let error = get(request("http://aא.invalid/image".into())).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("aא.invalid") || error.contains("URL"),
        "{error}"
    );
}

/// A server with a certificate of its own, and the file that makes it trusted.
async fn secure(directory: &std::path::Path) -> (Server, PathBuf) {
    secure_of(directory, &rustls::version::TLS12, None).await
}

/// The same of one version, which lets in whom `clients` vouches for, if anybody.
async fn secure_of(
    directory: &std::path::Path,
    version: &'static rustls::SupportedProtocolVersion,
    clients: Option<rustls_pki_types::CertificateDer<'static>>,
) -> (Server, PathBuf) {
    let (tls, ca_file) = tls_of(directory, version, clients);
    (Server::start(HELLO.to_owned(), Some(tls)).await, ca_file)
}

/// TLS of a server on this machine, and the file of its certificate.
fn tls_of(
    directory: &std::path::Path,
    version: &'static rustls::SupportedProtocolVersion,
    clients: Option<rustls_pki_types::CertificateDer<'static>>,
) -> (tokio_rustls::TlsAcceptor, PathBuf) {
    let names = vec!["127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).unwrap();
    let ca_file = directory.join("ca.pem");
    std::fs::write(&ca_file, cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = builder
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    (tls, ca_file)
}

#[tokio::test]
async fn https_trusts_the_configured_authorities() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ca_file) = secure(directory.path()).await;
    let wanted = |tls: TlsSettings| FetchRequest {
        tls,
        ..request(format!("https://{}/image", server.address))
    };
    let trusting = TlsSettings {
        ca_file: Some(ca_file),
        ..TlsSettings::default()
    };
    let careless = TlsSettings {
        insecure: true,
        ..TlsSettings::default()
    };
    for tls in [trusting.clone(), careless] {
        assert_eq!(get(wanted(tls)).await.unwrap(), "hello");
    }
    // A stranger's certificate, and a server that is too old.
    let strict = TlsSettings {
        only_1_3: true,
        ..trusting.clone()
    };
    for tls in [TlsSettings::default(), strict] {
        let error = get(wanted(tls)).await.unwrap_err();
        assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
        assert!(!error.is_temporary());
        assert!(error.to_string().contains("cafile"), "{error}");
    }
    // Suites by OpenSSL's names: the server's key is one for ECDSA.
    for (suite, is_common) in [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("ECDHE-RSA-AES128-GCM-SHA256", false),
    ] {
        let tls = TlsSettings {
            cipher_suites: vec![suite.into()],
            ..trusting.clone()
        };
        assert_eq!(get(wanted(tls)).await.is_ok(), is_common, "{suite}");
    }
}

#[tokio::test]
async fn a_server_of_the_newest_version_is_reached_when_only_that_may_be() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ca_file) = secure_of(directory.path(), &rustls::version::TLS13, None).await;
    let tls = TlsSettings {
        ca_file: Some(ca_file),
        only_1_3: true,
        ..TlsSettings::default()
    };
    let wanted = FetchRequest {
        tls,
        ..request(format!("https://{}/image", server.address))
    };
    assert_eq!(get(wanted).await.unwrap(), "hello");
}

#[tokio::test]
async fn our_certificate_is_sent_to_servers_that_ask_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let vouching = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec!["node".to_owned()]).unwrap();
    let own = own.signed_by(&key, &issuer).unwrap();
    let (cert_file, key_file) = (
        directory.path().join("own.pem"),
        directory.path().join("own.key"),
    );
    std::fs::write(&cert_file, own.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let clients = Some(vouching.der().clone());
        let (server, ca_file) = secure_of(directory.path(), version, clients).await;
        let wanted = |identity| FetchRequest {
            tls: TlsSettings {
                ca_file: Some(ca_file.clone()),
                identity,
                ..TlsSettings::default()
            },
            ..request(format!("https://{}/image", server.address))
        };
        let identity = Some((cert_file.clone(), key_file.clone()));
        assert_eq!(get(wanted(identity)).await.unwrap(), "hello");
        get(wanted(None)).await.unwrap_err();
        assert_eq!(server.heads().len(), 1);
    }
}

/// A proxy that asks for a password and connects to any address.
async fn tunnel(heads: Heads) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(stream.read_line(&mut head).await.unwrap() > 0);
            }
            heads.lock().unwrap().push(head.clone());
            // "image:secret"
            if !head.to_lowercase().contains("proxy-authorization: basic") {
                let refusal = "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(refusal.as_bytes()).await.unwrap();
                continue;
            }
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let mut there = tokio::net::TcpStream::connect(target).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
                .await
                .unwrap();
            // Either side may end it.
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
        }
    });
    address
}

#[tokio::test]
async fn https_goes_through_a_proxy_that_wants_a_password_and_sees_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ca_file) = secure(directory.path()).await;
    let heads = Heads::default();
    let proxy = tunnel(Arc::clone(&heads)).await;
    let mut wanted = request(format!("https://{}/image?sig=1", server.address));
    wanted.tls.ca_file = Some(ca_file);
    wanted.proxies.https = Some(format!("http://image:secret@{proxy}"));
    assert_eq!(get(wanted.clone()).await.unwrap(), "hello");
    let seen = heads.lock().unwrap().remove(0);
    assert!(
        seen.starts_with(&format!("CONNECT {} ", server.address)),
        "{seen}"
    );
    // "image:secret"
    assert!(seen.contains("Basic aW1hZ2U6c2VjcmV0"), "{seen}");
    assert!(!seen.contains("sig=1"), "{seen}");
    // And the server does not learn the proxy's password.
    assert!(
        !server.heads()[0].to_lowercase().contains("authorization"),
        "{:?}",
        server.heads()
    );
    wanted.proxies.https = Some(format!("http://{proxy}"));
    let error = get(wanted).await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(server.heads().len(), 1);
}
