//! The terminal: its width, colours, lines that are drawn again, and questions.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use ironic_text::printable_lines;
use rustix::termios::tcgetwinsize;

mod live_lines;

pub(crate) use live_lines::LiveLines;

/// The size of a terminal that does not say it.
const USUAL: (usize, usize) = (80, 24);
/// Narrower than this, nothing can be read.
const NARROWEST: usize = 20;

/// What of the standard streams is a terminal, and what it can do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    input: bool,
    output: bool,
    error: bool,
    /// Whether NO_COLOR is not set and the terminal is not `dumb`.
    colours: bool,
}

impl Screen {
    /// Looks at this process.
    pub(crate) fn new() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            input: io::stdin().is_terminal(),
            output: io::stdout().is_terminal(),
            error: io::stderr().is_terminal(),
            colours: !is_set("NO_COLOR") && !is_dumb,
        }
    }

    /// How wide results may be; `None` where standard output is no terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        self.output.then(|| size(&io::stdout()).0)
    }

    /// Whether lines can be drawn again: on standard error, which a person reads.
    pub(crate) fn is_live(&self) -> bool {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        self.error && !is_dumb
    }

    /// Whether standard output is a terminal.
    pub(crate) fn shows_output(&self) -> bool {
        self.output
    }

    /// Whether there is a person to ask.
    pub(crate) fn can_ask(&self) -> bool {
        self.input && self.error
    }

    /// Whether live lines have colours.
    pub(crate) fn has_colours(&self) -> bool {
        self.colours && self.error
    }
}

/// Columns and rows of the terminal of a stream.
fn size(stream: &impl std::os::fd::AsFd) -> (usize, usize) {
    let found = tcgetwinsize(stream).ok();
    let found = found.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    found.map_or(USUAL, |size| {
        let columns = usize::from(size.ws_col).max(NARROWEST);
        (columns, usize::from(size.ws_row))
    })
}

/// Asks on the terminal, and answers the line that was typed, in lower case; `None` when the input
/// has ended. Waits for as long as the person takes.
pub(crate) fn ask(question: &str) -> Option<String> {
    let mut error = io::stderr().lock();
    // A question that cannot be written gets no answer.
    let _ = write!(error, "{} ", printable_lines(question)).and_then(|()| error.flush());
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let typed = read.is_ok_and(|length| length > 0);
    typed.then(|| line.trim().to_lowercase())
}
