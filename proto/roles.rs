//! The roles of a gateway's callers, and what each method needs, as the protocol notes it.

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// What a caller of a gateway may do. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallerRole {
    /// Looks: lists, watches, inventories, logs without secrets.
    Observer,
    /// Gives commands that change nothing on disks, and cancels commands.
    Operator,
    /// Gives every command.
    Provisioner,
}

impl CallerRole {
    /// What the method with this path needs, `/ironic.agent.v1.FleetService/ListNodes`. One that
    /// the protocol does not have needs the most.
    #[must_use]
    pub fn of_method(path: &str) -> Self {
        let found = METHODS.binary_search_by_key(&path, |(path, _)| *path);
        found.map_or(Self::Provisioner, |at| METHODS[at].1)
    }

    /// Its name in policies and errors.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Operator => "operator",
            Self::Provisioner => "provisioner",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::VERBS;

    #[test]
    fn methods_have_the_roles_that_are_noted_on_them() {
        let of = |name: &str| CallerRole::of_method(&format!("/ironic.agent.v1.{name}"));
        assert_eq!(of("FleetService/ListNodes"), CallerRole::Observer);
        assert_eq!(of("CommandService/CancelCommand"), CallerRole::Operator);
        assert_eq!(
            of("JoinTokenService/CreateJoinToken"),
            CallerRole::Provisioner
        );
        assert_eq!(of("CommandService/Unknown"), CallerRole::Provisioner);
        assert!(METHODS.is_sorted());
    }

    #[test]
    fn what_changes_disks_or_gives_a_machine_away_needs_a_provisioner() {
        for verb in &VERBS {
            let harmless = [
                "get_steps",
                "run_image",
                "power_off",
                "sync",
                "get_partition_uuids",
                "collect_system_logs",
                "get_hardware_info",
            ];
            let expected = if harmless.contains(&verb.verb) {
                CallerRole::Operator
            } else {
                CallerRole::Provisioner
            };
            assert_eq!(verb.role, expected, "{}", verb.name);
        }
    }
}
