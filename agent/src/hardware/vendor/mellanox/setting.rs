//! Step `update_nvidia_nic_firmware_settings`.

use ironic_document::JsonObject;
use serde_json::{Map, Value};

use super::card::Card;
use super::error::{InvalidField, NicFirmwareError, UnsupportedParameter};
use crate::hardware::StepError;
use crate::system::{Cmd, System};

/// What an operator wants of all cards of a device number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) id: String,
    /// For the card as a whole, for its first function, for its second.
    global: JsonObject,
    functions: [JsonObject; 2],
}

pub(super) fn parse(settings: &Value) -> Result<Vec<Setting>, NicFirmwareError> {
    let Value::Array(items) = settings else {
        let field = InvalidField::NotAList("settings");
        return Err(NicFirmwareError::SettingConfig(field));
    };
    let parsed: Result<_, InvalidField> = items.iter().map(parse_one).collect();
    parsed.map_err(NicFirmwareError::SettingConfig)
}

fn parse_one(item: &Value) -> Result<Setting, InvalidField> {
    let Some(id) = item.get("deviceID").and_then(Value::as_str) else {
        return Err(InvalidField::DeviceId);
    };
    let parameters = |key: &str| match item.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(parameters)) => Ok(parameters.clone()),
        Some(_) => Err(InvalidField::NotAnObject(key.to_owned())),
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
            let id = setting.id.clone();
            return Err(NicFirmwareError::DuplicateSetting { id }.into());
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
    wanted: &JsonObject,
) -> Result<Vec<String>, StepError> {
    let ask = |what: &'static str| Cmd::new("mstconfig").args(["-d", &card.pci, what]);
    let known = system.run.run(ask("i")).await?.text();
    let present = parse_present(&system.run.run(ask("q")).await?.text());
    let mut words = Vec::new();
    for (name, value) in wanted {
        let parameter = Parameter::parse(name);
        let unsupported = |source: UnsupportedParameter| NicFirmwareError::UnsupportedParameter {
            card: card.pci.clone(),
            parameter: name.clone(),
            source,
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !known
            .split(|c| !letters(c))
            .any(|word| word == parameter.name)
        {
            let (card, parameter) = (card.pci.clone(), name.clone());
            return Err(NicFirmwareError::UnknownParameter { card, parameter }.into());
        }
        let now = present.iter().find(|(known, _)| *known == parameter.name);
        let Some((_, now)) = now else {
            return Err(unsupported(UnsupportedParameter::Missing).into());
        };
        if let Some((from, to)) = parameter.range {
            let (first, last) =
                array(now).ok_or_else(|| unsupported(UnsupportedParameter::NotAnArray))?;
            if from < first || to > last || from > to {
                return Err(unsupported(UnsupportedParameter::Elements { first, last }).into());
            }
        }
        let text = text(value);
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

/// A value as `mstconfig` prints it: `16`, `True(1)`, `ETH(2)`.
struct PrintedValue<'a> {
    /// The word before the parentheses, or the whole text.
    word: &'a str,
    /// The number in the parentheses, or the whole text where it is a number.
    number: Option<i128>,
}

impl<'a> PrintedValue<'a> {
    fn parse(text: &'a str) -> Self {
        let named = text
            .strip_suffix(')')
            .and_then(|text| text.rsplit_once('('))
            .and_then(|(word, inner)| Some((word, number(inner)?)));
        match named {
            Some((word, value)) => Self {
                word,
                number: Some(value),
            },
            None => Self {
                word: text,
                number: number(text),
            },
        }
    }
}

/// A whole number, decimal or hexadecimal.
fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A value as `mstconfig` reads it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Where all numbers are doubles, 16 may arrive as 16.0.
        Value::Number(number) => match number.as_f64() {
            Some(value) if number.is_f64() && value.fract() == 0.0 => format!("{value:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Whether the firmware has a value already. Numbers are compared as numbers, whatever their
/// JSON type, and words as whole words: `"1"` is not a part of `16`.
fn is_set(wanted: &Value, now: &str) -> bool {
    let wanted = text(wanted);
    let wanted = wanted.trim();
    let present = PrintedValue::parse(now);
    match number(wanted) {
        Some(wanted) => present.number == Some(wanted),
        None => wanted.eq_ignore_ascii_case(present.word) || wanted.eq_ignore_ascii_case(now),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_as_what_they_are() {
        for (wanted, now, expected) in [
            (json!("1"), "16", false),
            (json!(1), "16", false),
            (json!("16"), "16", true),
            (json!(16), "16", true),
            (json!(16.0), "16", true),
            (json!("0x10"), "16", true),
            (json!(16), "0x10", true),
            (json!("-1"), "1", false),
            (json!("2"), "ETH(2)", true),
            (json!(2), "ETH(2)", true),
            (json!("2"), "ETH(12)", false),
            (json!("eth"), "ETH(2)", true),
            (json!("ETH(2)"), "ETH(2)", true),
            (json!("E"), "ETH(2)", false),
            (json!("IB"), "ETH_IB(3)", false),
            (json!("true"), "True(1)", true),
            (json!(true), "True(1)", true),
            (json!(true), "False(0)", false),
            (json!(1), "True(1)", true),
            (json!(0), "True(10)", false),
            (json!("rue"), "True(1)", false),
            (json!(""), "True(1)", false),
        ] {
            assert_eq!(is_set(&wanted, now), expected, "{wanted} over {now}");
        }
    }

    #[test]
    fn whole_numbers_are_written_without_a_fraction() {
        for (value, written) in [
            (json!(16.0), "16"),
            (json!(16), "16"),
            (json!("ETH"), "ETH"),
            (json!(true), "true"),
        ] {
            assert_eq!(text(&value), written);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_set_only_over_itself(
            wanted in 0_u32..300, now in 0_u32..300, word in "[A-Z]{0,4}", as_text: bool,
        ) {
            let value = if as_text { json!(wanted.to_string()) } else { json!(wanted) };
            prop_assert_eq!(is_set(&value, &now.to_string()), wanted == now);
            prop_assert_eq!(is_set(&value, &format!("{word}({now})")), wanted == now);
        }
    }
}
