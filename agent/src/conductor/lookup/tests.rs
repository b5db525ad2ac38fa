use ironic_program::CommonSettings;
use ironic_text::Secret;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::json;

use super::*;
use crate::conductor::Deferral;
use crate::conductor::fake::{Event, FakeConductor};
use crate::config::AgentConfig;
use crate::system::PathPrefix;

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789a";

fn found(token: &str) -> LookupOutcome {
    let node = json!({"uuid": "U", "properties": {}, "instance_info": {}});
    LookupOutcome::Found(Box::new(FoundNode {
        node: Node(node.as_object().unwrap().clone()),
        timeout: Timeout::from_secs(300.0).unwrap(),
        agent_token: Secret::new(token),
        is_ironics: true,
        overrides: SessionOverrides {
            agent_md5_checksum_enable: Some(true),
            ..SessionOverrides::default()
        },
    }))
}

fn retry() -> LookupOutcome {
    LookupOutcome::Retry {
        conflict: false,
        error: ConductorError::Said("404".into()),
    }
}

fn conflict() -> LookupOutcome {
    LookupOutcome::Retry {
        conflict: true,
        error: ConductorError::Said("409".into()),
    }
}

fn deferred(seconds: u64) -> LookupOutcome {
    LookupOutcome::Deferred(Deferral {
        retry_after: Duration::from_secs(seconds),
        reason: "busy".into(),
    })
}

struct Bench {
    conductor: FakeConductor,
    config: config::Shared,
    lookups: Lookups,
    state: tempfile::TempDir,
}

fn bench(config: AgentConfig, answers: impl IntoIterator<Item = LookupOutcome>) -> Bench {
    let state = tempfile::tempdir().unwrap();
    let conductor = FakeConductor::answering(answers);
    let config = config::Shared::new(config);
    let memory = TokenMemory::new(state.path(), &PathPrefix::new(state.path()));
    let lookups = Lookups::new(Arc::new(conductor.clone()), config.clone(), memory);
    Bench {
        conductor,
        config,
        lookups,
        state,
    }
}

impl Bench {
    async fn run(&self) -> Result<LookupSession, LookupError> {
        self.lookups
            .run(&LookupRequest::default(), &mut SmallRng::seed_from_u64(1))
            .await
    }

    /// Seconds between the attempts.
    fn gaps(&self) -> Vec<f64> {
        let events = self.conductor.events();
        let gap = |pair: &[(Duration, Event)]| (pair[1].0 - pair[0].0).as_secs_f64();
        events.windows(2).map(gap).collect()
    }
}

#[test]
fn waits_grow_from_exactly_one_second() {
    let mut jitter = SmallRng::seed_from_u64(3);
    for _ in 0..1000 {
        let mut schedule = LookupSchedule::new(Duration::from_secs(600), Duration::from_secs(1));
        for ceiling in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] {
            let wait = schedule
                .failed(Duration::ZERO, &mut jitter)
                .unwrap()
                .as_secs_f64();
            assert!((1.0..=ceiling).contains(&wait), "{wait} of {ceiling}");
        }
    }
    // An interval above the ceiling is the wait.
    let mut schedule = LookupSchedule::new(Duration::from_secs(600), Duration::from_secs(90));
    assert_eq!(
        schedule.failed(Duration::ZERO, &mut jitter),
        Some(Duration::from_secs(90))
    );
    let mut schedule = LookupSchedule::new(Duration::from_secs(600), Duration::ZERO);
    assert!(schedule.failed(Duration::ZERO, &mut jitter).unwrap() < Duration::from_secs(1));
    assert_eq!(schedule.failed(Duration::from_secs(600), &mut jitter), None);
}

/// Contract row 80.
#[tokio::test(start_paused = true)]
async fn the_second_attempt_is_one_second_later() {
    let bench = bench(AgentConfig::default(), [retry(), found(TOKEN)]);
    let session = bench.run().await.unwrap();
    assert_eq!(
        (session.node().uuid(), session.timeout().get().as_secs()),
        ("U", 300)
    );
    assert_eq!(bench.gaps(), [1.0]);
}

/// Contract row 81.
#[tokio::test(start_paused = true)]
async fn conflicts_cost_extra_pauses_that_never_start_over() {
    let config = AgentConfig {
        lookup_interval: Duration::from_secs(1),
        ..AgentConfig::default()
    };
    let bench = bench(
        config,
        [
            conflict(),
            conflict(),
            retry(),
            conflict(),
            conflict(),
            found(TOKEN),
            conflict(),
            found(TOKEN),
        ],
    );
    bench.run().await.unwrap();
    let extra = [5.0, 10.0, 0.0, 30.0, 30.0];
    for (index, (gap, extra)) in bench.gaps().into_iter().zip(extra).enumerate() {
        let ceiling = 2_f64.powi(i32::try_from(index).unwrap());
        assert!(
            (extra + 1.0..=extra + ceiling + 0.01).contains(&gap),
            "{index}: {gap}"
        );
    }
    let before = bench.conductor.events().last().unwrap().0;
    bench
        .lookups
        .refresh(&LookupRequest::default(), &mut SmallRng::seed_from_u64(1))
        .await
        .unwrap();
    let after = bench.conductor.events().last().unwrap().0;
    assert_eq!((after - before).as_secs(), 31, "the refresh counts on");
}

/// Contract row 83.
#[tokio::test(start_paused = true)]
async fn the_lookup_timeout_ends_the_lookup() {
    let config = AgentConfig {
        lookup_timeout: Duration::from_secs(20),
        ..AgentConfig::default()
    };
    let bench = bench(config, [retry()]);
    let start = Instant::now();
    let error = bench.run().await.unwrap_err();
    assert!(start.elapsed().as_secs() >= 20);
    let text = ironic_text::error_chain(&error);
    assert!(
        text.contains("lookup_timeout = 20 s") && text.contains("404"),
        "{text}"
    );
}

/// A hall that is powered on at once: the conductor has taken note of each machine, and none of
/// them gives up.
#[tokio::test(start_paused = true)]
async fn a_deferral_is_no_failure_and_takes_no_time_of_the_lookup() {
    let config = AgentConfig {
        lookup_timeout: Duration::from_secs(20),
        ..AgentConfig::default()
    };
    let waits = [0, 30, 100_000, 15];
    let answers = waits.map(deferred).into_iter();
    let bench = bench(config, answers.chain([retry(), found(TOKEN)]));
    bench.run().await.unwrap();
    let gaps = bench.gaps();
    for (gap, least) in gaps.iter().zip([1.0, 30.0, 300.0, 15.0]) {
        assert!((least..=least * 1.2 + 0.01).contains(gap), "{gaps:?}");
    }
    assert_eq!(gaps[4], 1.0, "the first attempt that failed");
}

#[tokio::test(start_paused = true)]
async fn a_session_takes_over_token_and_configuration() {
    let bench = bench(AgentConfig::default(), [found(TOKEN)]);
    let session = bench.run().await.unwrap();
    let config = bench.config.current();
    assert_eq!(config.common.agent_token, Some(Secret::new(TOKEN)));
    assert!(config.md5_enabled);
    let hello = session.hello(&bench.config);
    assert_eq!(
        (hello.node_uuid.as_str(), hello.agent_token),
        ("U", Some(Secret::new(TOKEN)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_goes_on_with_its_token() {
    let first = bench(AgentConfig::default(), [found(TOKEN)]);
    first.run().await.unwrap();

    let second = bench(AgentConfig::default(), [found("******")]);
    let memory = TokenMemory::new(first.state.path(), &PathPrefix::new(first.state.path()));
    let lookups = Lookups {
        memory,
        ..second.lookups.clone()
    };
    lookups
        .run(&LookupRequest::default(), &mut SmallRng::seed_from_u64(1))
        .await
        .unwrap();
    assert_eq!(
        second.config.current().common.agent_token,
        Some(Secret::new(TOKEN))
    );

    let stranger = bench(AgentConfig::default(), [found("******")]);
    assert_eq!(
        stranger.run().await,
        Err(LookupError::TokenTaken {
            node_uuid: "U".into()
        })
    );
    assert!(!stranger.config.current().md5_enabled, "nothing is applied");
}

#[tokio::test(start_paused = true)]
async fn a_configured_token_is_kept_when_lookup_masks_it() {
    let config = AgentConfig {
        common: CommonSettings {
            agent_token: Some(Secret::new("K")),
            ..CommonSettings::default()
        },
        ..AgentConfig::default()
    };
    let bench = bench(config, [found("******")]);
    bench.run().await.unwrap();
    assert_eq!(
        bench.config.current().common.agent_token,
        Some(Secret::new("K"))
    );
}

#[tokio::test(start_paused = true)]
async fn refresh_can_be_switched_off() {
    let config = AgentConfig {
        lookup_interval: Duration::ZERO,
        ..AgentConfig::default()
    };
    let bench = bench(config, [found(TOKEN)]);
    let mut jitter = SmallRng::seed_from_u64(1);
    assert_eq!(
        bench
            .lookups
            .refresh(&LookupRequest::default(), &mut jitter)
            .await,
        None
    );
    assert!(bench.conductor.events().is_empty());
}
