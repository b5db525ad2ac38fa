//! The rules of a policy: who has which role, for which nodes. Pure.

use ironic_agent_protocol::roles::CallerRole;
use serde::Deserialize;
use serde_saphyr::{Spanned, UserMessageFormatter};
use thiserror::Error;

use super::principal::Principal;
use crate::fleet::node_log::Labels;

/// What a policy may be large: an end for what is none.
const MAX_VALUES: usize = 100_000;
const MAX_DEPTH: usize = 16;

/// The rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::fleet) struct Policy {
    rules: Vec<PolicyRule>,
}

/// What a file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyDocument {
    rules: Vec<Spanned<PolicyRule>>,
}

/// One rule. All that it says must fit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRule {
    /// The whole subject, exact or with a `*` at the end.
    subject: Option<String>,
    /// The common name, likewise.
    common_name: Option<String>,
    /// The SPIFFE ID, exact or with `/*` at the end.
    spiffe_id: Option<String>,
    #[serde(with = "RoleName")]
    role: CallerRole,
    /// Labels that the node must have.
    #[serde(default)]
    labels: Labels,
}

/// A role as policies name it.
#[derive(Deserialize)]
#[serde(remote = "CallerRole", rename_all = "lowercase")]
enum RoleName {
    Observer,
    Operator,
    Provisioner,
}

/// Why a text is no policy.
#[derive(Debug, Error)]
pub enum InvalidPolicy {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Unreadable(#[from] std::io::Error),
    /// It is longer than a policy ever is.
    #[error("the file is larger than {0} KiB")]
    TooLarge(u64),
    /// It is no YAML, or a key or value in it is wrong.
    #[error("{}", .0.render_with_formatter(&UserMessageFormatter))]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// A rule says nobody.
    #[error(
        "the rule has no subject, common_name or spiffe_id: say whom it is for; common_name: \"*\" is everybody who has one"
    )]
    Nobody,
    /// A star is not at the end.
    #[error("{key}: {text:?}: a * may stand at the end only")]
    Star {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: String,
    },
    /// A pattern would also fit another trust domain.
    #[error(
        "spiffe_id: {0:?} must begin with spiffe:// and a trust domain, and a * may stand only behind a / after it"
    )]
    SpiffeId(String),
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The text is no YAML, or a rule makes no sense: with the line, from 1.
    pub(super) fn parse(text: &str) -> Result<Self, (u64, InvalidPolicy)> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: MAX_VALUES, max_depth: MAX_DEPTH },
            with_snippet: false,
        };
        let document: PolicyDocument =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                // A fault of the document as a whole has no place of its own.
                let line = error
                    .location()
                    .map_or(1, |location| location.line().max(1));
                (line, InvalidPolicy::Yaml(Box::new(error)))
            })?;
        let mut rules = Vec::with_capacity(document.rules.len());
        for rule in document.rules {
            let line = rule.referenced.line();
            rule.value.check().map_err(|invalid| (line, invalid))?;
            rules.push(rule.value);
        }
        Ok(Self { rules })
    }

    /// The highest role of somebody for a node with these labels.
    pub(in crate::fleet) fn role_for_node(
        &self,
        principal: &Principal,
        labels: &Labels,
    ) -> Option<CallerRole> {
        self.highest(principal, |rule| {
            let mut wanted = rule.labels.iter();
            wanted.all(|(key, value)| labels.get(key) == Some(value))
        })
    }

    /// The highest role of somebody for what is about no node: a rule with labels gives none.
    pub(in crate::fleet) fn role_for_gateway(&self, principal: &Principal) -> Option<CallerRole> {
        self.highest(principal, |rule| rule.labels.is_empty())
    }

    /// Whether somebody has a role for any nodes.
    pub(in crate::fleet) fn knows(&self, principal: &Principal) -> bool {
        self.highest(principal, |_| true).is_some()
    }

    fn highest(
        &self,
        principal: &Principal,
        counts: impl Fn(&PolicyRule) -> bool,
    ) -> Option<CallerRole> {
        let rules = self.rules.iter();
        let fitting = rules.filter(|rule| counts(rule) && rule.is_for(principal));
        fitting.map(|rule| rule.role).max()
    }
}

impl PolicyRule {
    fn check(&self) -> Result<(), InvalidPolicy> {
        let patterns = [
            ("subject", &self.subject),
            ("common_name", &self.common_name),
            ("spiffe_id", &self.spiffe_id),
        ];
        if patterns.iter().all(|(_, pattern)| pattern.is_none()) {
            return Err(InvalidPolicy::Nobody);
        }
        for (key, pattern) in patterns {
            let Some(text) = pattern else { continue };
            let exact = text.strip_suffix('*').unwrap_or(text);
            if exact.contains('*') {
                let text = text.clone();
                return Err(InvalidPolicy::Star { key, text });
            }
        }
        match &self.spiffe_id {
            Some(id) if !is_spiffe_pattern(id) => Err(InvalidPolicy::SpiffeId(id.clone())),
            _ => Ok(()),
        }
    }

    fn is_for(&self, principal: &Principal) -> bool {
        let said = [
            (&self.subject, &principal.subject),
            (&self.common_name, &principal.common_name),
            (&self.spiffe_id, &principal.spiffe_id),
        ];
        let mut said = said.into_iter();
        said.all(|(pattern, name)| pattern.as_deref().is_none_or(|pattern| fits(pattern, name)))
    }
}

/// Whether all IDs that a pattern fits are of one trust domain.
fn is_spiffe_pattern(pattern: &str) -> bool {
    let Some(rest) = pattern.strip_prefix("spiffe://") else {
        return false;
    };
    let domain_ends = rest.find('/');
    match rest.strip_suffix('*') {
        Some(begin) => begin.ends_with('/') && domain_ends.is_some_and(|end| end > 0),
        None => domain_ends.is_some_and(|end| end > 0),
    }
}

/// What a certificate does not have fits no pattern.
fn fits(pattern: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(common_name: &str, spiffe_id: &str) -> Principal {
        Principal {
            common_name: common_name.to_owned(),
            subject: format!("O=Ops, CN={common_name}"),
            spiffe_id: spiffe_id.to_owned(),
        }
    }

    #[test]
    fn the_highest_role_that_fits_counts() {
        let policy = Policy::parse(
            "rules:
  - {common_name: '*', role: observer}
  - {common_name: alice, role: operator}
  - {subject: 'O=Ops, CN=bob', role: provisioner, labels: {site: berlin}}
  - {spiffe_id: 'spiffe://ops.example/ci/*', role: provisioner}
",
        )
        .unwrap();
        let berlin: Labels = [("site".to_owned(), "berlin".to_owned())].into();
        let nowhere = Labels::new();
        let role = |name, id, labels| policy.role_for_node(&principal(name, id), labels);
        assert_eq!(role("eve", "", &nowhere), Some(CallerRole::Observer));
        assert_eq!(role("alice", "", &berlin), Some(CallerRole::Operator));
        assert_eq!(role("alice2", "", &berlin), Some(CallerRole::Observer));
        assert_eq!(role("bob", "", &berlin), Some(CallerRole::Provisioner));
        assert_eq!(role("bob", "", &nowhere), Some(CallerRole::Observer));
        let ci = "spiffe://ops.example/ci/7";
        assert_eq!(role("x", ci, &nowhere), Some(CallerRole::Provisioner));
        let other = "spiffe://ops.example/cd";
        assert_eq!(role("x", other, &nowhere), Some(CallerRole::Observer));
        let gateway = |name, id| policy.role_for_gateway(&principal(name, id));
        assert_eq!(gateway("bob", ""), Some(CallerRole::Observer));
        assert_eq!(gateway("x", ci), Some(CallerRole::Provisioner));
        assert!(!policy.knows(&Principal::default()), "no name, no role");
        let empty = Policy::parse("rules: []").unwrap();
        assert!(!empty.knows(&principal("alice", ci)));
    }

    #[test]
    fn a_role_for_labelled_nodes_is_none_for_others() {
        let policy =
            Policy::parse("rules:\n  - {common_name: a, role: provisioner, labels: {rack: '1'}}")
                .unwrap();
        let a = principal("a", "");
        let labels: Labels = [("rack".to_owned(), "2".to_owned())].into();
        assert!(policy.knows(&a));
        assert_eq!(policy.role_for_node(&a, &labels), None);
        assert_eq!(policy.role_for_gateway(&a), None);
    }

    #[test]
    fn what_makes_no_sense_is_named_by_line() {
        for (text, line, expected) in [
            ("rules:\n\n  - {role: observer}", 3, "whom it is for"),
            (
                "rules:\n  - {subject: 'a*b', role: observer}",
                2,
                "subject: \"a*b\": a * may",
            ),
            (
                "rules:\n  - {spiffe_id: 'spiffe://ops.example*', role: observer}",
                2,
                "behind a /",
            ),
            (
                "rules:\n  - {spiffe_id: '*', role: observer}",
                2,
                "must begin with spiffe://",
            ),
            ("rules:\n  - {subject: a, role: king}", 2, "king"),
            (
                "rules:\n  - {subject: a, role: observer, label: {}}",
                2,
                "label",
            ),
            ("rules: [", 1, ""),
            ("", 1, "unexpected end of file"),
        ] {
            let (found, error) = Policy::parse(text).unwrap_err();
            let error = error.to_string();
            assert!(
                found == line && error.contains(expected),
                "{text:?}: {found} {error}"
            );
        }
    }
}
