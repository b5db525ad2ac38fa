//! What an order becomes, and how it is refused.

use super::*;
use crate::commands::arguments::GivenArguments;
use crate::commands::descriptor::VerbDescriptor;
use crate::commands::failure::FailureKind;
use crate::commands::testing;
use crate::config::AgentConfig;
use crate::disk::raid;

fn verb(document: Value) -> Raid {
    let Value::Object(named) = document else {
        panic!("{document}");
    };
    let verb = VerbDescriptor::by_name("order.raid").unwrap();
    let given = GivenArguments {
        named,
        ..GivenArguments::default()
    };
    Raid::read(VerbArguments::check(verb, given).unwrap()).unwrap()
}

#[test]
fn an_order_becomes_a_configuration_that_ironic_could_send() {
    let call = verb(json!({"volumes": [
        {"name": "root", "level": "RAID_LEVEL_1", "size_gib": 10, "is_root": true},
        {"level": "RAID_LEVEL_10", "disks": [{"serial": "a"}, {"device": "/dev/sdb"}]},
    ]}));
    let step = call.order().unwrap().step(&Node::default());
    assert_eq!((step.name, step.phase), ("apply_configuration", Phase::Service));
    let config = json!({"logical_disks": [
        {"size_gb": 10, "raid_level": "1", "controller": "software", "volume_name": "root",
         "is_root_volume": true},
        {"size_gb": "MAX", "raid_level": "1+0", "controller": "software",
         "physical_disks": [{"serial": "a"}, {"name": "s== /dev/sdb"}]},
    ]});
    assert_eq!(step.arguments["raid_config"], config);
    assert_eq!(step.arguments["delete_existing"], true);
    raid::validate(&Node::default(), &config).unwrap();

    let none = verb(json!({}));
    let step = none.order().unwrap().step(&Node::default());
    assert_eq!(step.name, "delete_configuration");
}

#[test]
fn errors_name_their_field() {
    let mirror = || json!({"level": "RAID_LEVEL_1", "size_gib": 1, "is_root": true});
    let cases = [
        (
            json!({"keep_existing": true}),
            "raid.volumes: is missing: with keep_existing there is nothing to do",
        ),
        (
            json!({"volumes": [mirror(), mirror(), mirror()]}),
            "raid.volumes: must be at most two, not 3",
        ),
        (
            json!({"volumes": [mirror(), mirror()]}),
            "raid.volumes[1].is_root: must be true for one volume at most",
        ),
        (
            json!({"volumes": [{"size_gib": 1}]}),
            "raid.volumes[0].level: must be RAID_LEVEL_0",
        ),
        (
            json!({"volumes": [{"level": "RAID_LEVEL_1", "size_gib": 0}]}),
            "raid.volumes[0].size_gib: must be at least 1, or absent, not 0",
        ),
        (
            json!({"volumes": [{"level": "RAID_LEVEL_1", "disks": [{"serial": "a"}]}]}),
            "raid.volumes[0].disks: must be none, for all disks, or at least two, not 1",
        ),
        (
            json!({"volumes": [{"level": "RAID_LEVEL_1", "disks": [{"serial": "a"}, {}]}]}),
            "raid.volumes[0].disks[1]: is missing",
        ),
    ];
    let context = testing::context(AgentConfig::default());
    for (document, text) in cases {
        let failure = verb(document).check(&context).unwrap_err();
        assert_eq!(failure.kind, FailureKind::InvalidCommandParams);
        assert!(failure.details.starts_with(text), "{}", failure.details);
    }
}

#[test]
fn what_was_made_is_answered_by_volume() {
    let volume = json!({"size_gb": "MAX", "raid_level": "1+0", "controller": "software",
                        "volume_name": "data", "block_devices": ["/dev/sda", "/dev/sdb"]});
    assert_eq!(
        made(&volume),
        json!({"name": "data", "level": "RAID_LEVEL_10", "disks": ["/dev/sda", "/dev/sdb"]})
    );
}
