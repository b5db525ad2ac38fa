//! What `docs/agentctl.md` says to type is typed here, line by line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::terminals::OnTerminal;
use super::*;
use crate::support::tls::Authority;

const GUIDE: &str = include_str!("../../../docs/agentctl.md");
const ADDRESSES: [&str; 2] = ["52:54:00:e2:e0:01", "52:54:00:e2:e0:02"];
/// What the guide calls the gateway, the images, a digest and the address of an agent.
const GATEWAY: &str = "https://gw.example:9997";
const IMAGES: &str = "https://images.example";
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const AGENT: &str = "http://127.0.0.1:9998";

/// Serves the image under any name, and the list of digests. While it is told to stall, an image
/// stops at 1 MiB.
async fn serve_images(stalls: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let stalls = stalls.load(Ordering::SeqCst);
            tokio::spawn(answer(socket, stalls));
        }
    });
    url
}

async fn answer(mut socket: tokio::net::TcpStream, stalls: bool) {
    let mut request = [0; 4096];
    let length = socket.read(&mut request).await.unwrap_or_default();
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let (image, digest) = image();
    let is_list = request.starts_with("GET /SHA256SUMS");
    let names = ["debian-12.raw", "debian-12.raw.zst"];
    let list: String = names
        .iter()
        .map(|name| format!("{digest}  {name}\n"))
        .collect();
    let body = if is_list { list.into_bytes() } else { image };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = socket.write_all(head.as_bytes()).await;
    if stalls && !is_list {
        let _ = socket.write_all(&body[..1 << 20]).await;
        let _ = socket.read(&mut [0; 1]).await;
    } else {
        let _ = socket.write_all(&body).await;
    }
}

/// A gateway with TLS and two machines, in a directory with the files that the guide names.
struct GuideLab {
    lab: Lab,
    gateway: String,
    agent: String,
    images: String,
    stalls: Arc<AtomicBool>,
    /// The machine whose agent is called at its own address.
    _own: (Machine, AttachedAgent),
}

impl GuideLab {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let operators = Authority::new();
        let (server, client) = (operators.sign(), operators.sign());
        let write = |name: &str, text: &str| {
            let path = state.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        write("gw-ca.crt", &operators.pem);
        write("me.crt", &client.pem);
        write("me.key", &client.key);
        write("token", "secret-of-the-agent\n");
        let nodes = state.path().join("nodes");
        std::fs::create_dir(&nodes).unwrap();
        for (number, address) in ADDRESSES.iter().enumerate() {
            let number = number + 1;
            let node = format!(
                "{{uuid: 0000000{number}-0000-4000-8000-000000000000, name: rack1-{number}, \
                 macs: ['{address}'], labels: {{rack: '1'}}}}\n"
            );
            std::fs::write(nodes.join(format!("{number}.yaml")), node).unwrap();
        }
        let port = free_port();
        let config = ShimConfig {
            admit: ShimConfig::default().admit,
            node_dir: Some(nodes),
            fleet_listen: Some(format!("127.0.0.1:{port}").parse().unwrap()),
            fleet_tls_cert_file: write("gw.crt", &server.pem),
            fleet_tls_key_file: write("gw.key", &server.key),
            fleet_tls_ca_file: write("ca.crt", &operators.pem),
            ..Lab::config(&state)
        };
        let mut lab = Lab::with(config, state).await;
        for address in ADDRESSES {
            let machine = Machine::with_address(address);
            let agent = machine.start_agent(&lab.shim.url);
            lab.machines.push((machine, agent));
        }
        let stalls = Arc::new(AtomicBool::new(false));
        let (agent, own) = own_agent();
        Self {
            lab,
            gateway: format!("https://127.0.0.1:{port}"),
            agent,
            images: serve_images(Arc::clone(&stalls)).await,
            stalls,
            _own: own,
        }
    }

    /// A line of the guide as a command, with what is here in place of the examples.
    fn command(&self, line: &str) -> Command {
        let digest = image().1;
        let words = line.split_whitespace().map(|word| {
            word.replace(GATEWAY, &self.gateway)
                .replace(IMAGES, &self.images)
                .replace(AGENT, &self.agent)
                .replace(DIGEST, &digest)
        });
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.lab.command(&words);
        command.current_dir(self.lab.state.path());
        command
    }

    /// Types a line, confirms what is asked, and ends what would never end.
    async fn types(&self, line: &str) {
        self.stalls
            .store(line.contains("--detach"), Ordering::SeqCst);
        let shown = match line {
            "watch" => Some("rack1-1"),
            line if line.contains("--follow") => Some(" agent "),
            _ => None,
        };
        let mut terminal = OnTerminal::start(self.command(line), 100);
        if let Some(shown) = shown {
            return terminal.until(shown).await;
        }
        let orders = ["erase ", "write ", "power "];
        let is_order = orders.iter().any(|order| line.starts_with(order));
        if is_order && !line.contains("--yes") {
            terminal.until("[yes/no]").await;
            terminal.type_line("yes");
        }
        // The command before it was cancelled.
        let expected = if line.contains("--until-idle") { 10 } else { 0 };
        let (code, text) = terminal.end().await;
        assert_eq!(code, Some(expected), "agentctl {line}: {text}");
    }
}

/// An agent that is called at its own address, with the token of the file `token`.
fn own_agent() -> (String, (Machine, AttachedAgent)) {
    let machine = Machine::new();
    let address = format!("127.0.0.1:{}", free_port());
    let listen = address.parse().unwrap();
    let agent = machine.start_agent_with("unix:/nonexistent", |mut config| {
        config.grpc_listen = ironic_agent::config::GrpcListen::At(listen);
        config.standalone = true;
        config.common.agent_token = Some(ironic_text::Secret::new("secret-of-the-agent"));
        config
    });
    (format!("http://{address}"), (machine, agent))
}

#[tokio::test]
async fn every_line_of_the_guide_does_what_it_says() {
    let guide = GuideLab::new().await;
    let lines = GUIDE
        .lines()
        .filter_map(|line| line.strip_prefix("    agentctl "));
    let lines: Vec<&str> = lines.collect();
    assert!(lines[0].starts_with("login "), "{lines:?}");
    guide.types(lines[0]).await;
    let attached = ["nodes", "--state", "attached", "-o", "name"];
    let waiting = async {
        while guide.lab.run(&attached).await.done().lines().count() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap();
    for line in &lines[1..] {
        guide.types(line).await;
    }
    assert!(guide.lab.state.path().join("logs/rack1-2.tar.gz").is_file());
}

#[tokio::test]
async fn the_configuration_file_of_the_guide_can_be_read() {
    let (_, block) = GUIDE.split_once("\n    current_context: lab\n").unwrap();
    let (block, _) = block.split_once("\n\n").unwrap();
    let lines = block.lines().map(|line| line.strip_prefix("    ").unwrap());
    let lines: Vec<&str> = lines.collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let text = format!("current_context: lab\n{}\n", lines.join("\n"));
    std::fs::write(&path, text).unwrap();
    let mut list = command(&path);
    list.args(["contexts", "-o", "json"]);
    let contexts = output(list).await.json();
    let expected = serde_json::json!([{"name": "lab", "current": true, "gateway": GATEWAY,
        "ca_file": "/home/me/lab/gw-ca.crt", "certificate_file": "/home/me/lab/me.crt",
        "key_file": "/home/me/lab/me.key"}]);
    assert_eq!(contexts, expected);
}
