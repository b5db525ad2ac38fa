//! What an option is.

use std::fmt;
use std::sync::Arc;

use crate::value::Value;

/// One option of a program whose settings are `S`.
#[derive(Debug, Clone)]
pub struct Opt<S> {
    /// The heading in `--help`.
    pub heading: &'static str,
    /// Its group in files; empty for `[DEFAULT]`.
    pub group: &'static str,
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// Further groups and names in files, from before the option got its present name.
    pub old: &'static [(&'static str, &'static str)],
    /// Its key on the kernel command line and on virtual media.
    pub kernel: Option<&'static str>,
    /// Whether the kernel parameter wins over every other source.
    pub is_kernel_final: bool,
    /// The environment variable that may hold it.
    pub environment: Option<&'static str>,
    /// The option without which this one has no effect, and the other way round.
    pub pair: Option<&'static str>,
    /// What it does.
    pub effect: Effect,
    /// What it means, one or more sentences.
    pub help: &'static str,
    /// Where its value is kept.
    pub slot: Accessor<S>,
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Its value is kept.
    Offered,
    /// Its value is the file that holds this option, which is a secret.
    FileOf(&'static str),
    /// Nothing, for this reason: an option of ironic-python-agent that is not offered here.
    NotOffered(&'static str),
}

/// Where and how a value is kept.
pub struct Accessor<S> {
    /// Sets the value; `false` when the text is not one.
    pub set: Setter<S>,
    /// The value as text.
    pub show: Getter<S>,
    /// What a text should have been.
    pub expected: &'static str,
    /// The word for the value in `--help`.
    pub word: &'static str,
    /// Whether the text must not be shown in an error.
    pub secret: bool,
}

type Setter<S> = Arc<dyn Fn(&mut S, &str) -> bool + Send + Sync>;
type Getter<S> = Arc<dyn Fn(&S) -> String + Send + Sync>;

impl<S> Clone for Accessor<S> {
    fn clone(&self) -> Self {
        Self {
            set: Arc::clone(&self.set),
            show: Arc::clone(&self.show),
            ..*self
        }
    }
}

impl<S> fmt::Debug for Accessor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("expected", &self.expected)
            .field("word", &self.word)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

impl<S> Accessor<S> {
    /// Whether the option is a switch on the command line.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.word == bool::WORD
    }
}

/// An assignment's target within a file: group and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The group; empty for `[DEFAULT]`.
    pub group: &'a str,
    /// The key.
    pub key: &'a str,
}

impl<S: 'static> Opt<S> {
    /// An option whose value is kept in a field. Use [`opt!`].
    pub fn offered<V: Value>(
        name: &'static str,
        help: &'static str,
        set: impl Fn(&mut S, V) -> bool + Send + Sync + 'static,
        get: impl Fn(&S) -> &V + Send + Sync + 'static,
    ) -> Self {
        Self {
            help,
            slot: Accessor {
                set: Arc::new(move |settings, text| {
                    V::read(text).is_some_and(|value| set(settings, value))
                }),
                show: Arc::new(move |settings| get(settings).show()),
                expected: V::EXPECTED,
                word: V::WORD,
                secret: false,
            },
            ..Self::named(name, Effect::Offered)
        }
    }

    /// An option of ironic-python-agent that is not offered, and why.
    #[must_use]
    pub fn not_offered(group: &'static str, name: &'static str, reason: &'static str) -> Self {
        Self::named(name, Effect::NotOffered(reason)).group(group)
    }

    /// Like [`Opt::not_offered`], a switch on the command line.
    #[must_use]
    pub fn switch_not_offered(
        group: &'static str,
        name: &'static str,
        reason: &'static str,
    ) -> Self {
        Self::not_offered(group, name, reason).word(bool::WORD)
    }

    /// An option that names the file which holds the secret option `secret`.
    #[must_use]
    pub fn file_of(secret: &'static str, name: &'static str, help: &'static str) -> Self {
        Self {
            help,
            ..Self::named(name, Effect::FileOf(secret)).word("FILE")
        }
    }

    fn named(name: &'static str, effect: Effect) -> Self {
        Self {
            heading: "",
            group: "",
            name,
            old: &[],
            kernel: None,
            is_kernel_final: false,
            environment: None,
            pair: None,
            effect,
            help: "",
            slot: Accessor {
                set: Arc::new(|_, _| true),
                show: Arc::new(|_| String::new()),
                expected: "",
                word: "TEXT",
                secret: false,
            },
        }
    }

    /// The same option of a program whose settings hold these ones.
    #[must_use]
    pub fn within<T: AsRef<S> + AsMut<S> + 'static>(self) -> Opt<T> {
        let Accessor {
            set,
            show,
            expected,
            word,
            secret,
        } = self.slot;
        Opt {
            heading: self.heading,
            group: self.group,
            name: self.name,
            old: self.old,
            kernel: self.kernel,
            is_kernel_final: self.is_kernel_final,
            environment: self.environment,
            pair: self.pair,
            effect: self.effect,
            help: self.help,
            slot: Accessor {
                set: Arc::new(move |settings, text| set(settings.as_mut(), text)),
                show: Arc::new(move |settings| show(settings.as_ref())),
                expected,
                word,
                secret,
            },
        }
    }

    /// The name on the command line without its dashes: `group-name` as oslo has it.
    #[must_use]
    pub fn flag(&self) -> String {
        match self.group {
            "" => self.name.to_owned(),
            group => format!("{group}-{}", self.name),
        }
    }

    /// The option as a person names it: `name` or `[group] name`.
    #[must_use]
    pub fn title(&self) -> String {
        match self.group {
            "" => self.name.to_owned(),
            group => format!("[{group}] {}", self.name),
        }
    }

    /// Whether the option has an effect.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        !matches!(self.effect, Effect::NotOffered(_))
    }

    /// Whether a file's assignment means this option.
    #[must_use]
    pub fn is_target(&self, target: Target<'_>) -> bool {
        let same = |name: &str| {
            let names = name.bytes().zip(target.key.bytes());
            name.len() == target.key.len()
                && names.map(|(n, k)| (dash(n), dash(k))).all(|(n, k)| n == k)
        };
        let mut names = std::iter::once((self.group, self.name)).chain(self.old.iter().copied());
        names.any(|(group, name)| group == target.group && same(name))
    }

    /// With a name that is not the field's.
    #[must_use]
    pub fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// With a key on the kernel command line.
    #[must_use]
    pub fn kernel(mut self, key: &'static str) -> Self {
        self.kernel = Some(key);
        self
    }

    /// With a key on the kernel command line that wins over every other source.
    #[must_use]
    pub fn kernel_final(mut self, key: &'static str) -> Self {
        self.is_kernel_final = true;
        self.kernel(key)
    }

    /// With an environment variable.
    #[must_use]
    pub fn environment(mut self, variable: &'static str) -> Self {
        self.environment = Some(variable);
        self
    }

    /// In this group.
    #[must_use]
    pub fn group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// With former groups and names.
    #[must_use]
    pub fn old(mut self, old: &'static [(&'static str, &'static str)]) -> Self {
        self.old = old;
        self
    }

    /// Without effect unless `other` is set, too, and the other way round.
    #[must_use]
    pub fn pair(mut self, other: &'static str) -> Self {
        self.pair = Some(other);
        self
    }

    /// With what a text should have been.
    #[must_use]
    pub fn expecting(mut self, expected: &'static str) -> Self {
        self.slot.expected = expected;
        self
    }

    /// With a word for the value in `--help`.
    #[must_use]
    pub fn word(mut self, word: &'static str) -> Self {
        self.slot.word = word;
        self
    }

    /// With a value that must not be shown.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.slot.secret = true;
        self
    }
}

/// Puts options under one heading of `--help`.
pub fn section<S>(
    heading: &'static str,
    options: impl IntoIterator<Item = Opt<S>>,
) -> impl Iterator<Item = Opt<S>> {
    let under = move |option| Opt { heading, ..option };
    options.into_iter().map(under)
}

/// The option that a file's assignment means.
#[must_use]
pub fn find<'a, S: 'static>(options: &'a [Opt<S>], target: Target<'_>) -> Option<&'a Opt<S>> {
    options.iter().find(|option| option.is_target(target))
}

/// `-` and `_` are the same in a name.
fn dash(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// An option that is kept in a field of `Self` and called like it: `opt!(field, "help")`. With
/// `if |value| condition`, values for which it does not hold are refused.
#[macro_export]
macro_rules! opt {
    ($($path:ident).+, $help:expr) => {
        $crate::opt!($($path).+ if |_value| true, $help)
    };
    ($($path:ident).+ if |$value:ident| $holds:expr, $help:expr) => {
        $crate::Opt::<Self>::offered(
            $crate::__support::field_name(stringify!($($path).+)),
            $help,
            |settings: &mut Self, value| {
                let field = &mut settings.$($path).+;
                let holds = {
                    let $value = $crate::__support::same_type(&value, &*field);
                    $holds
                };
                if holds {
                    *field = value;
                }
                holds
            },
            |settings: &Self| &settings.$($path).+,
        )
    };
}
