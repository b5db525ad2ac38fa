//! Step `update_nvidia_nic_firmware_settings`.

use serde_json::{Map, Value};

use super::card::Card;
use super::error;
use crate::hardware::StepError;
use crate::system::{Cmd, System};

const CONFIG: &str = "InvalidFirmwareSettingsConfig";

/// What an operator wants of all cards of a device number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) id: String,
    /// For the card as a whole, for its first function, for its second.
    global: Map<String, Value>,
    functions: [Map<String, Value>; 2],
}

pub(super) fn parse(settings: &Value) -> Result<Vec<Setting>, StepError> {
    let Value::Array(items) = settings else {
        return Err(error(CONFIG, "'settings' must be a list"));
    };
    items.iter().map(parse_one).collect()
}

fn parse_one(item: &Value) -> Result<Setting, StepError> {
    let Some(id) = item.get("deviceID").and_then(Value::as_str) else {
        return Err(error(
            CONFIG,
            "each item of settings needs the text 'deviceID'",
        ));
    };
    let parameters = |key: &str| match item.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(parameters)) => Ok(parameters.clone()),
        Some(_) => Err(error(CONFIG, format!("'{key}' must be an object"))),
    };
    Ok(Setting {
        id: id.to_owned(),
        global: parameters("globalConfig")?,
        functions: [
            parameters("function0Config")?,
            parameters("function1Config")?,
        ],
    })
}

/// Checks the settings of all cards, then changes those that are other ones.
pub(super) async fn apply(
    system: &System,
    cards: &[Card],
    settings: &[Setting],
) -> Result<(), StepError> {
    let mut used: Vec<&str> = Vec::new();
    for setting in settings {
        if !cards.iter().any(|card| card.id == setting.id) {
            tracing::info!(device = %setting.id, "no such card: its settings are left out");
        } else if used.contains(&setting.id.as_str()) {
            let text = format!("two settings for device {}", setting.id);
            return Err(error("DuplicateDeviceID", text));
        } else {
            used.push(&setting.id);
        }
    }
    let mut slots: Vec<&str> = Vec::new();
    let mut changes: Vec<(&Card, Vec<String>)> = Vec::new();
    for card in cards {
        let Some(setting) = settings.iter().find(|setting| setting.id == card.id) else {
            continue;
        };
        let first = !slots.contains(&card.slot());
        if first {
            slots.push(card.slot());
            if card.firmware.running.is_some()
                && let Err(error) = card.reset(system).await
            {
                tracing::warn!(card = %card.pci, %error, "it is not reset");
            }
        }
        let function = usize::from(!card.pci.ends_with('0'));
        let mut wanted = if first {
            setting.global.clone()
        } else {
            Map::new()
        };
        wanted.extend(setting.functions[function].clone());
        if !wanted.is_empty() {
            changes.push((card, changed(system, card, &wanted).await?));
        }
    }
    for (card, words) in changes {
        if words.is_empty() {
            continue;
        }
        let set = Cmd::new("mstconfig")
            .args(["-d", &card.pci, "-y", "set"])
            .args(words);
        system.run.run(set).await?;
    }
    Ok(())
}

/// The parameters of a card that must change, as `NAME=value`; all are checked.
async fn changed(
    system: &System,
    card: &Card,
    wanted: &Map<String, Value>,
) -> Result<Vec<String>, StepError> {
    let ask = |what: &'static str| Cmd::new("mstconfig").args(["-d", &card.pci, what]);
    let known = system.run.run(ask("i")).await?.text();
    let present = parse_present(&system.run.run(ask("q")).await?.text());
    let mut words = Vec::new();
    for (name, value) in wanted {
        let parameter = Parameter::parse(name);
        let unsupported = |reason: String| {
            error(
                "UnSupportedConfigByFW",
                format!("{}: parameter {name}: {reason}", card.pci),
            )
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !known
            .split(|c| !letters(c))
            .any(|word| word == parameter.name)
        {
            return Err(error(
                "UnSupportedConfigByMstflintPackage",
                format!("{}: mstconfig does not know {name}", card.pci),
            ));
        }
        let now = present.iter().find(|(known, _)| *known == parameter.name);
        let Some((_, now)) = now else {
            return Err(unsupported("the firmware does not have it".to_owned()));
        };
        if let Some((from, to)) = parameter.range {
            let (first, last) =
                array(now).ok_or_else(|| unsupported("it is no array".to_owned()))?;
            if from < first || to > last || from > to {
                return Err(unsupported(format!("it has elements {first} to {last}")));
            }
        }
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if parameter.range.is_some() || !is_set(value, now) {
            words.push(format!("{name}={text}"));
        }
    }
    Ok(words)
}

/// A parameter, or elements of one that is an array: `NAME`, `NAME[3]`, `NAME[3..5]`.
struct Parameter<'a> {
    name: &'a str,
    range: Option<(u32, u32)>,
}

impl<'a> Parameter<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, rest) = text.split_once('[').unwrap_or((text, ""));
        let range = rest.strip_suffix(']').and_then(|inner| {
            let (from, to) = inner.split_once("..").unwrap_or((inner, inner));
            Some((from.parse().ok()?, to.parse().ok()?))
        });
        Self { name, range }
    }
}

/// `Array[0..7]`: the first and the last element.
fn array(now: &str) -> Option<(u32, u32)> {
    let inner = now.strip_prefix("Array[")?.strip_suffix(']')?;
    let (first, last) = inner.split_once("..")?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Names and values below the line `Configurations:`.
fn parse_present(text: &str) -> Vec<(String, String)> {
    let lines = text.lines();
    let below = lines.skip_while(|line| !line.trim_start().starts_with("Configurations:"));
    below
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pair = (words.next()?.to_owned(), words.next()?.to_owned());
            words.next().is_none().then_some(pair)
        })
        .collect()
}

/// Whether a value is there already: numbers by value, texts as a part, `True` in `True(1)`.
fn is_set(wanted: &Value, now: &str) -> bool {
    match wanted {
        Value::Number(number) => now.parse::<f64>().ok() == number.as_f64(),
        Value::String(text) => now
            .to_ascii_lowercase()
            .contains(&text.to_ascii_lowercase()),
        other => now.to_ascii_lowercase().contains(&other.to_string()),
    }
}
