//! How results are printed: tables for a person, JSON and YAML for programs, names for scripts.

use std::io::{self, Write as _};

use ironic_text::printable;
use serde_json::Value;

use crate::arguments::OutputFormat;
use crate::terminal::Screen;

pub(crate) mod details;
pub(crate) mod message;
mod outcomes;
mod output_error;
pub(crate) mod progress_line;
pub(crate) mod quantity;
pub(crate) mod schema;
pub(crate) mod table;

pub(crate) use outcomes::complain;
pub(crate) use output_error::OutputError;
use table::TextTable;

/// Where results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// How.
    pub(crate) format: OutputFormat,
    /// The terminal, if there is one.
    pub(crate) screen: Screen,
}

impl Printer {
    /// Writes a text as it is.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn text(&self, text: &str) -> Result<(), OutputError> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => OutputError::Closed,
            _ => OutputError::Write(error),
        })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// As [`Printer::text`].
    pub(crate) fn line(&self, text: &str) -> Result<(), OutputError> {
        self.text(&format!("{text}\n"))
    }

    /// Writes a whole result: a document for programs, or what `table` makes for a person.
    ///
    /// # Errors
    /// As [`Printer::text`].
    pub(crate) fn whole(
        &self,
        value: impl FnOnce() -> Result<Value, OutputError>,
        names: impl FnOnce() -> Vec<String>,
        table: impl FnOnce() -> String,
    ) -> Result<(), OutputError> {
        match self.format {
            OutputFormat::Table => self.text(&table()),
            OutputFormat::Json => self.line(&serde_json::to_string_pretty(&value()?)?),
            OutputFormat::Yaml => self.text(&serde_saphyr::to_string(&value()?)?),
            OutputFormat::Name => {
                let lines = names().into_iter();
                self.text(&lines.map(|name| name + "\n").collect::<String>())
            }
        }
    }

    /// Writes one of results that come one by one.
    ///
    /// # Errors
    /// As [`Printer::text`].
    pub(crate) fn part(
        &self,
        value: impl FnOnce() -> Result<Value, OutputError>,
        name: &str,
        line: impl FnOnce() -> String,
    ) -> Result<(), OutputError> {
        match self.format {
            OutputFormat::Table => self.line(&line()),
            OutputFormat::Json => self.line(&serde_json::to_string(&value()?)?),
            OutputFormat::Yaml => {
                self.text(&format!("---\n{}", serde_saphyr::to_string(&value()?)?))
            }
            OutputFormat::Name => self.line(&printable(name)),
        }
    }

    /// Lays a table out for this terminal.
    pub(crate) fn table(&self, table: &TextTable) -> String {
        table.render(self.screen.width())
    }
}
