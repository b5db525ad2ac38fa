use super::*;

const LIMITS: ConnectionLimits = ConnectionLimits {
    authenticated: 4,
    unauthenticated: 8,
    per_peer: 4,
    wait: Duration::from_secs(15),
    stall: Duration::from_secs(10),
};

fn peer(number: u8) -> Peer {
    Peer::V4(Ipv4Addr::new(192, 0, 2, number))
}

fn table() -> Arc<Admission> {
    Arc::new(Admission::new("test", LIMITS))
}

fn evicted(slots: &[Slot]) -> Vec<usize> {
    let slots = slots.iter().enumerate();
    let evicted = slots.filter(|(_, slot)| slot.is_evicted());
    evicted.map(|(index, _)| index).collect()
}

#[test]
fn the_peer_with_the_most_makes_way() {
    let limits = ConnectionLimits {
        unauthenticated: 20,
        per_peer: 16,
        ..LIMITS
    };
    let (table, start) = (Arc::new(Admission::new("test", limits)), Instant::now());
    let mut slots = Vec::new();
    for (at, number) in [1, 1, 1, 2].into_iter().chain([3; 16]).enumerate() {
        let now = start + Duration::from_millis(u64::try_from(at).unwrap());
        slots.push(table.admit(peer(number), now).0);
    }
    assert_eq!(table.held(), (0, 20));
    let now = start + Duration::from_secs(1);
    let (_new, count) = table.admit(peer(4), now);
    assert_eq!(
        (count, evicted(&slots)),
        (1, vec![4]),
        "the oldest of peer 3"
    );
    assert_eq!(table.held(), (0, 20));
    // A handful is as good as one: now the oldest of all makes way.
    slots.truncate(4 + HANDFUL - 1);
    let others = (10..20).map(|number| table.admit(peer(number), now));
    let _others: Vec<_> = others.collect();
    assert_eq!(table.held(), (0, 20));
    assert_eq!(evicted(&slots), [0, 4]);
}

#[test]
fn no_peer_has_more_than_its_share() {
    let (table, now) = (table(), Instant::now());
    let slots: Vec<_> = (0..5).map(|_| table.admit(peer(1), now).0).collect();
    assert_eq!(evicted(&slots), [0]);
    assert_eq!(table.held(), (0, 4), "there would be room for eight");
}

#[test]
fn who_is_being_served_makes_way_last() {
    let (table, now) = (table(), Instant::now());
    let slots: Vec<_> = (0..4).map(|_| table.admit(peer(1), now).0).collect();
    slots[0].serving();
    slots[1].serving();
    // Who waits anew waits the shortest.
    slots[2].waiting();
    let next: Vec<_> = (0..3)
        .map(|_| table.admit(peer(1), Instant::now()).0)
        .collect();
    assert_eq!(evicted(&slots), [2, 3]);
    assert_eq!(evicted(&next), [0]);
}

#[test]
fn who_may_have_sent_something_makes_way_after_who_sent_nothing() {
    let (table, now) = (table(), Instant::now());
    let slots: Vec<_> = (0..4).map(|_| table.admit(peer(1), now).0).collect();
    for slot in &slots[1..] {
        slot.starved();
    }
    // It was answered, and its server has not looked for the next request yet.
    slots[1].serving();
    slots[1].starved();
    slots[1].waiting();
    let mut next = Vec::new();
    for expected in [vec![2], vec![2, 3], vec![0, 2, 3], vec![0, 1, 2, 3]] {
        let (slot, _) = table.admit(peer(1), Instant::now());
        assert_eq!(evicted(&slots), expected);
        next.push(slot);
    }
}

#[test]
fn a_token_frees_the_share_and_is_not_evicted() {
    let (table, now) = (table(), Instant::now());
    let slots: Vec<_> = (0..4).map(|_| table.admit(peer(1), now).0).collect();
    for slot in &slots {
        slot.authenticated();
        slot.authenticated();
    }
    assert_eq!(table.held(), (4, 0));
    let _strangers: Vec<_> = (0..64).map(|_| table.admit(peer(1), now).0).collect();
    assert!(evicted(&slots).is_empty());
    assert_eq!(table.held(), (4, 4));
}

#[test]
fn of_those_with_a_token_the_one_that_is_idle_for_longest_ends() {
    let (table, now) = (table(), Instant::now());
    let slots: Vec<_> = (0..6).map(|_| table.admit(peer(1), now).0).collect();
    let (slots, last) = (&slots[2..5], &slots[5]);
    let extra = table.admit(peer(2), now).0;
    for slot in slots.iter().chain([&extra]) {
        slot.authenticated();
        slot.serving();
    }
    last.authenticated();
    assert!(!last.is_authenticated(), "everybody is busy");
    slots[1].waiting();
    slots[0].waiting();
    last.authenticated();
    assert!(last.is_authenticated());
    assert_eq!(evicted(slots), [1]);
}

#[test]
fn slow_peers_are_given_up_in_time() {
    let (table, start) = (table(), Instant::now());
    let slots: Vec<_> = (0..4).map(|_| table.admit(peer(1), start).0).collect();
    slots[1].serving();
    slots[2].authenticated();
    slots[3].authenticated();
    slots[3].blocked(true);
    table.sweep(start + LIMITS.stall - Duration::from_millis(1));
    assert!(evicted(&slots).is_empty());
    table.sweep(Instant::now() + LIMITS.stall);
    assert_eq!(evicted(&slots), [3]);
    table.sweep(start + LIMITS.wait);
    assert_eq!(evicted(&slots), [0, 3]);
    table.sweep(start + LIMITS.wait * 100);
    assert_eq!(
        evicted(&slots),
        [0, 3],
        "the server works, or the token is right"
    );
}

#[test]
fn a_network_of_64_bits_is_one_peer() {
    let of = |text: &str| Peer::of(Some(SocketAddr::new(text.parse().unwrap(), 1)));
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

#[test]
fn descriptors_are_kept_back() {
    let wanted = ConnectionLimits {
        authenticated: 512,
        unauthenticated: 512,
        per_peer: 256,
        ..LIMITS
    };
    assert_eq!(wanted.within(65536, DescriptorShare::WHOLE), wanted);
    for descriptors in [0, 16, 64, 256, 1024, 2048] {
        for listeners in [1, 2] {
            let limits = wanted.within(descriptors, DescriptorShare::new(1, listeners));
            let all = (limits.authenticated + limits.unauthenticated) * listeners;
            let kept = RESERVED_DESCRIPTORS.min(descriptors / 2);
            assert!(
                all + kept <= descriptors.max(2 * listeners),
                "{descriptors} {limits:?}"
            );
            assert!(limits.per_peer >= 1 && limits.unauthenticated >= 1);
            assert!(limits.per_peer <= limits.unauthenticated);
        }
    }
}

#[test]
fn few_descriptors_are_for_those_who_have_shown_a_token() {
    let wanted = ConnectionLimits {
        authenticated: 65_536,
        unauthenticated: 4096,
        per_peer: 4096,
        wait: Duration::from_secs(1),
        stall: Duration::from_secs(1),
    };
    let limits = wanted.within(20_000, DescriptorShare::new(3, 4));
    assert!(limits.authenticated > 10_000, "{limits:?}");
    assert_eq!(limits.per_peer, limits.unauthenticated, "one proxy for all");
    assert!(
        limits.authenticated + limits.unauthenticated < 15_000,
        "{limits:?}"
    );
}

proptest::proptest! {
    /// Whatever happens, the counts are those of the slots, and no limit is exceeded.
    #[test]
    fn the_counts_are_those_of_the_slots(
        events in proptest::collection::vec((0..7_u8, 0..4_u8, 0..32_usize), 1..200)
    ) {
        let (table, now) = (table(), Instant::now());
        let mut slots: Vec<Slot> = Vec::new();
        for (event, number, index) in events {
            let index = index.checked_rem(slots.len()).unwrap_or_default();
            match event {
                0 | 1 => slots.push(table.admit(peer(number), now).0),
                2 => { slots.get(index).inspect(|slot| slot.authenticated()); }
                3 => { slots.get(index).inspect(|slot| slot.serving()); }
                4 => { slots.get(index).inspect(|slot| slot.waiting()); }
                5 => { slots.get(index).inspect(|slot| slot.starved()); }
                _ if slots.is_empty() => {}
                _ => { slots.swap_remove(index); }
            }
            let living = || slots.iter().filter(|slot| !slot.is_evicted());
            let authenticated = living().filter(|slot| slot.is_authenticated()).count();
            let held = (authenticated, living().count() - authenticated);
            proptest::prop_assert_eq!(table.held(), held);
            proptest::prop_assert!(held.0 <= LIMITS.authenticated);
            proptest::prop_assert!(held.1 <= LIMITS.unauthenticated);
            let inner = table.table();
            proptest::prop_assert!(inner.peers.values().all(|share| *share <= LIMITS.per_peer));
            proptest::prop_assert_eq!(inner.peers.values().sum::<usize>(), held.1);
            proptest::prop_assert_eq!(inner.dying, slots.len() - held.0 - held.1);
        }
    }
}
