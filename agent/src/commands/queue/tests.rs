//! The queue against a model of it, over random histories.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::commands::testing::{at, id};
use crate::failure::FailureKind;

/// A caller's number.
type Caller = usize;

fn submission(number: u8, background: bool, print: u8) -> Submission<u8> {
    Submission {
        id: id(number),
        name: if background {
            "clean.execute_clean_step"
        } else {
            "standby.sync"
        },
        background,
        fingerprint: Fingerprint([print; 32]),
        deadline: None,
        payload: number,
    }
}

fn succeeded() -> End {
    End::Ran(CommandOutcome::Succeeded(Arc::new(Value::Null)))
}

/// Whether background or immediate and what else an order is: identifiers belong to one kind
/// of order most of the time, so that repetitions and clashes both happen.
#[derive(Debug, Clone)]
enum Event {
    Submit {
        number: u8,
        background: bool,
        print: u8,
    },
    Wait(u8),
    Cancel(u8),
    Note(u8),
    Finish {
        number: u8,
        end: u8,
    },
    /// Ends whatever runs.
    FinishRunning(u8),
    Close,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let number = 0_u8..12;
    let event = prop_oneof![
        8 => (number.clone(), any::<bool>(), 0_u8..8).prop_map(|(number, odd, print)| {
            Event::Submit {
                number,
                background: (number % 3 == 0) ^ (odd && number > 9),
                print: if print == 0 { 1 } else { 0 },
            }
        }),
        3 => number.clone().prop_map(Event::Wait),
        2 => number.clone().prop_map(Event::Cancel),
        2 => number.clone().prop_map(Event::Note),
        1 => (number, 0_u8..4).prop_map(|(number, end)| Event::Finish { number, end }),
        6 => (0_u8..4).prop_map(Event::FinishRunning),
        1 => prop::bool::weighted(0.05).prop_map(|close| if close {
            Event::Close
        } else {
            Event::FinishRunning(0)
        }),
    ];
    prop::collection::vec(event, 1..120)
}

fn end(kind: u8) -> End {
    let failure = || Failure::new(FailureKind::InvalidCommandParams, "no");
    match kind {
        0 => succeeded(),
        1 => End::Ran(CommandOutcome::Failed(failure())),
        2 => End::Ran(CommandOutcome::Cancelled(failure())),
        _ => End::Refused(failure()),
    }
}

/// What the model says a caller hears.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    /// A record in this state: "RUNNING" or the outcome's word.
    Record(u8, &'static str),
    Busy,
    Reused,
    NotFound,
    Refused,
    Closed,
}

fn heard(answer: &CommandReply) -> Heard {
    match answer {
        CommandReply::Record(record) => Heard::Record(number_of(record.id), word(record)),
        CommandReply::Refused(Refusal::Busy { .. }) => Heard::Busy,
        CommandReply::Refused(Refusal::IdReused(_)) => Heard::Reused,
        CommandReply::Refused(Refusal::NotFound(_)) => Heard::NotFound,
        CommandReply::Refused(Refusal::Failure(_)) => Heard::Refused,
        CommandReply::Refused(Refusal::ShuttingDown) => Heard::Closed,
    }
}

fn word(record: &CommandRecord) -> &'static str {
    match &record.state {
        CommandState::Running => "RUNNING",
        CommandState::Ended { outcome, .. } => outcome.word(),
    }
}

fn number_of(command: CommandId) -> u8 {
    let text = command.to_string();
    u8::from_str_radix(&text[text.len() - 2..], 16).unwrap()
}

/// The rules in the words of the contract: one lock that immediate commands hold while they
/// run, a list, and a look at its last entry.
#[derive(Debug, Default)]
struct Model {
    list: Vec<(u8, &'static str)>,
    prints: BTreeMap<u8, u8>,
    running: Option<(u8, bool)>,
    at_the_end: Vec<Caller>,
    line: Vec<(u8, bool, u8, Vec<Caller>)>,
    closed: bool,
    heard: HashMap<Caller, Heard>,
}

impl Model {
    fn tell(&mut self, caller: Caller, what: Heard) {
        let before = self.heard.insert(caller, what);
        assert_eq!(before, None, "nobody is answered twice");
    }

    fn entry(&self, number: u8) -> Option<&'static str> {
        let listed = self.list.iter().find(|(listed, _)| *listed == number);
        listed.map(|(_, word)| *word)
    }

    fn submit(&mut self, number: u8, background: bool, print: u8, caller: Caller) {
        let running = self.running == Some((number, false));
        if running || self.entry(number).is_some() {
            if self.prints[&number] != print {
                return self.tell(caller, Heard::Reused);
            }
            match self.entry(number) {
                Some(word) => self.tell(caller, Heard::Record(number, word)),
                None => self.at_the_end.push(caller),
            }
            return;
        }
        if let Some(twin) = self.line.iter_mut().find(|twin| twin.0 == number) {
            if twin.2 == print {
                twin.3.push(caller);
            } else {
                self.tell(caller, Heard::Reused);
            }
            return;
        }
        match self.running {
            _ if self.closed => self.tell(caller, Heard::Closed),
            Some((_, true)) => self.tell(caller, Heard::Busy),
            Some((_, false)) => self.line.push((number, background, print, vec![caller])),
            None => self.start((number, background, print, vec![caller])),
        }
    }

    fn start(&mut self, (number, background, print, callers): (u8, bool, u8, Vec<Caller>)) {
        self.running = Some((number, background));
        self.prints.insert(number, print);
        if background {
            self.list.push((number, "RUNNING"));
            for caller in callers {
                self.tell(caller, Heard::Record(number, "RUNNING"));
            }
        } else {
            self.at_the_end = callers;
        }
    }

    fn finish(&mut self, number: u8, kind: u8) {
        let Some((_, background)) = self.running.take_if(|running| running.0 == number) else {
            return;
        };
        let word = match kind {
            0 => "SUCCEEDED",
            1 => "FAILED",
            2 => "CANCELLED",
            _ if background => "FAILED",
            _ => "",
        };
        if background {
            self.list.last_mut().unwrap().1 = word;
        } else if !word.is_empty() {
            self.list.push((number, word));
        }
        for caller in std::mem::take(&mut self.at_the_end) {
            self.tell(
                caller,
                match word {
                    "" => Heard::Refused,
                    word => Heard::Record(number, word),
                },
            );
        }
        if !self.line.is_empty() {
            let next = self.line.remove(0);
            self.start(next);
            if let Some((_, true)) = self.running {
                for (.., callers) in std::mem::take(&mut self.line) {
                    for caller in callers {
                        self.tell(caller, Heard::Busy);
                    }
                }
            }
        }
    }

    fn wait(&mut self, number: u8, caller: Caller) {
        if self.running.is_some_and(|(running, _)| running == number) {
            self.at_the_end.push(caller);
        } else {
            let answer = self
                .entry(number)
                .map_or(Heard::NotFound, |word| Heard::Record(number, word));
            self.tell(caller, answer);
        }
    }

    fn cancel(&mut self, number: u8) {
        if let Some(index) = self.line.iter().position(|twin| twin.0 == number) {
            let (number, _, print, callers) = self.line.remove(index);
            self.prints.insert(number, print);
            self.list.push((number, "CANCELLED"));
            for caller in callers {
                self.tell(caller, Heard::Record(number, "CANCELLED"));
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        for (.., callers) in std::mem::take(&mut self.line) {
            for caller in callers {
                self.tell(caller, Heard::Closed);
            }
        }
    }
}

/// The queue, with everybody's answers and what was started.
#[derive(Debug, Default)]
struct Observed {
    queue: Queue<u8, Caller>,
    heard: HashMap<Caller, Heard>,
    started: Vec<u8>,
}

impl Observed {
    fn follow(&mut self, effects: QueueEffects<u8, Caller>) {
        for (index, record) in &effects.keep {
            match index {
                Some(index) => assert_eq!(&self.queue.records()[*index].id, &record.id),
                None => assert!(!record.background && !record.has_ended()),
            }
        }
        if effects.forget {
            // What was refused never ran, and may be tried again.
            self.started.pop();
        }
        if let Some((record, payload)) = effects.start {
            assert_eq!(record.id, id(payload), "a payload runs under its own name");
            assert!(!self.started.contains(&payload), "nothing runs twice");
            self.started.push(payload);
        }
        for (caller, answer) in effects.answers {
            let before = self.heard.insert(caller, heard(&answer));
            assert_eq!(before, None, "nobody is answered twice");
        }
    }

    fn apply(&mut self, event: &Event, caller: Caller, now: SystemTime) {
        let effects = match *event {
            Event::Submit {
                number,
                background,
                print,
            } => self
                .queue
                .submit(submission(number, background, print), caller, now),
            Event::Wait(number) => self.queue.wait(id(number), caller),
            Event::Cancel(number) => {
                let failure = || Failure::execution("cancelled");
                self.queue.cancel(id(number), failure, now).1
            }
            Event::Note(number) => self.queue.note(
                id(number),
                MilestoneKind::PhaseEnded,
                "half".to_owned(),
                now,
            ),
            Event::Finish { number, end: kind } => self.queue.finish(id(number), end(kind), now),
            Event::FinishRunning(kind) => match self.queue.running().map(|record| record.id) {
                Some(running) => self.queue.finish(running, end(kind), now),
                None => return,
            },
            Event::Close => self.queue.close(),
        };
        self.follow(effects);
    }

    fn list(&self) -> Vec<(u8, &'static str)> {
        let records = self.queue.records().iter();
        records
            .map(|record| (number_of(record.id), word(record)))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_like_the_model(events in events()) {
        let mut observed = Observed::default();
        let mut model = Model::default();
        let mut callers = 0;
        for (step, event) in events.iter().enumerate() {
            let list_before = observed.list();
            let running_before = model.running;
            match *event {
                Event::Submit { number, background, print } => {
                    model.submit(number, background, print, step);
                    callers += 1;
                }
                Event::Wait(number) => {
                    model.wait(number, step);
                    callers += 1;
                }
                Event::Cancel(number) => model.cancel(number),
                Event::Note(_) => {}
                Event::Finish { number, end } => model.finish(number, end),
                Event::FinishRunning(end) => {
                    if let Some((number, _)) = running_before {
                        model.finish(number, end);
                    }
                }
                Event::Close => model.close(),
            }
            observed.apply(event, step, at(step as u64));

            prop_assert_eq!(observed.list(), model.list.clone());
            prop_assert_eq!(&observed.heard, &model.heard);
            let running = observed.queue.running().map(|r| (number_of(r.id), r.background));
            prop_assert_eq!(running, model.running);
            // The list only grows, and what has ended stays as it is.
            let list = observed.list();
            prop_assert!(list.len() >= list_before.len());
            for (before, after) in list_before.iter().zip(&list) {
                prop_assert!(before == after || before.1 == "RUNNING" && before.0 == after.0);
            }
        }
        // Everybody is answered once everything has ended.
        while observed.queue.running().is_some() {
            observed.apply(&Event::FinishRunning(0), usize::MAX, at(1000));
        }
        prop_assert_eq!(observed.heard.len(), callers);
        // Milestones are numbered without gaps, from the start to one end.
        for record in observed.queue.records() {
            let numbers: Vec<u64> = record.milestones.iter().map(|m| m.sequence).collect();
            prop_assert_eq!(numbers, (1..=record.milestones.len() as u64).collect::<Vec<_>>());
            let ends = record.milestones.iter().filter(|m| m.kind == MilestoneKind::Finished);
            prop_assert_eq!(ends.count(), 1);
        }
    }
}

/// A queue with callers that have numbers.
fn queue() -> Queue<u8, Caller> {
    Queue::default()
}

fn answers(effects: QueueEffects<u8, Caller>) -> Vec<(Caller, Heard)> {
    let answers = effects.answers.iter();
    answers
        .map(|(caller, answer)| (*caller, heard(answer)))
        .collect()
}

#[test]
fn behind_an_immediate_command_callers_wait_in_line() {
    let mut queue = queue();
    let effects = queue.submit(submission(1, false, 0), 1, at(0));
    assert!(effects.start.is_some() && effects.answers.is_empty());
    assert!(queue.records().is_empty(), "it is not in the list yet");
    for number in [2, 3, 4] {
        let background = number == 3;
        let effects = queue.submit(submission(number, background, 0), number.into(), at(1));
        assert!(effects.start.is_none() && effects.answers.is_empty());
    }
    let effects = queue.finish(id(1), succeeded(), at(2));
    assert_eq!(effects.start.as_ref().unwrap().1, 2);
    assert_eq!(answers(effects), [(1, Heard::Record(1, "SUCCEEDED"))]);
    // The third is a background command: the fourth hears BUSY.
    let effects = queue.finish(id(2), succeeded(), at(3));
    assert_eq!(effects.start.as_ref().unwrap().1, 3);
    assert_eq!(
        answers(effects),
        [
            (2, Heard::Record(2, "SUCCEEDED")),
            (3, Heard::Record(3, "RUNNING")),
            (4, Heard::Busy)
        ]
    );
    let refusal = queue.busy().unwrap();
    assert_eq!(
        refusal.to_string(),
        "Agent is busy: executing command execute_clean_step"
    );
}

#[test]
fn a_refused_immediate_command_leaves_nothing() {
    let mut queue = queue();
    let _ = queue.submit(submission(1, false, 0), 1, at(0));
    let effects = queue.finish(id(1), end(3), at(1));
    assert!(effects.forget && effects.keep.is_empty());
    assert_eq!(answers(effects), [(1, Heard::Refused)]);
    assert!(queue.records().is_empty());
    // Its identifier is free again: nothing is known that it could repeat.
    let effects = queue.submit(submission(1, false, 7), 2, at(2));
    assert!(effects.start.is_some());
}

#[test]
fn callers_that_hung_up_are_forgotten() {
    let mut queue = queue();
    let _ = queue.submit(submission(1, true, 0), 1, at(0));
    for caller in 2..5 {
        let effects = queue.wait(id(1), caller);
        assert!(effects.answers.is_empty());
    }
    queue.forget_waiters(|caller| *caller == 3);
    let effects = queue.finish(id(1), succeeded(), at(1));
    let callers: Vec<Caller> = effects.answers.iter().map(|(caller, _)| *caller).collect();
    assert_eq!(callers, [2, 4]);
}

#[test]
fn a_flood_of_notes_is_kept_up_to_a_limit_only() {
    let mut queue = queue();
    let _ = queue.submit(submission(1, true, 0), 1, at(0));
    let kept = (0..3000).filter(|_| {
        let text = "again".to_owned();
        let effects = queue.note(id(1), MilestoneKind::Warning, text, at(1));
        !effects.keep.is_empty()
    });
    assert_eq!(kept.count(), crate::commands::record::MAX_MILESTONES);
}

#[test]
fn only_the_latest_large_result_is_whole() {
    let mut queue = queue();
    let large = || {
        let text = "x".repeat(LARGE_RESULT);
        Arc::new(serde_json::json!({ "system_logs": text, "small": 1 }))
    };
    let result = |queue: &Queue<u8, Caller>, index: usize| match &queue.records()[index].state {
        CommandState::Ended {
            outcome: CommandOutcome::Succeeded(result),
            ..
        } => size(result),
        other => panic!("{other:?}"),
    };
    let mut run = |number: u8, answer: Arc<Value>| {
        let _ = queue.submit(submission(number, false, 0), 0, at(0));
        let effects = queue.finish(
            id(number),
            End::Ran(CommandOutcome::Succeeded(answer)),
            at(1),
        );
        // The caller itself hears everything.
        assert_eq!(effects.answers.len(), 1);
    };
    run(1, large());
    run(2, Arc::new(serde_json::json!("small")));
    run(3, large());
    run(4, Arc::new(Value::Null));
    assert_eq!(queue.records().len(), 4);
    assert!(result(&queue, 0) < 100);
    assert!(result(&queue, 2) > LARGE_RESULT);
}

#[test]
fn records_of_an_earlier_life_come_first_and_keep_their_identifiers() {
    let mut earlier = crate::commands::testing::record(1);
    earlier.end(CommandOutcome::Succeeded(Arc::new(Value::Null)), at(2));
    let mut queue: Queue<u8, Caller> = Queue::new(vec![earlier]);
    let effects = queue.submit(submission(1, true, 1), 1, at(3));
    assert_eq!(answers(effects), [(1, Heard::Record(1, "SUCCEEDED"))]);
    let effects = queue.submit(submission(1, true, 2), 2, at(3));
    assert_eq!(answers(effects), [(2, Heard::Reused)]);
    let effects = queue.submit(submission(2, true, 0), 3, at(3));
    assert_eq!(effects.keep[0].0, Some(1));
}
