//! The program on a terminal: its width, its colours, its questions; and output into a pipe that
//! closes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::*;

/// A program on a terminal of its own.
pub(super) struct OnTerminal {
    child: tokio::process::Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// Ends when nobody holds the other end any more and all that was written has been read.
    reading: std::thread::JoinHandle<()>,
}

impl OnTerminal {
    pub(super) fn start(mut command: Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_col: columns,
            ws_row: 24,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            let path = name.to_str().unwrap();
            File::options().read(true).write(true).open(path).unwrap()
        };
        command.stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().unwrap();
        // The program must be the only one that holds the other end.
        drop(command);
        let mut reader = File::from(master);
        let keyboard = reader.try_clone().unwrap();
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let shown = Arc::clone(&screen);
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error of the terminal.
            while let Ok(length) = reader.read(&mut buffer) {
                if length == 0 {
                    break;
                }
                shown.lock().unwrap().extend(&buffer[..length]);
            }
        });
        Self {
            child,
            keyboard,
            screen,
            reading,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Waits until the screen shows this.
    pub(super) async fn until(&self, wanted: &str) {
        let waiting = async {
            while !self.text().contains(wanted) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, waiting).await;
        assert!(waited.is_ok(), "{wanted} did not come: {}", self.text());
    }

    pub(super) fn type_line(&mut self, text: &str) {
        self.keyboard
            .write_all(format!("{text}\n").as_bytes())
            .unwrap();
    }

    pub(super) async fn end(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it goes on: {}", self.text()));
        let code = status.unwrap().code();
        // What was written last may still be on its way.
        let read = async {
            while !self.reading.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let read = tokio::time::timeout(LIMIT, read).await;
        assert!(read.is_ok(), "its terminal does not end: {}", self.text());
        (code, self.text())
    }
}

/// The lines of a screen without what moves the cursor.
fn lines(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = after.find(|character: char| character.is_ascii_alphabetic());
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    let lines = plain.split(['\n', '\r']).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn forty_columns_are_enough() {
    let lab = Lab::of(2).await;
    for words in [
        &["nodes"][..],
        &["get", "node-1"],
        &["plan", "erase", "--all"],
        &["steps", "node-1"],
        &["contexts"],
        &["watch", "--until-idle"],
    ] {
        let (code, text) = OnTerminal::start(lab.command(words), 40).end().await;
        assert_eq!(code, Some(0), "{words:?}: {text}");
        for line in lines(&text) {
            assert!(line.chars().count() <= 40, "{words:?}: {line:?}");
        }
        assert!(text.contains("node-1") || words == ["contexts"], "{text}");
    }
}

#[tokio::test]
async fn progress_is_drawn_and_has_no_colours_if_none_are_wanted() {
    let lab = Lab::of(1).await;
    let (image, digest) = image();
    let url = serve(image, None).await;
    let words = [
        "write", "node-1", "--yes", "--image", &url, "--sha256", &digest,
    ];
    let (code, text) = OnTerminal::start(lab.command(&words), 100).end().await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\x1b[32m"), "{text:?}");
    assert!(text.contains("order.write_image succeeded"), "{text}");
    let mut command = lab.command(&words);
    command.env("NO_COLOR", "1");
    let (code, text) = OnTerminal::start(command, 100).end().await;
    assert_eq!(code, Some(0), "{text}");
    let coloured = text.split("\x1b[").skip(1).any(|rest| {
        let end = rest.find(|character: char| character.is_ascii_alphabetic());
        end.is_some_and(|end| rest[end..].starts_with('m'))
    });
    assert!(!coloured, "{text:?}");
}

#[tokio::test]
async fn a_destructive_order_is_asked_about_with_its_plan() {
    let lab = Lab::of(1).await;
    std::fs::write(lab.disk(0), vec![0x55; 16 << 20]).unwrap();
    let order = ["erase", "node-1", "--method", "metadata"];
    for (answer, code) in [("no", 11), ("", 11), ("yes", 0)] {
        let mut terminal = OnTerminal::start(lab.command(&order), 100);
        terminal.until("Go on with node-1? [yes/no]").await;
        assert!(terminal.text().contains("LOST"), "{}", terminal.text());
        assert!(std::fs::read(lab.disk(0)).unwrap()[0] == 0x55);
        terminal.type_line(answer);
        let (ended, text) = terminal.end().await;
        assert_eq!(ended, Some(code), "{text}");
    }
    assert!(std::fs::read(lab.disk(0)).unwrap()[0] == 0);
}

#[tokio::test]
async fn an_interrupt_is_asked_about_and_obeyed() {
    let lab = Lab::of(1).await;
    let (image, digest) = image();
    let url = serve(image, Some(1 << 20)).await;
    let words = [
        "write", "node-1", "--yes", "--image", &url, "--sha256", &digest,
    ];
    for (answer, code) in [("l", 130), ("c", 10)] {
        lab.run(&["cancel", "node-1"]).await;
        lab.run(&["watch", "--until-idle"]).await;
        let mut terminal = OnTerminal::start(lab.command(&words), 100);
        terminal.until("%").await;
        let pid = i32::try_from(terminal.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        terminal.until("[c]ancel").await;
        terminal.type_line(answer);
        let (ended, text) = terminal.end().await;
        assert_eq!(ended, Some(code), "{text}");
    }
}

#[tokio::test]
async fn a_pipe_that_closes_ends_it_quietly() {
    let lab = Lab::of(1).await;
    for words in [
        &["nodes"][..],
        &["watch"],
        &["watch", "-o", "json"],
        &["completion", "bash"],
    ] {
        let mut command = lab.command(words);
        let (reader, writer) = std::io::pipe().unwrap();
        command.stdout(writer).stderr(Stdio::piped());
        drop(reader);
        let child = command.spawn().unwrap();
        drop(command);
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        let ended = ended.unwrap().unwrap();
        let err = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(141), "{words:?}: {err}");
        assert_eq!(err, "", "{words:?}");
    }
}
