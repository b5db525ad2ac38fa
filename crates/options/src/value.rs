//! Values of options: read from text, shown as text.

use std::path::PathBuf;
use std::time::Duration;

use ironic_text::Secret;

/// Longer times than this (136 years) are a typing error and would overflow clocks.
const MAX_SECONDS: f64 = 4_294_967_295.0;

/// Something an option can hold.
pub trait Value: Sized {
    /// What the text should have been, for an error: `expected <this>`.
    const EXPECTED: &'static str;
    /// The word that stands for the value in `--help`.
    const WORD: &'static str = "TEXT";

    /// Reads a value, surrounded by no white space.
    fn read(text: &str) -> Option<Self>;
    /// The text that reads back as this value; empty without one.
    fn show(&self) -> String;
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    const WORD: &'static str = "BOOL";

    fn read(text: &str) -> Option<Self> {
        let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match () {
            () if is(&["true", "1", "on", "yes", "t", "y"]) => Some(true),
            () if is(&["false", "0", "off", "no", "f", "n"]) => Some(false),
            () => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u16 {
    const EXPECTED: &'static str = "a port from 0 to 65535";
    const WORD: &'static str = "PORT";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number, not negative";
    const WORD: &'static str = "NUMBER";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a number of seconds, not negative";
    const WORD: &'static str = "SECONDS";

    fn read(text: &str) -> Option<Self> {
        let seconds: f64 = text.parse().ok()?;
        // NaN is in no range.
        (0.0..=MAX_SECONDS)
            .contains(&seconds)
            .then(|| Self::from_secs_f64(seconds))
    }

    fn show(&self) -> String {
        self.as_secs_f64().to_string()
    }
}

impl Value for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";
    const WORD: &'static str = "PATH";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a text that is not empty";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::new(text))
    }

    fn show(&self) -> String {
        "***".to_owned()
    }
}

/// Items separated by commas; empty items are dropped.
impl Value for Vec<String> {
    const EXPECTED: &'static str = "texts separated by commas";
    const WORD: &'static str = "LIST";

    fn read(text: &str) -> Option<Self> {
        let items = text.split(',').map(str::trim);
        Some(
            items
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    fn show(&self) -> String {
        self.join(",")
    }
}

/// An empty text takes the value away.
impl<V: Value> Value for Option<V> {
    const EXPECTED: &'static str = V::EXPECTED;
    const WORD: &'static str = V::WORD;

    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            V::read(text).map(Some)
        }
    }

    fn show(&self) -> String {
        self.as_ref().map(V::show).unwrap_or_default()
    }
}

/// Makes a type with `FromStr` and `Display` a [`Value`].
#[macro_export]
macro_rules! parsed_value {
    ($type:ty, $word:literal, $expected:literal) => {
        impl $crate::Value for $type {
            const EXPECTED: &'static str = $expected;
            const WORD: &'static str = $word;

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    };
}

/// Makes an enum a [`Value`]: a choice among words, which are listed to a person in this order.
#[macro_export]
macro_rules! choice {
    ($type:ident, $word:literal, $expected:literal, { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $type {
            /// Every value with its word in configuration.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, $text)),+];

            /// The word in configuration.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// The value of a word, in any case.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                let known = |entry: &&(Self, &'static str)| entry.1.eq_ignore_ascii_case(word);
                Self::ALL.iter().find(known).map(|(value, _)| *value)
            }
        }

        impl $crate::Value for $type {
            const EXPECTED: &'static str = $expected;
            const WORD: &'static str = $word;

            fn read(text: &str) -> Option<Self> {
                Self::from_word(text)
            }

            fn show(&self) -> String {
                self.word().to_owned()
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tables() {
        for text in ["true", "TRUE", "1", "on", "Yes", "t", "y"] {
            assert_eq!(bool::read(text), Some(true), "{text}");
        }
        for text in ["false", "0", "OFF", "no"] {
            assert_eq!(bool::read(text), Some(false), "{text}");
        }
        for text in ["", "2", "maybe", "tru"] {
            assert_eq!(bool::read(text), None, "{text}");
        }

        assert_eq!(Duration::read("1.5"), Some(Duration::from_millis(1500)));
        for text in ["", "-1", "nan", "inf", "1e300", "10s"] {
            assert_eq!(Duration::read(text), None, "{text}");
        }

        assert_eq!(u16::read("65535"), Some(65535));
        assert_eq!(u16::read("65536"), None);
        assert_eq!(
            Vec::<String>::read(" a, ,b ,"),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(Option::<String>::read(""), Some(None));
        assert_eq!(Option::<bool>::read("x"), None);
    }

    #[expect(unreachable_pub, reason = "the macro is made for public types")]
    mod colour {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Colour {
            Red,
            Green,
        }

        choice!(Colour, "red|green", "red or green", { Red = "red", Green = "green" });
    }

    #[test]
    fn a_choice_is_read_in_any_case() {
        use colour::Colour;
        assert_eq!(Colour::read("GREEN"), Some(Colour::Green));
        assert_eq!(Colour::read("blue"), None);
        assert_eq!(Colour::Red.show(), "red");
        assert_eq!(Colour::ALL.len(), 2);
    }
}
