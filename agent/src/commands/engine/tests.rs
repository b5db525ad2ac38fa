use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::commands::record::CommandOutcome;
use crate::commands::record::CommandState;
use crate::commands::testing::{Script, background, context, id, immediate, request};
use crate::commands::verbs::{Command, VerbFuture};
use crate::config::AgentConfig;
use crate::failure::Failure;
use crate::failure::FailureKind;
use crate::task::Task;

/// An engine at work, and the directory of its records.
fn engine() -> (Engine, tempfile::TempDir) {
    let state = tempfile::tempdir().unwrap();
    (engine_in(state.path()), state)
}

fn engine_in(state: &Path) -> Engine {
    let (engine, task) = Engine::new(context(AgentConfig::default()), Arc::new(Script), state);
    tokio::spawn(task.run());
    engine
}

fn outcome(record: &CommandRecord) -> &CommandOutcome {
    match &record.state {
        CommandState::Ended { outcome, .. } => outcome,
        CommandState::Running => panic!("{record:?}"),
    }
}

fn answer(record: &CommandRecord) -> &Value {
    match outcome(record) {
        CommandOutcome::Succeeded(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn details(record: &CommandRecord) -> (&'static str, FailureKind, &str) {
    let failure = outcome(record).failure().unwrap();
    (outcome(record).word(), failure.kind, &failure.details)
}

fn with_id(number: u8, order: CommandRequest) -> CommandRequest {
    CommandRequest {
        id: Some(id(number)),
        ..order
    }
}

fn limited(order: CommandRequest, seconds: u64) -> CommandRequest {
    CommandRequest {
        deadline: Some(Duration::from_secs(seconds)),
        ..order
    }
}

/// Sends a request; its answer may come later.
fn begin(
    engine: &Engine,
    order: CommandRequest,
) -> JoinHandle<Result<Arc<CommandRecord>, Refusal>> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.execute(order).await })
}

async fn run(engine: &Engine, order: CommandRequest) -> Arc<CommandRecord> {
    let record = engine.execute(order).await.unwrap();
    engine.wait(record.id).await.unwrap()
}

fn texts(record: &CommandRecord) -> Vec<&str> {
    let milestones = record.milestones.iter();
    milestones
        .map(|milestone| milestone.text.as_str())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_background_command_is_answered_while_it_runs() {
    let (engine, _state) = engine();
    let start = Instant::now();
    let order = background(json!({"do": "work", "phases": 3}));
    let record = engine.execute(order).await.unwrap();
    assert!(!record.has_ended() && record.background);
    assert_eq!(record.name, "clean.execute_clean_step");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(engine.list().await.unwrap(), [Arc::clone(&record)]);
    assert_eq!(engine.status().running.unwrap().id, record.id);

    let refusal = engine.execute(immediate(json!({}))).await.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Agent is busy: executing command execute_clean_step"
    );
    let ended = engine.wait(record.id).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(*answer(&ended), Value::Null);
    assert_eq!(
        texts(&ended),
        ["Admitted.", "phase 1", "phase 2", "phase 3", "Succeeded."]
    );
    assert!(engine.status().running.is_none());
    assert_eq!(engine.list().await.unwrap(), [ended]);
}

#[tokio::test(start_paused = true)]
async fn an_immediate_command_is_listed_when_it_has_ended() {
    let (engine, _state) = engine();
    let start = Instant::now();
    let first = tokio::spawn({
        let engine = engine.clone();
        async move {
            let order = immediate(json!({"do": "sleep", "seconds": 5}));
            engine.execute(order).await
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(engine.list().await.unwrap(), []);
    let running = engine.status().running.unwrap();
    assert_eq!(running.name, "clean.get_clean_steps");
    assert!(!engine.get(running.id).await.unwrap().has_ended());

    // The next one waits for its turn and is not refused.
    let second = run(
        &engine,
        immediate(json!({"do": "answer", "value": "hello"})),
    )
    .await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(*answer(&second), json!({"result": "hello"}));
    let first = first.await.unwrap().unwrap();
    assert_eq!(engine.list().await.unwrap(), [first, second]);
}

#[tokio::test(start_paused = true)]
async fn text_of_a_background_command_names_it() {
    let (engine, _state) = engine();
    let record = run(
        &engine,
        background(json!({"do": "answer", "value": "done"})),
    )
    .await;
    assert_eq!(
        *answer(&record),
        json!({"result": "execute_clean_step: done"})
    );
}

#[tokio::test(start_paused = true)]
async fn failures_end_where_ironic_expects_them() {
    let (engine, _state) = engine();
    let fail = |kind: &str| json!({"do": "fail", "kind": kind});
    let mut expected = 0;
    for (order, word, kind) in [
        (
            background(fail("ImageDownloadError")),
            "FAILED",
            FailureKind::ImageDownload,
        ),
        (
            background(fail("VersionMismatch")),
            "VERSION_MISMATCH",
            FailureKind::VersionMismatch,
        ),
        (
            background(fail("InvalidCommandParamsError")),
            "FAILED",
            FailureKind::InvalidCommandParams,
        ),
        (
            immediate(fail("ClockSyncError")),
            "FAILED",
            FailureKind::ClockSync,
        ),
    ] {
        let record = run(&engine, order).await;
        assert_eq!(details(&record), (word, kind, "as the script says"));
        expected += 1;
        assert_eq!(engine.list().await.unwrap().len(), expected);
    }
    for kind in ["InvalidCommandParamsError", "InvalidCommandError"] {
        let refusal = engine.execute(immediate(fail(kind))).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Failure(failure) if failure.kind.name() == kind));
        assert_eq!(engine.list().await.unwrap().len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_calls_are_recorded() {
    let (engine, _state) = engine();
    let missing = request("clean.execute_clean_step", json!({"node": {}}));
    let unexpected = request("clean.get_clean_steps", json!({"node": {}, "x": 1}));
    let records = [run(&engine, missing).await, run(&engine, unexpected).await];
    assert_eq!(
        records.each_ref().map(|record| details(record).2),
        [
            "CleanExtension.execute_clean_step() missing 1 required positional argument: 'step'",
            "CleanExtension.get_clean_steps() got an unexpected keyword argument 'x'"
        ]
    );
    assert_eq!(engine.list().await.unwrap(), records);
}

#[tokio::test(start_paused = true)]
async fn a_defect_of_a_verb_ends_one_command() {
    let (engine, _state) = engine();
    let record = run(&engine, background(json!({"do": "panic"}))).await;
    let (word, kind, text) = details(&record);
    assert_eq!((word, kind), ("FAILED", FailureKind::CommandExecution));
    assert!(text.contains("defect"), "{text}");
    run(&engine, background(json!({}))).await;
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_refused_before_it_starts_and_after_being_busy() {
    let (engine, _state) = engine();
    let wrong = || {
        let flow = json!([
            {"standby.sync": {}},
            {"standby.prepare_image": {"image_info": {}}},
        ]);
        request("flow.start_flow", json!({ "flow": flow }))
    };
    for refusal in [
        engine.execute(wrong()).await.unwrap_err(),
        engine.plan(&wrong()).await.unwrap_err(),
    ] {
        let text = "Invalid command parameters: Image is missing 'id' field.";
        assert_eq!(refusal.to_string(), text);
    }
    assert_eq!(engine.list().await.unwrap(), []);
    engine
        .execute(background(json!({"do": "sleep", "seconds": 5})))
        .await
        .unwrap();
    assert!(matches!(
        engine.execute(wrong()).await,
        Err(Refusal::Busy { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_service_is_announced_after_the_answer() {
    let rescue = |password: &str| {
        let arguments = json!({"rescue_password": password, "hashed": true});
        request("rescue.finalize_rescue", arguments)
    };
    for (order, expected) in [
        (rescue("$5$x"), ShutdownReason::Rescued),
        (
            request("system.lockdown", json!({})),
            ShutdownReason::LockedDown,
        ),
    ] {
        let (engine, _state) = engine();
        let mut shutdown = engine.shutdown();
        run(&engine, immediate(json!({}))).await;
        run(&engine, background(json!({}))).await;
        assert_eq!(*shutdown.borrow(), None);
        let record = engine.execute(order).await.unwrap();
        assert_eq!(*answer(&record), Value::Null);
        shutdown.changed().await.unwrap();
        assert_eq!(*shutdown.borrow(), Some(expected));
    }
    assert_ne!(rescue("a").fingerprint, rescue("b").fingerprint);
    assert!(!format!("{:?}", rescue("hunter2")).contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_repetition_answers_the_command_that_exists() {
    let (engine, _state) = engine();
    let order = || with_id(1, background(json!({"do": "work", "phases": 2})));
    let first = engine.execute(order()).await.unwrap();
    let again = engine.execute(order()).await.unwrap();
    assert_eq!((again.id, again.has_ended()), (first.id, false));
    let ended = engine.wait(first.id).await.unwrap();
    assert_eq!(engine.execute(order()).await.unwrap(), ended);
    assert_eq!(engine.list().await.unwrap().len(), 1);
    let other = with_id(1, background(json!({"do": "work", "phases": 3})));
    assert_eq!(engine.execute(other).await, Err(Refusal::IdReused(id(1))));
}

#[tokio::test(start_paused = true)]
async fn a_command_is_cancelled_and_says_by_whom() {
    let (engine, _state) = engine();
    let order = background(json!({"do": "work", "phases": 100}));
    let record = engine.execute(order).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    let noted = engine
        .cancel(record.id, "operator".to_owned())
        .await
        .unwrap();
    assert!(!noted.has_ended());
    let start = Instant::now();
    let ended = engine.wait(record.id).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        details(&ended),
        (
            "CANCELLED",
            FailureKind::CommandExecution,
            "The command was cancelled: operator"
        )
    );
    // Once more changes nothing, and one that never was cannot be cancelled.
    let again = engine.cancel(record.id, "again".to_owned()).await.unwrap();
    assert_eq!(again, ended);
    assert!(matches!(
        engine.cancel(id(9), String::new()).await,
        Err(Refusal::NotFound(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_verb_that_ends_well_in_spite_of_a_cancellation_has_ended_well() {
    let (engine, _state) = engine();
    let order = background(json!({"do": "sleep", "seconds": 10}));
    let record = engine.execute(order).await.unwrap();
    engine
        .cancel(record.id, "too late".to_owned())
        .await
        .unwrap();
    let ended = engine.wait(record.id).await.unwrap();
    assert_eq!(*answer(&ended), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_cancels_what_runs_and_what_waits() {
    let (engine, _state) = engine();
    let order = limited(background(json!({"do": "work", "phases": 100})), 30);
    let start = Instant::now();
    let record = engine.execute(order).await.unwrap();
    assert!(record.deadline.is_some());
    let ended = engine.wait(record.id).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert_eq!(
        details(&ended).2,
        "The command was cancelled: its deadline of 30 s has passed"
    );

    // Behind an immediate command: it never starts.
    let first = tokio::spawn({
        let engine = engine.clone();
        let order = immediate(json!({"do": "sleep", "seconds": 60}));
        async move { engine.execute(order).await }
    });
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    let waiting = limited(background(json!({"do": "panic"})), 5);
    let ended = engine.execute(waiting).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(outcome(&ended).word(), "CANCELLED");
    first.await.unwrap().unwrap();
    assert_eq!(engine.list().await.unwrap().len(), 3);

    // A repetition cannot shorten the life of what it repeats.
    let order = || with_id(7, background(json!({"do": "work", "phases": 9})));
    engine.execute(order()).await.unwrap();
    let again = engine.execute(limited(order(), 1)).await.unwrap();
    assert_eq!(again.deadline, None);
    assert_eq!(
        outcome(&engine.wait(id(7)).await.unwrap()).word(),
        "SUCCEEDED"
    );

    // One that is done in time is left alone.
    let order = limited(background(json!({"do": "work", "phases": 2})), 3);
    let ended = run(&engine, order).await;
    assert_eq!(outcome(&ended).word(), "SUCCEEDED");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(engine.get(ended.id).await.unwrap(), ended);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_refused_command_ends_with_it() {
    let (engine, _state) = engine();
    let order = immediate(json!({"do": "sleep", "seconds": 10}));
    let first = begin(&engine, order);
    sleep(Duration::from_secs(1)).await;
    let order = background(json!({"do": "work", "phases": 5}));
    let second = begin(&engine, order);
    sleep(Duration::from_secs(1)).await;
    // It waits behind both, and is refused when the second one has its turn.
    let behind = with_id(7, background(json!({"do": "work", "phases": 40})));
    let refusal = engine.execute(limited(behind.clone(), 30)).await;
    assert!(matches!(refusal, Err(Refusal::Busy { .. })), "{refusal:?}");
    first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    engine.wait(second.id).await.unwrap();
    let ended = run(&engine, behind).await;
    assert_eq!(outcome(&ended).word(), "SUCCEEDED");

    // An immediate one that refuses its arguments was running.
    let refusing = immediate(json!({"do": "fail", "kind": "InvalidCommandError"}));
    let refusal = engine.execute(limited(with_id(8, refusing), 30)).await;
    assert!(matches!(refusal, Err(Refusal::Failure(_))), "{refusal:?}");
    let again = with_id(8, immediate(json!({"do": "work", "phases": 40})));
    let ended = run(&engine, again).await;
    assert_eq!(outcome(&ended).word(), "SUCCEEDED");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_stops_nothing() {
    let (engine, _state) = engine();
    for order in [
        with_id(1, immediate(json!({"do": "work", "phases": 5}))),
        with_id(2, background(json!({"do": "work", "phases": 5}))),
    ] {
        let id = order.id.unwrap();
        let limit = Duration::from_millis(100);
        // The immediate one is not answered in time, the other is not waited for.
        let _ = timeout(limit, engine.execute(order)).await;
        assert!(timeout(limit, engine.wait(id)).await.is_err());
        let ended = engine.wait(id).await.unwrap();
        assert_eq!(outcome(&ended).word(), "SUCCEEDED");
    }
}

#[tokio::test(start_paused = true)]
async fn every_background_end_asks_for_a_heartbeat_and_no_other() {
    let (engine, _state) = engine();
    let finished = engine.finished();
    let asked = || timeout(Duration::from_secs(1), finished.notified());
    run(&engine, immediate(json!({}))).await;
    let refused = immediate(json!({"do": "fail", "kind": "InvalidCommandError"}));
    engine.execute(refused).await.unwrap_err();
    assert!(asked().await.is_err());
    for script in [
        json!({}),
        json!({"do": "fail"}),
        json!({"do": "fail", "kind": "VersionMismatch"}),
        json!({"do": "panic"}),
    ] {
        run(&engine, background(script)).await;
        // Asked for before anybody listened: kept.
        assert!(asked().await.is_ok());
        assert!(asked().await.is_err(), "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_is_followed_from_any_milestone() {
    let (engine, _state) = engine();
    let order = background(json!({"do": "work", "phases": 3}));
    let record = engine.execute(order).await.unwrap();
    let mut watching = engine.watch(record.id).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let record = watching.record.borrow_and_update().clone();
        seen.push(record.last_sequence());
        if record.has_ended() {
            break;
        }
        watching.record.changed().await.unwrap();
    }
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&5));
    let latest = watching.progress.borrow().clone().unwrap();
    assert_eq!((latest.done, latest.total), (3, Some(3)));
    // Afterwards the record is all there is.
    let late = engine.watch(record.id).await.unwrap();
    assert!(late.record.borrow().has_ended());
    assert_eq!(engine.progress(record.id), None);
}

#[tokio::test(start_paused = true)]
async fn progress_of_what_runs_is_seen() {
    let (engine, _state) = engine();
    let order = background(json!({"do": "work", "phases": 5}));
    let record = engine.execute(order).await.unwrap();
    assert_eq!(engine.progress(record.id), None);
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(engine.progress(record.id).unwrap().done, 2);
    assert_eq!(engine.progress(id(9)), None);
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_results_and_fails_what_was_running() {
    let state = tempfile::tempdir().unwrap();
    let before = engine_in(state.path());
    let first = with_id(1, background(json!({"do": "answer", "value": {"a": 1}})));
    let done = run(&before, first.clone()).await;
    run(&before, immediate(json!({"do": "answer", "value": 5}))).await;
    let running = with_id(2, background(json!({"do": "work", "phases": 100})));
    before.execute(running.clone()).await.unwrap();
    sleep(Duration::from_millis(1500)).await;

    // What a killed agent leaves is what is on the disk now.
    let after = engine_in(state.path());
    let list = after.list().await.unwrap();
    assert_eq!(list.len(), 3);
    assert_eq!(answer(&list[0]), answer(&done));
    assert_eq!(*answer(&list[1]), json!(5));
    let (word, kind, text) = details(&list[2]);
    assert_eq!((word, kind), ("FAILED", FailureKind::CommandExecution));
    assert!(text.contains("restarted"), "{text}");
    // Its milestones are there too, and numbered on.
    assert_eq!(texts(&list[2])[..2], ["Admitted.", "phase 1"]);
    assert_eq!(list[2].last_sequence(), 3);
    // A repetition is still one, and the identifier of another order is still taken.
    assert_eq!(after.execute(first).await.unwrap().id, id(1));
    assert_eq!(after.execute(running).await.unwrap(), list[2]);
    let other = with_id(1, background(json!({})));
    assert_eq!(after.execute(other).await, Err(Refusal::IdReused(id(1))));
    assert!(after.status().running.is_none());
    run(&after, background(json!({}))).await;
    assert_eq!(after.list().await.unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn without_a_state_directory_the_engine_works_from_memory() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    std::fs::write(&file, "").unwrap();
    let engine = engine_in(&file);
    run(&engine, background(json!({}))).await;
    assert_eq!(engine.list().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_once_a_command_has_ended_the_service() {
    let (engine, _state) = engine();
    let mut shutdown = engine.shutdown();
    let order = immediate(json!({"do": "sleep", "seconds": 5}));
    let first = begin(&engine, order);
    sleep(Duration::from_secs(1)).await;
    let last = begin(&engine, request("system.lockdown", json!({})));
    sleep(Duration::from_secs(1)).await;
    let order = background(json!({"do": "work", "phases": 5}));
    let behind = begin(&engine, order);
    let first = first.await.unwrap().unwrap();
    let last = last.await.unwrap().unwrap();
    assert_eq!(behind.await.unwrap(), Err(Refusal::ShuttingDown));
    shutdown.wait_for(Option::is_some).await.unwrap();
    assert!(engine.status().running.is_none());
    let later = engine.execute(immediate(json!({}))).await;
    assert_eq!(later, Err(Refusal::ShuttingDown));
    // What has ended is still answered.
    assert_eq!(engine.wait(last.id).await.unwrap(), last);
    assert_eq!(engine.list().await.unwrap(), [first, last]);
}

#[tokio::test(start_paused = true)]
async fn warnings_before_a_cancellation_are_kept() {
    #[derive(Debug)]
    struct Stubborn;
    impl Perform for Stubborn {
        fn perform<'a>(
            &'a self,
            _: &'a CommandContext,
            task: &'a Task,
            _: Command,
        ) -> VerbFuture<'a, Value> {
            Box::pin(async move {
                task.cancelled().await;
                task.warn("the disk has no partition table now");
                Err(Failure::new(
                    FailureKind::ImageWrite,
                    "stopped in the middle",
                ))
            })
        }
    }
    let state = tempfile::tempdir().unwrap();
    let (engine, task) = Engine::new(
        context(AgentConfig::default()),
        Arc::new(Stubborn),
        state.path(),
    );
    tokio::spawn(task.run());
    let record = engine.execute(background(json!({}))).await.unwrap();
    engine
        .cancel(record.id, "operator".to_owned())
        .await
        .unwrap();
    let ended = engine.wait(record.id).await.unwrap();
    assert_eq!(
        texts(&ended)[1..3],
        [
            "the disk has no partition table now",
            "Error writing image to device: stopped in the middle"
        ]
    );
    assert_eq!(outcome(&ended).word(), "CANCELLED");
}
