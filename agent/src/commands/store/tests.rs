use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;
use crate::commands::record::MilestoneKind;
use crate::commands::testing::{at, id, record};
use crate::failure::FailureKind;

fn open(state: &tempfile::TempDir) -> (Store, Vec<CommandRecord>) {
    Store::open(state.path(), Some("this boot"), at(100)).unwrap()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn succeeded(number: u8, result: serde_json::Value) -> CommandRecord {
    let mut record = record(number);
    record.end(CommandOutcome::Succeeded(Arc::new(result)), at(9));
    record
}

fn failed(number: u8) -> CommandRecord {
    let mut record = record(number);
    record.deadline = Some(at(60));
    record.note(MilestoneKind::PhaseEnded, "half", at(5));
    record.note(MilestoneKind::Warning, "odd", at(6));
    let failure = Failure {
        kind: FailureKind::BlockDeviceErase,
        details: "hdparm said no".to_owned(),
        program: Some("hdparm".to_owned()),
        exit_status: Some(5),
        stderr_tail: "no\n".to_owned(),
    };
    record.end(CommandOutcome::Failed(failure), at(9));
    record
}

fn files(state: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(state.path().join("commands")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn reason(record: &CommandRecord) -> &str {
    match &record.state {
        CommandState::Ended {
            outcome: CommandOutcome::Failed(failure),
            ..
        } => &failure.details,
        other => panic!("{other:?}"),
    }
}

#[test]
fn finished_records_come_back_as_they_were() {
    let state = directory();
    let (mut store, records) = open(&state);
    assert_eq!(records, []);
    let mut cancelled = record(3);
    cancelled.end(
        CommandOutcome::Cancelled(Failure::execution("enough")),
        at(9),
    );
    let mut mismatch = record(4);
    let failure = Failure::new(FailureKind::VersionMismatch, "versions");
    mismatch.end(CommandOutcome::VersionMismatch(failure), at(9));
    let kept = vec![
        succeeded(1, json!({"clean_result": null, "list": [1, 2.5, "x"]})),
        failed(2),
        cancelled,
        mismatch,
        succeeded(5, json!(null)),
    ];
    for (index, record) in kept.iter().enumerate() {
        store.keep(Some(index), record).unwrap();
    }
    assert_eq!(open(&state).1, kept);
    // And once more: reading changes nothing.
    assert_eq!(open(&state).1, kept);
}

#[test]
fn what_was_running_has_failed_and_new_records_follow() {
    let state = directory();
    let (mut store, _) = open(&state);
    store.keep(Some(0), &succeeded(1, json!(null))).unwrap();
    store.keep(Some(1), &record(2)).unwrap();
    let (mut store, records) = open(&state);
    assert_eq!(records.len(), 2);
    assert_eq!(reason(&records[1]), INTERRUPTED);
    assert_eq!(records[1].last_sequence(), 2);
    store.keep(Some(2), &succeeded(3, json!(null))).unwrap();
    let (_, again) = open(&state);
    assert_eq!(again[..2], records);
    assert_eq!(again[2].id, id(3));
}

#[test]
fn an_immediate_command_is_kept_aside_until_it_ends() {
    let state = directory();
    let (mut store, _) = open(&state);
    let mut immediate = record(1);
    immediate.name = "standby.sync".to_owned();
    immediate.background = false;

    store.keep(None, &immediate).unwrap();
    assert_eq!(files(&state).len(), 2, "boot and the one that runs");
    store.forget();
    assert_eq!(files(&state), ["boot"]);

    store.keep(None, &immediate).unwrap();
    let mut ended = immediate.clone();
    ended.end(CommandOutcome::Succeeded(Arc::new(json!(null))), at(9));
    store.keep(Some(0), &ended).unwrap();
    assert_eq!(
        files(&state),
        [
            "000000.standby.sync.00000000-0000-4000-8000-000000000001.json",
            "boot"
        ]
    );

    // Killed just before its first file was removed.
    let running = state.path().join("commands").join(running_file(&immediate));
    fs::write(&running, record_file::write(&immediate).unwrap()).unwrap();
    assert_eq!(open(&state).1, [ended]);
    assert!(!running.exists());

    // Killed while the next one runs: it is listed as failed, last in the list.
    let mut second = immediate.clone();
    second.id = id(2);
    store.keep(None, &second).unwrap();
    for _ in 0..2 {
        let (_, records) = open(&state);
        assert_eq!(records.len(), 2);
        assert_eq!(reason(&records[1]), INTERRUPTED);
        assert!(!files(&state).iter().any(|name| name.starts_with("running")));
    }
}

#[test]
fn damage_costs_one_record_its_content_and_nothing_else() {
    let state = directory();
    let (mut store, _) = open(&state);
    for number in 1..=4 {
        let record = succeeded(number, json!({ "number": number }));
        store.keep(Some(usize::from(number) - 1), &record).unwrap();
    }
    let names = files(&state);
    let path = |index: usize| state.path().join("commands").join(&names[index]);
    let whole = fs::read(path(1)).unwrap();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(path(1), &whole[..cut]).unwrap();
        fs::write(path(2), "{}").unwrap();
        let (_, records) = open(&state);
        let ids: Vec<CommandId> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids, [id(1), id(2), id(3), id(4)]);
        for record in &records[1..3] {
            assert!(reason(record).contains("is damaged"), "{record:?}");
            assert_eq!(record.name, "clean.execute_clean_step");
            assert!(record.background);
        }
        assert!(matches!(
            &records[3].state,
            CommandState::Ended { outcome: CommandOutcome::Succeeded(result), .. } if result["number"] == 4
        ));
        assert_eq!(
            fs::read(path(1)).unwrap(),
            &whole[..cut],
            "left for a person"
        );
    }
    // A file of another command under this name is not a record of this one.
    fs::copy(path(0), path(1)).unwrap();
    assert!(reason(&open(&state).1[1]).contains("another command"));
}

#[test]
fn gaps_and_strange_files_do_no_harm() {
    let state = directory();
    let (mut store, _) = open(&state);
    for number in 1..=3 {
        let record = succeeded(number, json!(null));
        store.keep(Some(usize::from(number) - 1), &record).unwrap();
    }
    let commands = state.path().join("commands");
    fs::remove_file(commands.join(&files(&state)[1])).unwrap();
    fs::write(commands.join("000009.cut.part"), "{").unwrap();
    fs::write(commands.join("notes.txt"), "mine").unwrap();
    let (mut store, records) = open(&state);
    assert_eq!(records.len(), 2);
    store.keep(Some(2), &succeeded(4, json!(null))).unwrap();
    let ids: Vec<CommandId> = open(&state).1.iter().map(|record| record.id).collect();
    assert_eq!(ids, [id(1), id(3), id(4)]);
    assert!(!commands.join("000009.cut.part").exists());
    assert!(commands.join("notes.txt").exists());
}

#[test]
fn large_results_are_kept_short() {
    let state = directory();
    let (mut store, _) = open(&state);
    let logs = "x".repeat(4 << 20);
    store
        .keep(Some(0), &succeeded(1, json!({ "system_logs": logs })))
        .unwrap();
    let size = fs::metadata(state.path().join("commands").join(&files(&state)[0]))
        .unwrap()
        .len();
    assert!(size < 4096, "{size}");
    let (_, records) = open(&state);
    assert!(matches!(
        &records[0].state,
        CommandState::Ended { outcome: CommandOutcome::Succeeded(result), .. }
            if result["system_logs"] == "<4194304 bytes, not kept>"
    ));
}

#[test]
fn another_boot_starts_with_an_empty_list() {
    let state = directory();
    let (mut store, _) = open(&state);
    store.keep(Some(0), &succeeded(1, json!(null))).unwrap();
    let (_, records) = Store::open(state.path(), Some("next boot"), at(100)).unwrap();
    assert_eq!(records, []);
    assert_eq!(files(&state), ["boot"]);
    assert_eq!(open(&state).1, [], "they do not come back");
}

#[test]
fn only_the_owner_may_read() {
    let state = directory();
    let (mut store, _) = open(&state);
    store.keep(Some(0), &succeeded(1, json!(null))).unwrap();
    let commands = state.path().join("commands");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&commands), 0o700);
    for name in files(&state) {
        assert_eq!(mode(&commands.join(name)), 0o600);
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let state = directory();
    let file = state.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file, None, at(0)).unwrap_err();
    assert!(error.to_string().contains("file/commands"), "{error}");
}

/// Makes writing these files fail, as on a full or read-only file system: what is written
/// beside the place finds a directory there.
fn block(state: &tempfile::TempDir, files: &[String]) {
    for file in files {
        let part = state.path().join(format!("commands/{file}.part"));
        fs::create_dir_all(part.join("full")).unwrap();
    }
}

fn unblock(state: &tempfile::TempDir, files: &[String]) {
    for file in files {
        let part = state.path().join(format!("commands/{file}.part"));
        fs::remove_dir_all(part).unwrap();
    }
}

#[test]
fn what_can_be_read_is_kept_when_nothing_can_be_written() {
    let state = directory();
    let (mut store, _) = open(&state);
    let kept = [succeeded(1, json!({"a": 1})), failed(2)];
    for (index, record) in kept.iter().enumerate() {
        store.keep(Some(index), record).unwrap();
    }
    store.keep(Some(2), &record(3)).unwrap();
    let mut immediate = record(4);
    immediate.name = "standby.sync".to_owned();
    immediate.background = false;
    store.keep(None, &immediate).unwrap();
    let running = files(&state).last().unwrap().clone();
    assert!(running.starts_with("running."), "{running}");
    let mut blocked = files(&state);
    blocked.push(numbered_file(3, &immediate.name, immediate.id));
    block(&state, &blocked);

    // However often the agent is started meanwhile.
    for _ in 0..2 {
        let (mut store, records) = open(&state);
        assert_eq!(records[..2], kept);
        let ids: Vec<_> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids, [1, 2, 3, 4].map(id));
        assert_eq!(reason(&records[2]), INTERRUPTED);
        assert_eq!(reason(&records[3]), INTERRUPTED);
        assert!(store.keep(Some(0), &kept[0]).is_err());
        assert!(
            files(&state).contains(&running),
            "it has no other place yet"
        );
    }

    unblock(&state, &blocked);
    let (_, records) = open(&state);
    assert_eq!(records[..2], kept);
    assert_eq!(records.len(), 4);
    assert!(!files(&state).contains(&running));
    assert_eq!(open(&state).1, records);
}

#[test]
fn records_that_were_kept_once_there_was_room_are_of_this_boot() {
    let state = directory();
    let boot = ["boot".to_owned()];
    block(&state, &boot);
    let (mut store, records) = open(&state);
    assert_eq!(records, []);
    assert!(store.keep(Some(0), &failed(1)).is_err(), "still full");
    unblock(&state, &boot);
    store.keep(Some(0), &failed(1)).unwrap();
    assert_eq!(open(&state).1, [failed(1)]);
}

#[test]
fn records_whose_boot_cannot_be_read_are_kept() {
    let state = directory();
    let (mut store, _) = open(&state);
    store.keep(Some(0), &failed(1)).unwrap();
    let stamp = state.path().join("commands/boot");
    fs::remove_file(&stamp).unwrap();
    // Not a text: what a damaged file system makes of it.
    fs::write(&stamp, [0xff, 0xfe]).unwrap();
    assert_eq!(open(&state).1, [failed(1)]);
}
