use proptest::prelude::*;

use super::*;
use crate::agents::LogicalTime;

const NODE: &str = "1be26c0b-03f2-4d2e-ae87-c02d7f33c123";

fn id(boot: u8, counter: u64) -> AttachmentId {
    AttachmentId {
        boot_id: boot.to_string(),
        counter,
    }
}

fn url(replica: usize) -> Arc<str> {
    format!("https://replica{replica}").into()
}

#[test]
fn an_agent_that_moves_is_found_where_it_went() {
    let (mut a, mut b) = (Locations::default(), Locations::default());
    let (at_a, at_b) = (url(0), url(1));
    a.attach(NODE, &id(1, 1));
    let first = a.line(NODE).unwrap();
    assert_eq!(
        b.learn(&first, &at_a, ClaimSource::Holder),
        Learned::Attached
    );
    assert_eq!(b.find(NODE), Some(Location::At(Arc::clone(&at_a))));
    // The machine boots again, and its agent attaches to B.
    b.attach(NODE, &id(2, 1));
    let second = b.line(NODE).unwrap();
    // A still holds the old one, and says so.
    assert_eq!(
        b.learn(&first, &at_a, ClaimSource::Directory),
        Learned::Nothing
    );
    assert_eq!(b.find(NODE), Some(Location::Here));
    assert_eq!(
        a.learn(&second, &at_b, ClaimSource::Holder),
        Learned::Attached
    );
    assert_eq!(a.find(NODE), Some(Location::At(at_b)));
    assert_eq!(a.line(NODE), None, "A does not speak for it any longer");
    // A late clean-up changes nothing.
    assert_eq!(a.detach(NODE, &id(1, 1), false), None);
    assert!(b.detach(NODE, &id(2, 1), true).is_some());
    assert!(b.is_closed(NODE) && b.find(NODE).is_none());
    b.attach(NODE, &id(3, 1));
    assert!(!b.is_closed(NODE));
}

#[test]
fn within_a_boot_the_counter_of_the_agent_decides() {
    let mut here = Locations::default();
    here.attach(NODE, &id(1, 5));
    assert!(here.is_superseded(NODE, &id(1, 4)));
    assert!(!here.is_superseded(NODE, &id(1, 6)));
    assert!(!here.is_superseded(NODE, &id(2, 1)), "another boot");
    let late = ClaimLine {
        node_uuid: NODE.into(),
        claim: Claim {
            boot_id: "1".into(),
            counter: 4,
            // Its replica's clock is a week ahead.
            generation: here.line(NODE).unwrap().claim.generation.next(),
        },
        attached: true,
        closed: false,
    };
    assert_eq!(
        here.learn(&late, &url(1), ClaimSource::Holder),
        Learned::Nothing
    );
}

#[test]
fn a_location_of_the_directory_is_dropped_when_its_replica_denies_it() {
    let mut here = Locations::default();
    let (mut there, mut liar) = (Locations::default(), Locations::default());
    there.attach(NODE, &id(1, 1));
    liar.attach(NODE, &id(9, 1));
    let (true_line, false_line) = (there.line(NODE).unwrap(), liar.line(NODE).unwrap());
    here.learn(&false_line, &url(2), ClaimSource::Directory);
    here.learn(&true_line, &url(1), ClaimSource::Directory);
    assert_eq!(here.find(NODE), Some(Location::At(url(2))), "the later one");
    here.not_there(NODE, &url(2));
    here.learn(&true_line, &url(1), ClaimSource::Directory);
    assert_eq!(here.find(NODE), Some(Location::At(url(1))));
    // One that is only unreachable may be back, and has not lost its claim.
    here.learn(&false_line, &url(2), ClaimSource::Holder);
    here.unreachable(NODE, &url(2));
    here.not_there(NODE, &url(2));
    here.learn(&true_line, &url(1), ClaimSource::Directory);
    assert_eq!(here.find(NODE), None);
}

#[test]
fn a_replica_that_could_not_be_reached_is_tried_again_if_it_said_itself_that_it_holds_the_node() {
    let (mut here, mut there) = (Locations::default(), Locations::default());
    there.attach(NODE, &id(1, 1));
    let line = there.line(NODE).unwrap();
    here.learn(&line, &url(1), ClaimSource::Directory);
    here.unreachable(NODE, &url(1));
    assert_eq!(here.retry(NODE), None, "anybody could have said it");
    here.learn(&line, &url(1), ClaimSource::Holder);
    for _ in 0..2 {
        here.unreachable(NODE, &url(1));
        assert_eq!(here.find(NODE), None);
        assert_eq!(here.retry(NODE), Some(url(1)));
        assert_eq!(here.find(NODE), Some(Location::At(url(1))));
    }
    // It denies it, or the agent has attached here meanwhile.
    here.not_there(NODE, &url(1));
    assert_eq!(here.retry(NODE), None);
    here.learn(&line, &url(1), ClaimSource::Holder);
    here.unreachable(NODE, &url(1));
    here.attach(NODE, &id(1, 2));
    assert_eq!(here.retry(NODE), None);
    assert_eq!(here.find(NODE), Some(Location::Here));
}

/// Any user of the directory can answer a question.
#[test]
fn hearsay_keeps_no_agent_out_and_ends_no_service() {
    let end_of_time = LogicalTime::default().next_at(u64::MAX);
    let hearsay = |attached| ClaimLine {
        node_uuid: NODE.into(),
        claim: Claim {
            boot_id: "1".into(),
            counter: u64::MAX,
            generation: end_of_time,
        },
        attached,
        closed: !attached,
    };
    let mut here = Locations::default();
    for attached in [false, true] {
        here.learn(&hearsay(attached), &url(1), ClaimSource::Directory);
        assert!(!here.is_superseded(NODE, &id(1, 1)), "{attached}");
        assert!(!here.is_closed(NODE) && here.knows(NODE) == attached);
    }
    assert_eq!(here.find(NODE), Some(Location::At(url(1))));
    // Nor does it stand before what a holder says of itself, or count for what comes after.
    let mut there = Locations::default();
    there.attach(NODE, &id(1, 1));
    here.learn(&there.line(NODE).unwrap(), &url(2), ClaimSource::Holder);
    assert_eq!(here.find(NODE), Some(Location::At(url(2))));
    here.learn(&hearsay(true), &url(1), ClaimSource::Directory);
    here.attach(NODE, &id(1, 2));
    assert_eq!(here.find(NODE), Some(Location::Here));
    assert!(here.line(NODE).unwrap().claim.generation < end_of_time);
    // Its holder is believed.
    here.learn(&hearsay(false), &url(1), ClaimSource::Holder);
    assert!(here.is_superseded(NODE, &id(1, 1)) && here.is_closed(NODE));
}

#[test]
fn changes_come_in_parts() {
    let mut here = Locations::default();
    for node in ["a", "b", "c"] {
        here.attach(node, &id(1, 1));
    }
    let names = |lines: Vec<ClaimLine>| -> Vec<String> {
        lines.into_iter().map(|line| line.node_uuid).collect()
    };
    let (lines, revision) = here.since(0, 2);
    assert_eq!(names(lines), ["a", "b"]);
    let (lines, revision) = here.since(revision, 2);
    assert_eq!(names(lines), ["c"]);
    here.detach("a", &id(1, 1), false);
    let (lines, _) = here.since(revision, 2);
    assert!(!lines[0].attached);
    assert_eq!(names(lines), ["a"]);
    assert_eq!(here.count(), (2, 0));
}

#[derive(Debug, Clone)]
enum Act {
    /// The agent attaches to a replica, perhaps after a boot.
    Attach { replica: usize, boots: bool },
    /// Its attachment ends, and the replica notices.
    Detach,
    /// A replica says what it holds, and another one hears it now or later.
    Say { from: usize, to: usize },
    /// The n-th message that was ever sent arrives, perhaps once more.
    Deliver(usize),
    /// A replica dies and comes back with nothing.
    Die(usize),
    /// A replica fails to reach another one.
    Fail { at: usize, of: usize },
    /// And tries again, because nobody can be asked.
    Retry(usize),
}

const REPLICAS: usize = 3;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let replica = || 0..REPLICAS;
    let act = prop_oneof![
        (replica(), any::<bool>()).prop_map(|(replica, boots)| Act::Attach { replica, boots }),
        Just(Act::Detach),
        (replica(), replica()).prop_map(|(from, to)| Act::Say { from, to }),
        (0..30_usize).prop_map(Act::Deliver),
        replica().prop_map(Act::Die),
        (replica(), replica()).prop_map(|(at, of)| Act::Fail { at, of }),
        replica().prop_map(Act::Retry),
    ];
    prop::collection::vec(act, 0..60)
}

/// Three replicas, one node, and the messages that are under way.
#[derive(Default)]
struct World {
    replicas: [Locations; REPLICAS],
    messages: Vec<(usize, usize, ClaimLine)>,
    /// The attachments in the order in which the agent made them, and where.
    attachments: Vec<(usize, AttachmentId, Claim)>,
    boot: u8,
    counter: u64,
    /// For each replica the latest attachment that it has heard of.
    heard: [Option<usize>; REPLICAS],
}

impl World {
    fn act(&mut self, act: Act) {
        match act {
            Act::Attach { replica, boots } => {
                // A replica that is about to hold a node knows of the attachment before, or its
                // clock has gone on since: that is what makes generations grow.
                if let Some((last, _, claim)) = self.attachments.last() {
                    let line = line(claim, *last != replica);
                    self.replicas[replica].learn(&line, &url(*last), ClaimSource::Holder);
                }
                self.boot += u8::from(boots);
                self.counter = if boots { 1 } else { self.counter + 1 };
                let id = id(self.boot, self.counter);
                self.replicas[replica].attach(NODE, &id);
                let claim = self.replicas[replica].line(NODE).unwrap().claim;
                self.attachments.push((replica, id, claim));
                self.hears(replica, self.attachments.len() - 1);
            }
            Act::Detach => {
                if let Some((replica, id, _)) = self.attachments.last() {
                    self.replicas[*replica].detach(NODE, id, false);
                }
            }
            Act::Say { from, to } => {
                if let Some(line) = self.replicas[from].line(NODE) {
                    self.messages.push((from, to, line));
                }
            }
            Act::Deliver(at) => {
                if let Some((from, to, line)) = self.messages.get(at).cloned()
                    && from != to
                {
                    self.replicas[to].learn(&line, &url(from), ClaimSource::Holder);
                    let said = |(_, _, claim): &(usize, AttachmentId, Claim)| *claim == line.claim;
                    if let Some(which) = self.attachments.iter().position(said) {
                        self.hears(to, which);
                    }
                }
            }
            Act::Die(replica) => {
                self.replicas[replica] = Locations::default();
                self.heard[replica] = None;
            }
            Act::Fail { at, of } => self.replicas[at].unreachable(NODE, &url(of)),
            Act::Retry(at) => drop(self.replicas[at].retry(NODE)),
        }
    }

    fn hears(&mut self, replica: usize, which: usize) {
        self.heard[replica] = self.heard[replica].max(Some(which));
    }
}

fn line(claim: &Claim, attached: bool) -> ClaimLine {
    ClaimLine {
        node_uuid: NODE.into(),
        claim: claim.clone(),
        attached,
        closed: false,
    }
}

proptest! {
    /// Whatever happens in whatever order: a replica that has heard of an attachment never
    /// sends anybody to where an earlier one was.
    #[test]
    fn nobody_is_sent_to_a_replica_that_is_superseded(acts in acts()) {
        let mut world = World::default();
        for act in acts {
            world.act(act);
            for (replica, table) in world.replicas.iter().enumerate() {
                let Some(heard) = world.heard[replica] else { continue };
                let answer = table.find(NODE);
                let (holder, ..) = world.attachments[heard];
                let right = if holder == replica { Location::Here } else { Location::At(url(holder)) };
                prop_assert!(
                    answer.is_none() || answer == Some(right.clone()),
                    "replica {replica} says {answer:?}, not {right:?}"
                );
            }
        }
    }

    /// When every replica has heard the last word of every other, nobody shares a node, and all
    /// find its latest attachment unless it has ended or its replica has died.
    #[test]
    fn replicas_agree_when_all_has_been_said(acts in acts()) {
        let mut world = World::default();
        for act in acts {
            world.act(act);
        }
        let said: Vec<_> = (0..REPLICAS)
            .filter_map(|from| Some((from, world.replicas[from].line(NODE)?)))
            .collect();
        for (from, line) in &said {
            for to in (0..REPLICAS).filter(|to| to != from) {
                world.replicas[to].learn(line, &url(*from), ClaimSource::Holder);
            }
        }
        let place = |replica: usize| match world.replicas[replica].find(NODE) {
            Some(Location::Here) => Some(url(replica)),
            Some(Location::At(url)) => Some(url),
            None => None,
        };
        let live: Vec<_> = (0..REPLICAS).filter(|replica| {
            world.replicas[*replica].find(NODE) == Some(Location::Here)
        }).collect();
        prop_assert!(live.len() <= 1, "{live:?} hold it at once");
        let latest = world.attachments.last().map(|(replica, ..)| *replica);
        if let Some(holder) = latest.filter(|holder| live.contains(holder)) {
            for replica in 0..REPLICAS {
                prop_assert_eq!(place(replica), Some(url(holder)));
            }
        }
    }
}
