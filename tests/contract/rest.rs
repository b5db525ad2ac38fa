//! The REST server: routes, tokens, documents, and requests that are refused. Contract rows 1
//! to 27.

use ironic_shim::agents::AgentKey;
use ironic_shim::rest::RestSettings;
use ironic_transport::Endpoint;
use serde_json::json;

use super::support::agents::{Agent, Script, TOKEN};
use super::support::front::{Front, with_token};
use super::support::golden;
use super::support::http::Answer;

const NODE: &str = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123";

async fn scripted() -> (Agent, Front) {
    let agent = Agent::scripted(&Script::default()).await;
    let front = Front::before(&agent.endpoint).await;
    (agent, front)
}

/// Rows 1 to 13, 18 to 22 and 66, and what they do not name: the answers themselves, byte by
/// byte but for dates and numbers that differ between runs.
#[tokio::test]
async fn answers_are_those_of_the_python_agent() {
    let (agent, front) = scripted().await;
    front.know(AgentKey::Node(NODE.into()), &agent.endpoint, Some(TOKEN));
    let token = |path: &str| with_token(path);
    let node = |path: &str| format!("/nodes/{NODE}{path}");
    let exchanges: Vec<(&str, String, &str)> = vec![
        ("GET", "/".into(), ""),
        ("HEAD", "/".into(), ""),
        ("GET", "/v1".into(), ""),
        ("GET", "/v1/".into(), ""),
        ("GET", "/v1/status".into(), ""),
        ("HEAD", "/v1/status".into(), ""),
        ("GET", "/status".into(), ""),
        ("GET", "/v1/status/".into(), ""),
        ("GET", "/v1/nope".into(), ""),
        ("DELETE", "/v1/status".into(), ""),
        ("OPTIONS", "/v1/commands/".into(), ""),
        ("OPTIONS", "*".into(), ""),
        ("POST", "/v1/commands/abc".into(), "{}"),
        ("PUT", "/v1/commands".into(), ""),
        ("GET", "/v1/commands?agent_token=a&x='%3C".into(), ""),
        ("POST", "/v1/commands?agent_token=a&wait=true".into(), "{}"),
        ("GET", "/v1//commands///".into(), ""),
        ("GET", "/v1//status?a=1".into(), ""),
        ("GET", "//v1/status".into(), ""),
        ("GET", "http://other/v1/status".into(), ""),
        ("get", "/v1/status".into(), ""),
        ("GET", "/v1/st%61tus/%FF".into(), ""),
        ("GET", "/v1/commands/".into(), ""),
        ("HEAD", "/v1/commands/".into(), ""),
        ("GET", "/v1/commands/?agent_token=".into(), ""),
        ("GET", token("/v1/commands/"), ""),
        ("HEAD", token("/v1/commands/"), ""),
        ("GET", token("/commands/"), ""),
        ("GET", token("/v1/commands/abc"), ""),
        ("GET", token("/v1/commands/a%20b"), ""),
        ("GET", token("/v1/commands/a%2fb"), ""),
        ("GET", token("/v1/commands/%C3%A9%22"), ""),
        (
            "GET",
            token("/v1/commands/6DD11111-2222-4333-8444-555555555555"),
            "",
        ),
        (
            "GET",
            token("/v1/commands/6dd11111-2222-4333-8444-555555555555"),
            "",
        ),
        ("GET", token("/v1/commands/abc/"), ""),
        ("POST", "/v1/commands/?agent_token=wrong".into(), "garbage"),
        ("POST", token("/v1/commands/"), "garbage"),
        ("POST", token("/v1/commands/"), ""),
        ("POST", token("/v1/commands/"), "{\"name\": \"x\"}"),
        (
            "POST",
            token("/v1/commands/"),
            "{\"name\": \"noext\", \"params\": {}}",
        ),
        (
            "POST",
            token("/v1/commands/"),
            "{\"name\": \"nope.cmd\", \"params\": {}}",
        ),
        (
            "POST",
            token("/v1/commands/"),
            "{\"name\": \"standby.nope\", \"params\": {}}",
        ),
        (
            "POST",
            token("/v1/commands/"),
            "{\"name\": \"standby.sync\", \"params\": {}}",
        ),
        (
            "POST",
            token("/commands/?wait=true"),
            "{\"name\": \"standby.run_image\", \"params\": {}}",
        ),
        ("GET", node(""), ""),
        ("GET", node("/"), ""),
        ("GET", node("/v1/"), ""),
        ("GET", node("/v1/status"), ""),
        ("GET", node("/v1/commands?x=1"), ""),
        ("GET", node("/v1/nope"), ""),
        ("GET", node("/v1/commands/"), ""),
        (
            "GET",
            "/nodes/00000000-0000-4000-8000-000000000000/v1/status".into(),
            "",
        ),
        ("GET", "/nodes/".into(), ""),
    ];
    let mut text = String::new();
    for (method, target, body) in exchanges {
        let answer = front.ask(method, &target, body.as_bytes()).await;
        text += &format!("> {method} {target}");
        if !body.is_empty() {
            text += &format!("  {body}");
        }
        text += &format!("\n{}\n", shown(&answer, target.ends_with("status")));
    }
    golden::check("rest/answers.txt", &text.replace(TOKEN, "TOKEN"));
}

/// An answer as text, without what differs between runs.
fn shown(answer: &Answer, timed: bool) -> String {
    let mut text = format!("{}\n", answer.status_line);
    for (name, value) in &answer.headers {
        let value = match name.as_str() {
            "Date" => {
                assert!(value.ends_with(" GMT") && value.len() == 29, "{value}");
                "DATE"
            }
            // The start time is a float with more or fewer digits.
            "Content-Length" if timed && answer.status == 200 => "LENGTH",
            _ => value,
        };
        text += &format!("{name}: {value}\n");
    }
    let body = String::from_utf8(answer.body.clone()).unwrap();
    // The only numbers and identifiers that differ.
    let body = replaced(
        &body,
        "\"started_at\": ",
        |c| c.is_ascii_digit() || c == '.',
        "TIME",
    );
    let body = replaced(&body, "{\"id\": \"", |c| c != '"', "ID");
    if answer.body.is_empty() {
        text
    } else {
        text + &body + "\n"
    }
}

fn replaced(text: &str, after: &str, differs: fn(char) -> bool, by: &str) -> String {
    match text.split_once(after) {
        Some((before, rest)) if !before.ends_with("\"versions\": [") => {
            format!("{before}{after}{by}{}", rest.trim_start_matches(differs))
        }
        _ => text.to_owned(),
    }
}

/// Row 4 and 6: exactly two keys, a float and a text, and no token.
#[tokio::test]
async fn the_status_is_open() {
    let (_agent, front) = scripted().await;
    let before = std::time::SystemTime::now();
    for path in ["/v1/status", "/status"] {
        let answer = front.get(path).await;
        let status = answer.json();
        let keys: Vec<&String> = status.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["started_at", "version"]);
        let started = status["started_at"].as_f64().unwrap();
        let now = before
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!((now - started).abs() < 60.0, "{started}");
        assert!(answer.text().contains('.'), "{}", answer.text());
        assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    }
}

/// Rows 12 to 18: what passes as a token.
#[tokio::test]
async fn only_the_first_token_counts() {
    let (_agent, front) = scripted().await;
    let refused = (401, "401 Unauthorized: Token invalid.".to_owned());
    let list = |query: &str| format!("/v1/commands/{query}");
    for query in [
        String::new(),
        "?agent_token=".into(),
        "?agent_token".into(),
        "?agent_token=wrong".into(),
        format!("?agent_token=wrong&agent_token={TOKEN}"),
        format!("?agent_token=&agent_token={TOKEN}"),
        format!("?agent_token={TOKEN}x"),
        format!("?agent_token={}", &TOKEN[1..]),
        format!("?Agent_Token={TOKEN}"),
        format!("?x=agent_token={TOKEN}"),
    ] {
        assert_eq!(front.get(&list(&query)).await.fault(), refused, "{query}");
        let body = format!(r#"{{"name": "standby.sync", "params": {{"agent_token": "{TOKEN}"}}}}"#);
        let answer = front.ask("POST", &list(&query), body.as_bytes()).await;
        assert_eq!(answer.fault(), refused, "{query}");
        let answer = front.get(&format!("/v1/commands/abc{query}")).await;
        assert_eq!(answer.fault(), refused, "{query}");
    }
    for query in [
        format!("?agent_token={TOKEN}"),
        format!("?agent_token={TOKEN}&agent_token=wrong"),
        format!("?wait=false&agent%5Ftoken=%30{}", &TOKEN[1..]),
    ] {
        assert_eq!(front.get(&list(&query)).await.status, 200, "{query}");
    }
}

/// Row 14: a server without a token of its own refuses everybody, and so does an agent that
/// holds another one.
#[tokio::test]
async fn an_agent_without_a_token_refuses_every_token() {
    let agent = Agent::scripted(&Script::default()).await;
    for held in [None, Some(""), Some("another token of an earlier life")] {
        let front = Front::with(&agent.endpoint, held, RestSettings::default(), None).await;
        let shown = [
            TOKEN,
            "",
            "None",
            "null",
            "another%20token%20of%20an%20earlier%20life",
        ];
        for token in shown {
            let answer = front
                .get(&format!("/v1/commands/?agent_token={token}"))
                .await;
            // A token of an earlier life makes way for the one that the agent takes, which the
            // shim asks it: the first of these.
            let is_learned = token == TOKEN && held.is_some_and(|held| !held.is_empty());
            let status = if is_learned { 200 } else { 401 };
            assert_eq!(answer.status, status, "{held:?} {token}");
        }
        assert_eq!(front.get("/v1/status").await.status, 200);
    }
}

/// Rows 5, 7 to 11, 18: the path and the method are looked at before the token, the token
/// before the body.
#[tokio::test]
async fn refusals_come_in_their_order() {
    let (_agent, front) = scripted().await;
    let cases = [
        ("POST", "/v1/commands/abc", "garbage", 405),
        ("DELETE", "/v1/commands/", "", 405),
        ("GET", "/v1/commands/abc/", "", 404),
        ("GET", "/v1/commands", "", 308),
        ("POST", "/v1/commands/", "garbage", 401),
    ];
    for (method, target, body, status) in cases {
        let answer = front.ask(method, target, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {target}");
    }
}

/// Rows 21 and 22, and the shapes to which the Python agent answers with 500.
#[tokio::test]
async fn a_body_that_is_no_command_is_refused() {
    let (_agent, front) = scripted().await;
    let shapeless = "400 Bad Request: Missing or invalid name or params";
    let undecoded = "400 Bad Request: Failed to decode JSON object: ";
    let cases: &[(&[u8], String)] = &[
        (b"", format!("{undecoded}Expecting value: line 1 column 1 (char 0)")),
        (b"garbage", format!("{undecoded}Expecting value: line 1 column 1 (char 0)")),
        (b"{\"name\": \"a.b\",\n \"params\": {}", format!("{undecoded}Expecting ',' delimiter: line 2 column 14 (char 29)")),
        (b"{\"name\": \xff}", format!("{undecoded}'utf-8' codec can't decode byte 0xff in position 9: invalid start byte")),
        (b"{}", shapeless.into()),
        (b"null", shapeless.into()),
        (b"7", shapeless.into()),
        (b"\"name params\"", shapeless.into()),
        (b"[]", shapeless.into()),
        (b"[\"name\", \"params\"]", shapeless.into()),
        (b"{\"name\": \"standby.sync\"}", shapeless.into()),
        (b"{\"params\": {}}", shapeless.into()),
        (b"{\"name\": \"standby.sync\", \"params\": []}", shapeless.into()),
        (b"{\"name\": \"standby.sync\", \"params\": null}", shapeless.into()),
        (b"{\"name\": 5, \"params\": {}}", shapeless.into()),
        (b"{\"name\": \"standby.sync\", \"params\": {\"self\": 1}}", shapeless.into()),
        (b"{\"name\": \"standby.sync\", \"params\": {\"command_name\": 1}}", shapeless.into()),
        (b"{\"name\": \"noext\", \"params\": {}}", "Invalid command: Command name must be of the form <extension>.<name>".into()),
        (b"{\"name\": \"\", \"params\": {}}", "Invalid command: Command name must be of the form <extension>.<name>".into()),
        (b"{\"name\": \"standby.a.b\", \"params\": {}}", "Invalid command: Unknown command: a.b".into()),
        (b"{\"name\": \"standby.\", \"params\": {}}", "Invalid command: Unknown command: ".into()),
        (b"{\"name\": \"clean.get_clean_steps\", \"params\": {\"node\": 5, \"ports\": []}}", "Invalid command parameters: 'node' must be an object, but is a number".into()),
        (b"{\"name\": \"clean.get_clean_steps\", \"params\": {\"node\": {\"id\": [9007199254740993]}}}", "Invalid command parameters: node.id[0] is 9007199254740993: an integer beyond 2^53 cannot be carried exactly, send it as a string".into()),
    ];
    for (body, sentence) in cases {
        let answer = front.ask("POST", &with_token("/v1/commands/"), body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer.fault(), (400, sentence.clone()), "{shown}");
    }
    // Rows 24 and 25.
    for (name, extension) in [("nope.cmd", "nope"), (".", ""), ("Standby.sync", "Standby")] {
        let sentence = format!("Not found: Extension with id {extension} not found.");
        let answer = front.run(name, json!({})).await;
        assert_eq!(answer.fault(), (404, sentence), "{name}");
    }
    assert_eq!(front.list().await, Vec::<serde_json::Value>::new());
}

/// A shim whose agent is gone says so, in a form that the conductor can show.
#[tokio::test]
async fn a_dead_agent_is_named() {
    let agent = Endpoint::Unix("/nonexistent/agent.sock".into());
    let front = Front::before(&agent).await;
    let sentence =
        "503 Service Unavailable: the agent does not answer at unix:/nonexistent/agent.sock: ";
    for answer in [
        front.get("/v1/status").await,
        front.look("/v1/commands/").await,
        front
            .look("/v1/commands/6dd11111-2222-4333-8444-555555555555")
            .await,
        front.run("standby.sync", json!({})).await,
    ] {
        let (status, text) = answer.fault();
        assert_eq!(status, 503);
        assert!(text.starts_with(sentence), "{text}");
        assert!(text.contains("No such file or directory"), "{text}");
    }
    // What needs no agent works.
    assert_eq!(front.get("/").await.status, 200);
    assert_eq!(front.run("nope.cmd", json!({})).await.status, 404);
}
