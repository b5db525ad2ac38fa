//! What an order becomes, and how it is refused.

use super::*;
use crate::commands::arguments::GivenArguments;
use crate::commands::descriptor::VerbDescriptor;
use crate::commands::failure::FailureKind;
use crate::commands::testing;
use crate::config::AgentConfig;

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
    assert_eq!(
        (step.name, step.phase),
        ("apply_configuration", StepPhase::Service)
    );
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
            "raid.volumes[0].disks: must be none, for all disks, or as many as the level needs, not 1",
        ),
        (
            json!({"volumes": [mirror(), {"level": "RAID_LEVEL_5", "disks": [{"serial": "a"}, {"serial": "b"}]}]}),
            "raid.volumes[1].disks: must be none, for all disks, or as many as the level needs, not 2",
        ),
        (
            json!({"volumes": [{"level": "RAID_LEVEL_1"}, mirror()]}),
            "raid.volumes[0].size_gib: is missing: only the last volume takes what is left",
        ),
        (
            json!({"volumes": [{"level": "RAID_LEVEL_5"}]}),
            "raid.volumes[0].level: must be RAID_LEVEL_1 of the first volume, from which machines \
             boot, not RAID_LEVEL_5",
        ),
        (
            json!({"volumes": [{"level": "RAID_LEVEL_1", "name": "a b"}]}),
            "raid.volumes[0].name: must be up to 32 letters",
        ),
        (
            json!({"volumes": [
                {"level": "RAID_LEVEL_1", "size_gib": 1, "name": "a"},
                {"level": "RAID_LEVEL_1", "name": "a"},
            ]}),
            "raid.volumes[1].name: must be another name than that of the first volume, not a",
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
fn a_node_that_keeps_volumes_by_name_wants_names() {
    let context = testing::context(AgentConfig::default());
    let unnamed = || verb(json!({"volumes": [{"level": "RAID_LEVEL_1"}]}));
    unnamed().check(&context).unwrap();
    let Value::Object(node) = json!({"properties": {"skip_block_devices": [{"volume_name": "v"}]}})
    else {
        unreachable!()
    };
    context.node.remember(Node(node));
    let failure = unnamed().check(&context).unwrap_err();
    let text = "raid.volumes[0].name: is missing: properties/skip_block_devices of the node keeps \
                volumes by name";
    assert_eq!(failure.details, text);
}

/// What an order does not refuse, the step takes.
#[test]
fn orders_that_pass_are_configurations_that_the_step_takes() {
    let context = testing::context(AgentConfig::default());
    let levels = LEVELS.map(|(name, ..)| name);
    let sizes = [json!({}), json!({"size_gib": 1})];
    let names = [
        json!({}),
        json!({"name": "a"}),
        json!({"name": "-a"}),
        json!({"name": "b"}),
    ];
    let disks: [Value; 3] = [0, 2, 4].map(|count| match count {
        0 => json!({}),
        count => json!({"disks": vec![json!({"serial": "s"}); count]}),
    });
    let mut volumes = Vec::new();
    for level in levels {
        for extra in sizes.iter().flat_map(|size| {
            let of_size = names.iter().map(move |name| [size, name]);
            of_size.flat_map(|[size, name]| disks.iter().map(move |disks| [size, name, disks]))
        }) {
            let mut volume = json!({"level": level});
            let fields = extra
                .iter()
                .flat_map(|part| part.as_object().unwrap().clone());
            volume.as_object_mut().unwrap().extend(fields);
            volumes.push(volume);
        }
    }
    let alone = volumes.iter().map(|volume| vec![volume.clone()]);
    let pairs = volumes.iter().flat_map(|first| {
        volumes
            .iter()
            .step_by(7)
            .map(|second| vec![first.clone(), second.clone()])
    });
    let (mut passed, mut refused) = (0, 0);
    for volumes in alone.chain(pairs) {
        let call = verb(json!({"volumes": volumes}));
        let checked = call.check(&context);
        match call.order() {
            Ok(order) => {
                let taken = raid::validate(&Node::default(), &order.config());
                assert_eq!(
                    checked.is_ok(),
                    taken.is_ok(),
                    "{volumes:?}: {checked:?} {taken:?}"
                );
                passed += usize::from(checked.is_ok());
            }
            Err(_) => refused += 1,
        }
    }
    assert!(passed > 100 && refused > 100, "{passed} {refused}");
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
