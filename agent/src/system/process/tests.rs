//! Programs that are really run.

use std::time::Duration;

use rustix::process::Signal;

use super::*;

#[tokio::test]
async fn a_missing_program_is_not_a_failed_one() {
    let missing = Programs
        .run(Cmd::new("no-such-program-at-all"))
        .await
        .unwrap_err();
    assert!(matches!(
        missing,
        RunError::Missing { program } if program == "no-such-program-at-all"
    ));

    let failed = Programs
        .run(Cmd::new("sh").args(["-c", "echo why >&2; exit 3"]))
        .await;
    let Err(RunError::Failed {
        status,
        stderr,
        program,
        ..
    }) = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!(
        (status, stderr.as_str(), program.as_str()),
        (3, "why", "sh")
    );
}

#[tokio::test]
async fn input_is_fed_and_accepted_statuses_are_results() {
    let cmd = Cmd::new("sh")
        .args(["-c", "cat; exit 2"])
        .stdin("hello")
        .accept([0, 2]);
    let output = Programs.run(cmd).await.unwrap();
    assert_eq!((output.status, output.text().as_str()), (2, "hello"));
}

#[tokio::test]
async fn programs_speak_the_c_locale() {
    let cmd = Cmd::new("sh").args(["-c", "echo $LC_ALL"]);
    assert_eq!(Programs.run(cmd).await.unwrap().text(), "C\n");
}

#[tokio::test]
async fn a_slow_program_is_killed() {
    let cmd = Cmd::new("sleep")
        .arg("60")
        .timeout(Duration::from_millis(50));
    assert!(matches!(
        Programs.run(cmd).await,
        Err(RunError::TimedOut { .. })
    ));
}

/// Those that fio starts would go on writing to disks.
#[tokio::test]
async fn what_a_killed_program_started_is_killed_too() {
    for script in [
        "sleep 600 & echo $! >FILE; wait",
        // As fio does: jobs outside of the group, ended by who started them.
        "trap 'kill $job' TERM; setsid sleep 600 & job=$!; echo $job >FILE; wait",
        // One that does not listen.
        "trap '' TERM; sleep 600 & echo $! >FILE; wait",
        // Neither does this one, and its job is outside of the group.
        "trap '' TERM; setsid sleep 600 & echo $! >FILE; wait",
        // One that listens and forgets its job.
        "trap 'exit 0' TERM; setsid sleep 600 & echo $! >FILE; wait",
        // A job of a job.
        "trap '' TERM; setsid sh -c 'setsid sleep 600 & echo $! >FILE; wait' & wait",
    ] {
        assert_ends_with_its_parent(script).await;
    }
}

async fn assert_ends_with_its_parent(script: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("child");
    let script = script.replace("FILE", file.to_str().unwrap());
    let running = Programs.run(Cmd::new("sh").args(["-c", &script]));
    let child = tokio::select! {
        ended = running => panic!("{ended:?}"),
        child = written(&file) => child,
    };
    let gone = async {
        while !is_gone(&child) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
    gone.unwrap_or_else(|_| panic!("it is not killed: {script}"));
}

/// The process number that a script writes into a file.
async fn written(file: &std::path::Path) -> String {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.ends_with('\n') {
            break text.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_gone(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

/// The agent stops by dropping its runtime, with nobody left to wait for programs.
#[test]
fn what_runs_when_the_runtime_ends_is_killed_with_what_it_started() {
    for script in [
        "setsid sleep 600 & echo $! >FILE; wait",
        "trap '' TERM; setsid sh -c 'setsid sleep 600 & echo $! >FILE; wait' & wait",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child");
        let script = script.replace("FILE", file.to_str().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(Programs.run(Cmd::new("sh").args(["-c", &script])));
        let child = runtime.block_on(written(&file));
        assert!(!is_gone(&child));
        drop(runtime);
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !is_gone(&child) {
            assert!(std::time::Instant::now() < until, "it goes on: {script}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// An agent that is killed ends nothing. The next one does, and leaves other programs alone.
#[tokio::test]
async fn what_a_killed_agent_left_behind_is_killed_at_the_next_start() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut started = Vec::new();
    for (owner, is_bound) in [(&ours, true), (&ours, false), (&others, true)] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "setsid sh -c 'echo $$ >{}; exec sleep 600' & exit 0",
            file.path().display()
        );
        let mut cmd = Cmd::new("sh").args(["-c", script.as_str()]);
        // A reader of the output would wait for the job.
        cmd.args[1] = script.replace("exec sleep", "exec >/dev/null 2>&1 sleep");
        cmd.ends_with_agent = is_bound;
        OwnedPrograms::new(owner.path()).run(cmd).await.unwrap();
        started.push(written(file.path()).await);
    }
    let agent = OwnedPrograms::new(ours.path());
    assert_eq!(agent.end_leftovers(), 1);
    while !is_gone(&started[0]) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!is_gone(&started[1]) && !is_gone(&started[2]));
    assert_eq!(agent.end_leftovers(), 0);
    for left in &started[1..] {
        let left = rustix::process::Pid::from_raw(left.parse().unwrap()).unwrap();
        rustix::process::kill_process(left, Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn of_what_talks_long_the_end_is_kept() {
    let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; echo end >&2";
    let cmd = Cmd::new("sh").args(["-c", script]).tail(20);
    let output = Programs.run(cmd).await.unwrap();
    assert_eq!(output.text(), "line 4998\nline 4999\n");
    assert_eq!(output.stderr, b"end\n");
}
