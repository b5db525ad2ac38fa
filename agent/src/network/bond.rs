//! Options of a bond: what the kernel's bonding driver takes (`bond_options.c`, and
//! `Documentation/networking/bonding.rst`), and in which order.

use super::address;

/// The modes, by their numbers.
const MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];
/// How Ironic's schema of `network_data.json` spells 802.3ad.
const MISSPELLED_MODE: &str = "802.1ad";
/// The modes, for a message.
pub(super) const MODE_NAMES: &str =
    "balance-rr, active-backup, balance-xor, broadcast, 802.3ad, balance-tlb or balance-alb";
/// Attributes of the driver that may be set besides the mode, each after those that it needs:
/// delays count only where `miimon` is set. `primary` names a member, and comes after the members.
const OPTIONS: [&str; 26] = [
    "miimon",
    "use_carrier",
    "updelay",
    "downdelay",
    "peer_notify_delay",
    "arp_interval",
    "arp_ip_target",
    "arp_validate",
    "arp_all_targets",
    "lacp_rate",
    "ad_select",
    "ad_actor_sys_prio",
    "ad_actor_system",
    "ad_user_port_key",
    "xmit_hash_policy",
    "min_links",
    "fail_over_mac",
    "primary_reselect",
    "num_grat_arp",
    "num_unsol_na",
    "all_slaves_active",
    "resend_igmp",
    "lp_interval",
    "packets_per_slave",
    "tlb_dynamic_lb",
    PRIMARY,
];
/// The option that names a member.
pub(super) const PRIMARY: &str = "primary";
/// Members without a link are noticed after so many milliseconds, as everywhere in the field.
const MIIMON: (&str, &str) = ("miimon", "100");

/// An option and its value.
pub(super) type BondOption = (&'static str, String);

/// The mode of a bond by its name or number, as the kernel calls it.
pub(super) fn mode(text: &str) -> Option<&'static str> {
    if text == MISSPELLED_MODE {
        return Some("802.3ad");
    }
    let by_number = text.parse::<usize>().ok().and_then(|n| MODES.get(n));
    let by_name = || MODES.iter().find(|mode| **mode == text);
    by_number.or_else(by_name).copied()
}

/// An option besides the mode, by its name.
pub(super) fn option(name: &str) -> Option<&'static str> {
    OPTIONS.into_iter().find(|known| *known == name)
}

/// The value of an option as the driver takes it; `None` when it cannot be one.
pub(super) fn value(option: &str, text: &str) -> Option<String> {
    if option == "ad_actor_system" {
        return address::mac(text);
    }
    let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_value = (1..=128).contains(&text.len()) && is_word && !text.contains('/');
    is_value.then(|| text.to_owned())
}

/// The options of a bond in the order in which they are set: the mode, then the rest.
pub(super) fn in_order(mode: &'static str, mut others: Vec<BondOption>) -> Vec<BondOption> {
    let watches = |(name, _): &BondOption| ["miimon", "arp_interval"].contains(name);
    if !others.iter().any(watches) {
        others.push((MIIMON.0, MIIMON.1.to_owned()));
    }
    others.sort_by_key(|(name, _)| OPTIONS.iter().position(|known| known == name));
    others.insert(0, ("mode", mode.to_owned()));
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_known_by_name_and_number() {
        for (number, name) in MODES.iter().enumerate() {
            assert_eq!(mode(name), Some(*name));
            assert_eq!(mode(&number.to_string()), Some(*name));
        }
        // Ironic's schema allows no other word for it.
        assert_eq!(mode("802.1ad"), Some("802.3ad"));
        assert_eq!(mode("7"), None);
        assert_eq!(mode(""), None);
    }

    #[test]
    fn what_an_option_needs_is_set_before_it() {
        let given = [
            "primary",
            "updelay",
            "arp_validate",
            "miimon",
            "arp_interval",
        ];
        let given = given.map(|name| (name, "1".to_owned())).to_vec();
        let names: Vec<_> = in_order("active-backup", given)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "mode",
            "miimon",
            "updelay",
            "arp_interval",
            "arp_validate",
            "primary",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_value_is_one_word() {
        for text in ["", "a b", "../x", "\n", &"x".repeat(129)] {
            assert_eq!(value("miimon", text), None, "{text:?}");
        }
        assert_eq!(value("ad_actor_system", "x"), None);
        let system = value("ad_actor_system", "02-00-00-00-00-01");
        assert_eq!(system.as_deref(), Some("02:00:00:00:00:01"));
    }
}
