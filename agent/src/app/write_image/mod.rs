//! `ironic-agent write-image`: the image path of the agent as a tool, without a conductor.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::{CommandFactory as _, Parser as _};
use ironic_text::printable;
use tokio::signal::unix::{SignalKind, signal};

use super::progress_report::ProgressReport;
use crate::failure::Failure;
use crate::image::{Deployment, ImageError, LastDeployment, prepare};
use crate::machine::block::BlockDevice;
use crate::machine::ironic_node::Node;
use crate::system::System;
use crate::task::{Task, TaskListener, TaskNote};

mod arguments;

use arguments::{WriteImageArguments, WriteImageJob};

/// The word that chooses this tool.
pub(super) const NAME: &str = "write-image";
/// Status of a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// The tool's command line, for its man page and shell completions.
#[must_use]
pub fn clap_command() -> clap::Command {
    WriteImageArguments::command()
}

/// Runs the tool. `arguments` begin with the name of the program and [`NAME`].
pub(super) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match WriteImageArguments::try_parse_from(arguments.skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let ended = WriteImageJob::new(arguments).and_then(|job| {
        if job.is_debugging {
            ironic_program::log::start(true);
        }
        super::runtime()?.block_on(run(job))
    });
    ended.unwrap_or_else(|error| {
        let line = format!("{error:#}").replace(['\n', '\r'], " ");
        eprintln!("ironic-agent {NAME}: {}", printable(&line));
        ExitCode::FAILURE
    })
}

async fn run(job: WriteImageJob) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (task, mut listener) = Task::new();
    let begin = Instant::now();
    // A task of its own shares a thread with the connection's, as in the agent; this thread
    // would have to be woken for every piece of the image.
    let mut writing = tokio::spawn(write(job, task.clone()));
    let written = async {
        loop {
            tokio::select! {
                written = &mut writing => return written,
                _ = terminate.recv(), if !task.is_cancelled() => task.cancel("terminated"),
                _ = interrupt.recv(), if !task.is_cancelled() => task.cancel("interrupted"),
            }
        }
    };
    let mut report = ProgressReport::new(std::io::stdout().is_terminal());
    let written = tokio::select! {
        written = written => written.context("the work was lost")?,
        never = listen(&mut listener, &mut report) => match never {},
    };
    // What was noted last may wait still.
    while let Ok(note) = listener.notes.try_recv() {
        show_note(note, &mut report);
    }
    show(&report.end());
    match written {
        Ok(sentence) => {
            let seconds = begin.elapsed().as_secs_f64();
            let sentence = printable(&sentence);
            show(&format!("{sentence} in {seconds:.2} s\n"));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if task.is_cancelled() => {
            let line = Failure::from(error).to_string();
            eprintln!("ironic-agent {NAME}: {}", printable(&line));
            Ok(ExitCode::from(INTERRUPTED))
        }
        // In the words that Ironic would show.
        Err(error) => Err(Failure::from(error).into()),
    }
}

async fn write(job: WriteImageJob, task: Task) -> Result<String, ImageError> {
    let device = BlockDevice {
        name: job.device.to_string_lossy().into_owned(),
        ..BlockDevice::default()
    };
    prepare(Deployment {
        system: &System::linux(),
        config: &job.config,
        node: &Node::default(),
        request: &job.request,
        configdrive: job.configdrive.as_deref(),
        device: &device,
        task: &task,
        installed: &LastDeployment::default(),
    })
    .await
}

/// Shows progress and notes as they come.
async fn listen(
    listener: &mut TaskListener,
    report: &mut ProgressReport,
) -> std::convert::Infallible {
    loop {
        tokio::select! {
            Ok(()) = listener.progress.changed() => {
                let progress = listener.progress.borrow_and_update().clone();
                if let Some(progress) = progress {
                    show(&report.progress(&progress, Instant::now()));
                }
            }
            Some(note) = listener.notes.recv() => show_note(note, report),
            else => std::future::pending().await,
        }
    }
}

/// Warnings go to a line of their own.
fn show_note(note: TaskNote, report: &mut ProgressReport) {
    if let TaskNote::Warning(text) = note {
        show(&report.end());
        eprintln!("warning: {}", printable(&text));
    }
}

fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whether anybody reads along changes nothing.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests;
