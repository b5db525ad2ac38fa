use std::sync::{Arc, Mutex};

use super::*;

#[derive(Debug, Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `events` run.
fn written(debug: bool, events: impl FnOnce()) -> Vec<String> {
    written_within(&LogBudget::new(Rates::default()), debug, events)
}

fn written_within(budget: &LogBudget, debug: bool, events: impl FnOnce()) -> Vec<String> {
    let page = Page::default();
    let sink = page.clone();
    let layer = layer(debug, budget, move || sink.clone());
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, events);
    let bytes = page.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    // A time stands before each line.
    text.lines()
        .map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned())
        .collect()
}

#[test]
fn one_event_is_one_line() {
    let lines = written(false, || {
        tracing::info!(stderr = %"one\ntwo\r\nthree", "program failed");
        tracing::warn!("second");
    });
    assert_eq!(
        lines,
        [
            r"INFO program failed stderr=one\ntwo\r\nthree",
            "WARN second"
        ]
    );
}

/// The demo reads these lines from a console: no quotes, decimal numbers.
#[test]
fn progress_and_milestones_are_plain_words() {
    let lines = written(false, || {
        let (command, phase) = ("execute_deploy_step", "write_image");
        tracing::info!(%command, %phase, bytes = 123_456_u64, total = 0_u64, rate = 35_u64, "progress");
        tracing::info!(event = %"heartbeat_accepted", "milestone");
    });
    assert_eq!(
        lines,
        [
            "INFO progress command=execute_deploy_step phase=write_image bytes=123456 total=0 rate=35",
            "INFO milestone event=heartbeat_accepted",
        ]
    );
}

#[test]
fn debug_is_for_our_own_lines() {
    let events = || {
        tracing::debug!("ours");
        tracing::debug!(target: "h2::codec", "agent-token: T");
        tracing::info!(target: "reqwest::connect", "agent_token=T");
        tracing::warn!(target: "rustls::conn", "theirs");
    };
    assert_eq!(written(false, events), ["WARN theirs"]);
    assert_eq!(written(true, events), ["DEBUG ours", "WARN theirs"]);
}

#[test]
fn nothing_that_a_terminal_obeys_is_written() {
    let lines = written(false, || {
        let name = "\u{1b}]0;x\u{7}\u{9b}2J\u{202e}";
        tracing::warn!(%name, "from a server: {name}");
        tracing::warn!(long = %"x".repeat(20_000), "long");
    });
    let shown = r"\x1b]0;x\x07\u{9b}2J\u{202e}";
    assert_eq!(
        lines[0],
        format!("WARN from a server: {shown} name={shown}")
    );
    assert!(lines[1].len() < MAX_LINE_BYTES + 100, "{}", lines[1].len());
    assert!(lines[1].ends_with(" bytes more)"));
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_flood_is_counted_by_kind_and_others_are_written() {
    let budget = LogBudget::new(Rates::default());
    let lines = written_within(&budget, false, || {
        for port in 0..1000_u16 {
            let peer = SocketAddr::from(([192, 0, 2, 1], port));
            tracing::info!(%peer, port, "request");
        }
        let peer = SocketAddr::from(([192, 0, 2, 2], 1));
        tracing::info!(%peer, "another request");
        budget.report();
        budget.report();
    });
    let burst = usize::try_from(Rates::default().peer.burst).unwrap();
    assert_eq!(lines.len(), burst + 2);
    assert!(lines[burst].starts_with("INFO another request"));
    let count = format!(
        "WARN similar lines were left out lines={} of=request",
        1000 - burst
    );
    assert_eq!(lines[burst + 1], count);
}

#[test]
fn a_peer_is_the_same_however_it_is_written() {
    let written = |port: u16| {
        let peer = SocketAddr::from(([192, 0, 2, 1], port));
        let (ip, shown) = (peer.ip(), peer.to_string());
        [
            peer.to_string(),
            ip.to_string(),
            format!("{:?}", Some(peer)),
            format!("{:?}", Some(ip)),
            format!("{:?}", Some(tracing::field::display(shown))),
        ]
    };
    for shown in written(1).into_iter().chain(written(2)) {
        assert_eq!(peer(&shown), Some(number("192.0.2.1")), "{shown}");
    }
    assert_eq!(peer(&format!("{:?}", None::<SocketAddr>)), None);
    // Each line of a stranger that opens a new connection for it.
    let budget = LogBudget::new(Rates::default());
    let lines = written_within(&budget, false, || {
        for port in 0..1000_u16 {
            let peer = Some(SocketAddr::from(([192, 0, 2, 1], port)));
            tracing::info!(?peer, "a machine gets no certificate");
        }
    });
    assert_eq!(
        lines.len(),
        usize::try_from(Rates::default().peer.burst).unwrap()
    );
}

#[test]
fn a_network_of_64_bits_is_one_peer() {
    assert_eq!(number("192.0.2.1:1"), number("192.0.2.1"));
    assert_eq!(number("[::ffff:192.0.2.1]:1"), number("192.0.2.1:2"));
    assert_eq!(number("[2001:db8::1]:1"), number("[2001:db8::2]:2"));
    assert_ne!(number("[2001:db8::1]:1"), number("[2001:db8:0:1::1]:1"));
}

#[test]
fn a_panic_says_its_text() {
    let text: Box<dyn Any + Send> = Box::new("a".to_owned());
    assert_eq!(payload(text.as_ref()), "a");
    assert_eq!(payload(&"b"), "b");
    assert_eq!(payload(&5), "no text");
}

#[test]
fn lines_are_kept_without_their_time_and_level() {
    let log = KeptLog::of_this_process();
    let from = *log.next().borrow();
    let name = "a\u{1b}[2J";
    written(false, || tracing::warn!(%name, "kept for a follower"));
    // Other tests write at the same time.
    let lines = (from..).map_while(|at| log.line_from(at));
    let found = lines
        .into_iter()
        .find(|line| line.text.contains("follower"));
    let found = found.unwrap();
    assert_eq!(
        (&*found.text, found.level),
        (r"kept for a follower name=a\x1b[2J", Level::WARN)
    );
}
