//! The operators of hints: `<or> a <or> b`, `>= 60`, `s!= x`, `<range-in> [ 50 100 ]`.
//!
//! The grammar is that of OpenStack's extra specifications. Where the Python agent's
//! evaluation fails or contradicts Ironic's documentation, this one does what is documented:
//! numbers are compared as numbers by every operator, ranges work, `<in>` and `<all-in>`
//! mean that every word is contained.

use std::fmt;

use thiserror::Error;

/// Why a hint is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidHint {
    /// Not an object of hints.
    #[error("hints must be an object like {{\"size\": 60}}, not {found}")]
    NotAnObject {
        /// What it was.
        found: String,
    },
    /// No such hint.
    #[error("unknown hint '{name}'; the hints are: {valid}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        valid: String,
    },
    /// The value is of the wrong type.
    #[error("hint '{name}' must be {expected}, not {found}")]
    WrongValue {
        /// The hint.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it was.
        found: String,
    },
    /// The operator does not go with the hint.
    #[error("hint '{name}' cannot be compared by '{operator}'")]
    WrongOperator {
        /// The hint.
        name: &'static str,
        /// The operator.
        operator: Operator,
    },
}

/// How a device is compared with the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// None was written: equality.
    Default,
    /// Equal to any of the values.
    Or,
    /// Contains all of the words.
    AllIn,
    /// Lies in a range.
    RangeIn,
    /// Contains the value.
    In,
    /// Comparison of numbers.
    Number(Comparison),
    /// Comparison of texts.
    Text(Comparison),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// Different.
    NotEqual,
    /// Greater or equal.
    AtLeast,
    /// Less or equal.
    AtMost,
    /// Greater.
    Above,
    /// Less.
    Below,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, device: &T, value: &T) -> bool {
        match self {
            Self::Equal => device == value,
            Self::NotEqual => device != value,
            Self::AtLeast => device >= value,
            Self::AtMost => device <= value,
            Self::Above => device > value,
            Self::Below => device < value,
        }
    }
}

/// The operators as they are written, in the order in which they are recognised: the longer
/// before those that they begin with. `=` has meant "at least" since the beginning.
const OPERATORS: [(&str, Operator); 17] = [
    ("<or>", Operator::Or),
    ("<all-in>", Operator::AllIn),
    ("<range-in>", Operator::RangeIn),
    ("<in>", Operator::In),
    ("==", Operator::Number(Comparison::Equal)),
    ("!=", Operator::Number(Comparison::NotEqual)),
    (">=", Operator::Number(Comparison::AtLeast)),
    ("<=", Operator::Number(Comparison::AtMost)),
    ("=", Operator::Number(Comparison::AtLeast)),
    (">", Operator::Number(Comparison::Above)),
    ("<", Operator::Number(Comparison::Below)),
    ("s==", Operator::Text(Comparison::Equal)),
    ("s!=", Operator::Text(Comparison::NotEqual)),
    ("s>=", Operator::Text(Comparison::AtLeast)),
    ("s<=", Operator::Text(Comparison::AtMost)),
    ("s>", Operator::Text(Comparison::Above)),
    ("s<", Operator::Text(Comparison::Below)),
];

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = OPERATORS.iter().find(|(_, operator)| operator == self);
        f.write_str(written.map_or("", |(text, _)| text))
    }
}

/// An operator and what follows it, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) operator: Operator,
    pub(super) values: Vec<String>,
}

impl Expression {
    /// Reads one; `None` when there is no value in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let written = OPERATORS
            .iter()
            .find(|(written, _)| text.starts_with(written));
        let (operator, values): (Operator, Vec<&str>) = match written {
            None => (Operator::Default, vec![&text]),
            Some((written, operator @ Operator::AllIn)) => (
                *operator,
                text.split(written)
                    .flat_map(str::split_whitespace)
                    .collect(),
            ),
            // `<or> a <or> b`, `<in> a <in> b`. Other operators stand once: `= a=b`.
            Some((written, operator @ (Operator::Or | Operator::In))) => {
                (*operator, text.split(written).collect())
            }
            Some((written, operator)) => (*operator, vec![&text[written.len()..]]),
        };
        let values: Vec<String> = values
            .into_iter()
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect();
        (!values.is_empty()).then_some(Self { operator, values })
    }

    /// The operator is a denial, which of several names of a device every one must fulfil.
    pub(super) fn denies(&self) -> bool {
        matches!(
            self.operator,
            Operator::Number(Comparison::NotEqual) | Operator::Text(Comparison::NotEqual)
        )
    }

    /// Whether it says what a text is, and not only what it is not or how it compares.
    pub(super) fn names(&self) -> bool {
        matches!(
            self.operator,
            Operator::Default
                | Operator::Or
                | Operator::In
                | Operator::AllIn
                | Operator::Text(Comparison::Equal)
        )
    }

    /// Whether a text of a device, in any case, fulfils it. A text that is not a number differs
    /// from every number.
    pub(super) fn accepts_text(&self, device: &str) -> bool {
        let device = device.trim().to_lowercase();
        let mut values = self.values.iter();
        match self.operator {
            Operator::Default | Operator::Or => values.any(|value| *value == device),
            Operator::In | Operator::AllIn => values.all(|value| device.contains(value.as_str())),
            Operator::Text(comparison) => values.all(|value| comparison.holds(&device, value)),
            Operator::Number(comparison) => {
                values.all(
                    |value| match (device.parse::<f64>(), value.parse::<f64>()) {
                        (Ok(device), Ok(value)) => comparison.holds(&device, &value),
                        _ => comparison == Comparison::NotEqual,
                    },
                )
            }
            Operator::RangeIn => device.parse().is_ok_and(|number| {
                Range::parse(&self.values[0]).is_some_and(|range| range.holds(number))
            }),
        }
    }
}

/// A whole number of GiB, compared with the size of a disk, which need not be whole.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SizeExpression {
    operator: Operator,
    values: Vec<f64>,
    range: Option<Range>,
}

impl SizeExpression {
    /// Reads a size; every value must be a whole number above 0.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidHint> {
        const NAME: &str = "size";
        let wrong = || InvalidHint::WrongValue {
            name: NAME,
            expected: "a whole number of GiB above 0, or an operator with such numbers",
            found: format!("'{text}'"),
        };
        let expression = Expression::parse(text).ok_or_else(wrong)?;
        match expression.operator {
            Operator::In | Operator::AllIn | Operator::Text(_) => {
                return Err(InvalidHint::WrongOperator {
                    name: NAME,
                    operator: expression.operator,
                });
            }
            Operator::RangeIn => {
                let range = Range::parse(&expression.values[0]).ok_or_else(wrong)?;
                return Ok(Self {
                    operator: Operator::RangeIn,
                    values: Vec::new(),
                    range: Some(range),
                });
            }
            Operator::Default | Operator::Or | Operator::Number(_) => {}
        }
        let values = expression
            .values
            .iter()
            .map(|value| {
                value
                    .parse::<u32>()
                    .ok()
                    .filter(|size| *size > 0)
                    .map(f64::from)
            })
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        Ok(Self {
            operator: expression.operator,
            values,
            range: None,
        })
    }

    /// Whether a size in GiB fulfils it. Equality is exact: a disk of 465.8 GiB is neither
    /// 465 nor 466.
    pub(super) fn accepts(&self, gib: f64) -> bool {
        let mut values = self.values.iter();
        match self.operator {
            Operator::Number(comparison) => values.all(|value| comparison.holds(&gib, value)),
            Operator::RangeIn => self.range.as_ref().is_some_and(|range| range.holds(gib)),
            _ => values.any(|value| Comparison::Equal.holds(&gib, value)),
        }
    }
}

/// `[ 50 100 ]`; a round bracket leaves its end out.
#[derive(Debug, Clone, PartialEq)]
struct Range {
    from: f64,
    from_included: bool,
    to: f64,
    to_included: bool,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (open, from, to, close) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let bracket = |text: &str, included: &str, excluded: &str| match text {
            text if text == included => Some(true),
            text if text == excluded => Some(false),
            _ => None,
        };
        let range = Self {
            from: from.parse().ok()?,
            from_included: bracket(open, "[", "(")?,
            to: to.parse().ok()?,
            to_included: bracket(close, "]", ")")?,
        };
        (words.next().is_none() && range.from <= range.to).then_some(range)
    }

    fn holds(&self, number: f64) -> bool {
        (number > self.from || self.from_included && number == self.from)
            && (number < self.to || self.to_included && number == self.to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_operators_and_values() {
        use Comparison::{Above, AtLeast, AtMost, Equal};
        let cases: [(&str, Operator, &[&str]); 14] = [
            ("s== Foo", Operator::Text(Equal), &["foo"]),
            ("FOO model", Operator::Default, &["foo model"]),
            ("= 50", Operator::Number(AtLeast), &["50"]),
            (">= 50", Operator::Number(AtLeast), &["50"]),
            (">50", Operator::Number(Above), &["50"]),
            ("<= 5", Operator::Number(AtMost), &["5"]),
            ("== 5", Operator::Number(Equal), &["5"]),
            (
                "<or> foo <or> foo bar <or> bar",
                Operator::Or,
                &["foo", "foo bar", "bar"],
            ),
            ("<in> foo<in>bar", Operator::In, &["foo", "bar"]),
            ("<all-in> aes mmx", Operator::AllIn, &["aes", "mmx"]),
            ("<range-in> [ 50 100 ]", Operator::RangeIn, &["[ 50 100 ]"]),
            ("s> a", Operator::Text(Above), &["a"]),
            ("samsung", Operator::Default, &["samsung"]),
            ("= a = b", Operator::Number(AtLeast), &["a = b"]),
        ];
        for (text, operator, values) in cases {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(expression.operator, operator, "{text}");
            assert_eq!(expression.values, values, "{text}");
        }
        for empty in ["", "  ", "<or>", "<or> <or>", ">="] {
            assert_eq!(Expression::parse(empty), None, "{empty}");
        }
    }

    #[test]
    fn compares_texts() {
        let cases = [
            ("Fastable SD131 7", "fastable sd131 7", true),
            ("FOO", "FOO mod1", false),
            ("<in> 0:0", "1:0:0:0", true),
            ("<in> ssd <in> zzz", "an ssd", false),
            ("<all-in> sd 7", "fastable sd131 7", true),
            ("<all-in> sd 8", "fastable sd131 7", false),
            ("<or> a <or> b", "B", true),
            ("<or> a <or> b", "c", false),
            ("s!= x", "y", true),
            ("s!= x", "X", false),
            ("s< b", "a", true),
            ("s>= b", "a", false),
            ("== 10", "10.0", true),
            ("!= 10", "text", true),
            ("> 9", "10", true),
            ("> 9", "text", false),
            ("<range-in> [ 1 5 ]", "3", true),
            ("<range-in> [ 1 5 ]", "six", false),
        ];
        for (text, device, accepted) in cases {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(
                expression.accepts_text(device),
                accepted,
                "{text} on {device}"
            );
        }
    }

    #[test]
    fn compares_sizes() {
        let cases = [
            ("10", 10.0, true),
            ("465", 465.76, false),
            ("= 60", 100.0, true),
            (">= 60", 60.0, true),
            ("<or> 60 <or> 120", 120.0, true),
            ("!= 60", 60.0, false),
            ("< 60", 59.9, true),
            ("<range-in> [ 50 70 ]", 70.0, true),
            ("<range-in> ( 50 70 )", 70.0, false),
            ("<range-in> ( 50 70 ]", 50.0, false),
            ("<range-in> [ 50 70 )", 50.0, true),
        ];
        for (text, gib, accepted) in cases {
            assert_eq!(
                SizeExpression::parse(text).unwrap().accepts(gib),
                accepted,
                "{text}"
            );
        }
        for wrong in [
            "not-int",
            "-123",
            "0",
            "60.5",
            "60 GiB",
            "",
            "<or> 123 <or> x",
            "<in> 60",
            "s== 60",
            "<range-in> 50 70",
            "<range-in> [ 70 50 ]",
            "<range-in> [ 50 70 ] 80",
        ] {
            assert!(SizeExpression::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(hint in ".{0,40}", device in ".{0,40}") {
            if let Some(expression) = Expression::parse(&hint) {
                expression.accepts_text(&device);
            }
            let _ = SizeExpression::parse(&hint);
        }

        #[test]
        fn a_text_matches_itself(text in "[a-zA-Z0-9:_/ -]{1,30}") {
            prop_assume!(!text.trim().is_empty());
            let expression = Expression::parse(&text).unwrap();
            prop_assert!(expression.accepts_text(&text));
        }
    }
}
