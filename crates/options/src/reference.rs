//! The reference page of options, in Markdown.

use std::fmt::Write;
use std::path::Path;

use crate::Settings;
use crate::option::{Effect, Opt};

/// An option as the reference shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceEntry {
    heading: &'static str,
    group: &'static str,
    title: String,
    flag: String,
    value: &'static str,
    kernel: Option<&'static str>,
    environment: Option<&'static str>,
    effect: Effect,
    help: &'static str,
    /// Program and default.
    defaults: Vec<(&'static str, String)>,
}

/// The options of a program, for [`reference`].
#[must_use]
pub fn entries<S: Settings>() -> Vec<ReferenceEntry> {
    // A root without files: the defaults of no machine in particular.
    let defaults = S::defaults(Path::new("/nonexistent"));
    let entry = |option: Opt<S>| ReferenceEntry {
        heading: option.heading,
        group: option.group,
        title: option.title(),
        flag: option.flag(),
        value: option.slot.word,
        kernel: option.kernel,
        environment: option.environment,
        effect: option.effect,
        help: option.help,
        defaults: vec![(S::PROGRAM.name, (option.slot.show)(&defaults))],
    };
    S::options().into_iter().map(entry).collect()
}

/// The reference of several programs. An option that more than one has is listed once.
#[must_use]
pub fn reference(programs: &[Vec<ReferenceEntry>]) -> String {
    let mut merged: Vec<ReferenceEntry> = Vec::new();
    for entry in programs.iter().flatten() {
        match merged.iter_mut().find(|known| known.title == entry.title) {
            Some(known) => known.defaults.extend(entry.defaults.iter().cloned()),
            None => merged.push(entry.clone()),
        }
    }
    let (offered, others): (Vec<_>, Vec<_>) = merged
        .into_iter()
        .partition(|entry| !matches!(entry.effect, Effect::NotOffered(_)));
    let mut headings: Vec<&str> = Vec::new();
    for entry in &offered {
        if !headings.contains(&entry.heading) {
            headings.push(entry.heading);
        }
    }
    let mut page = String::new();
    for heading in headings {
        let _ = write!(page, "\n## {heading}\n\n{TABLE}");
        for entry in offered.iter().filter(|entry| entry.heading == heading) {
            page.push_str(&row(entry));
        }
    }
    page.push_str("\n## Without effect\n\nOptions of ironic-python-agent that are accepted with a warning.\n\n");
    page.push_str("| option | why it has no effect |\n|---|---|\n");
    for entry in &others {
        if let Effect::NotOffered(reason) = entry.effect {
            let _ = writeln!(page, "| `{}` | {reason} |", entry.title);
        }
    }
    page
}

const TABLE: &str = "| option | program | value | default | kernel parameter | meaning |\n|---|---|---|---|---|---|\n";

fn row(entry: &ReferenceEntry) -> String {
    let name = match entry.group {
        "" => format!("`{}`", entry.title),
        _ => format!("`{}`, on the command line `--{}`", entry.title, entry.flag),
    };
    let short = |program: &str| program.trim_start_matches("ironic-").to_owned();
    let programs: Vec<_> = entry.defaults.iter().map(|(name, _)| short(name)).collect();
    let first = entry.defaults.first().map(|(_, default)| default);
    let is_one = entry
        .defaults
        .iter()
        .all(|(_, default)| Some(default) == first);
    let default = if is_one {
        first.map(|text| code(text)).unwrap_or_default()
    } else {
        let each = entry.defaults.iter();
        let each = each.map(|(name, default)| format!("{}: {}", short(name), code(default)));
        each.collect::<Vec<_>>().join(", ")
    };
    let mut help = entry.help.to_owned();
    if let Some(variable) = entry.environment
        && !help.contains(variable)
    {
        let _ = write!(help, " Environment variable: `{variable}`.");
    }
    format!(
        "| {name} | {} | {} | {default} | {} | {} |\n",
        programs.join(", "),
        entry.value.replace('|', " or "),
        entry.kernel.map(code).unwrap_or_default(),
        help.replace('|', "\\|"),
    )
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{text}`"),
    }
}
