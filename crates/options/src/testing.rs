//! Checks of a table of options, for the tests of programs.

use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;

use crate::Settings;
use crate::option::{Effect, Opt, Target, find};

/// Texts of which every offered option takes at least one that is not its default.
const SAMPLES: [&str; 14] = [
    "7",
    "true",
    "false",
    "http://a:1",
    "unix:/x",
    "p521",
    "1.3",
    "docker",
    "https",
    "http_basic",
    "1000",
    "join_token",
    "4f1c5e8a9b0d2c3e4f5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f80912",
    "open",
];

/// What is wrong with the table of a program, one sentence each: two options of one name, a
/// default that does not read back as itself, two options in one field, an offered option
/// without help, a pair or a secret's file whose other option does not exist.
#[must_use]
pub fn faults<S: Settings + PartialEq + Debug>() -> Vec<String> {
    let options = S::options();
    let defaults = S::defaults(Path::new("/nonexistent"));
    let mut faults = Vec::new();
    let mut seen = HashSet::new();
    for option in &options {
        let title = option.title();
        let flag = option.flag().replace('-', "_");
        if !seen.insert(flag) {
            faults.push(format!("{title}: the name is taken"));
        }
        if let Some(key) = option.kernel
            && !(key.starts_with("ipa-") && seen.insert(key.to_owned()))
        {
            faults.push(format!(
                "{title}: the kernel parameter {key} is taken or foreign"
            ));
        }
        if option.is_offered() != option.help.ends_with('.') {
            faults.push(format!("{title}: the help is not a sentence"));
        }
        let related = [option.pair, file_of(option)].into_iter().flatten();
        for other in related {
            if find(
                &options,
                Target {
                    group: "",
                    key: other,
                },
            )
            .is_none()
            {
                faults.push(format!("{title}: {other} does not exist"));
            }
        }
        if !reads_back(option, &defaults) {
            faults.push(format!("{title}: the default does not read back as itself"));
        }
    }
    faults.extend(shared_fields(&options, &defaults));
    faults
}

fn file_of<S>(option: &Opt<S>) -> Option<&'static str> {
    match option.effect {
        Effect::FileOf(secret) => Some(secret),
        _ => None,
    }
}

fn reads_back<S: Settings + PartialEq>(option: &Opt<S>, defaults: &S) -> bool {
    let text = (option.slot.show)(defaults);
    let mut settings = defaults.clone();
    let is_read = text.is_empty() || option.slot.secret || (option.slot.set)(&mut settings, &text);
    is_read && settings == *defaults
}

/// Options that change the text of another one.
fn shared_fields<S: Settings + PartialEq>(options: &[Opt<S>], defaults: &S) -> Vec<String> {
    let kept = || {
        options
            .iter()
            .filter(|option| option.effect == Effect::Offered)
    };
    let mut faults = Vec::new();
    for option in kept() {
        let changed = SAMPLES.iter().find_map(|sample| {
            let mut settings = defaults.clone();
            let is_set = (option.slot.set)(&mut settings, sample);
            (is_set && settings != *defaults).then_some(settings)
        });
        let Some(changed) = changed else {
            faults.push(format!("{}: no sample sets it", option.title()));
            continue;
        };
        let others = kept().filter(|other| other.title() != option.title());
        for other in others {
            if (other.slot.show)(&changed) != (other.slot.show)(defaults) {
                faults.push(format!("{} changes {}", option.title(), other.title()));
            }
        }
    }
    faults
}

/// Whether the option `name` of a program takes a text.
#[must_use]
pub fn takes<S: Settings>(group: &str, name: &str, text: &str) -> bool {
    let options = S::options();
    let mut settings = S::defaults(Path::new("/nonexistent"));
    find(&options, Target { group, key: name })
        .is_some_and(|option| (option.slot.set)(&mut settings, text))
}
