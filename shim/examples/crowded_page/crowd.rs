//! Nodes that seem to work: the same ones in each run.

use std::time::SystemTime;

use ironic_agent_protocol::v1;
use ironic_shim::fleet::{AttachmentNumber, Fleet, Labels};

/// Nodes in a rack.
const RACK: u32 = 40;

/// Of so many changes, one is a connection that is lost or comes back.
const FLAPS: u64 = 800;

/// Bytes of an image.
const IMAGE: u64 = 4_800_000_000;

/// What a command does, phase by phase, and how many changes each takes.
const PHASES: [(&str, u64); 3] = [
    ("read_tables", 3),
    ("write_image", 40),
    ("make_file_systems", 6),
];

/// A command that seems to run.
struct Work {
    node: u32,
    command: v1::NodeCommand,
    /// Changes so far.
    steps: u64,
}

/// A fleet whose nodes change when asked.
pub(crate) struct Crowd {
    fleet: Fleet,
    nodes: u32,
    work: Vec<Work>,
    away: Vec<u32>,
    attachments: Vec<Option<AttachmentNumber>>,
    next_work: usize,
    random: u64,
    commands: u64,
}

fn uuid(node: u32) -> String {
    format!("{node:08x}-5c1e-4000-8000-{:012x}", u64::from(node) * 7919)
}

fn name(node: u32) -> String {
    format!("rack{}-{}", node / RACK + 1, node % RACK + 1)
}

impl Crowd {
    /// This many nodes, of which most are attached and some work.
    pub(crate) fn new(fleet: Fleet, nodes: u32) -> Self {
        let mut crowd = Self {
            fleet,
            nodes,
            work: Vec::new(),
            away: Vec::new(),
            attachments: Vec::new(),
            next_work: 0,
            random: 1,
            commands: 0,
        };
        for node in 0..nodes {
            let labels = [
                ("rack".to_owned(), (node / RACK + 1).to_string()),
                ("hall".to_owned(), (node / (RACK * 50) + 1).to_string()),
            ];
            crowd
                .fleet
                .describe(&uuid(node), &name(node), &Labels::from(labels));
            crowd.attachments.push(None);
            match node % 33 {
                7 => crowd.away.push(node),
                _ => {
                    crowd.attach(node);
                    // What is kept of a node that has worked is there from the beginning: memory that grows later is lost.
                    let mut work = crowd.start(node, 0);
                    work.command.progress = Some(progress(1));
                    crowd.end(work, false);
                }
            }
            if node % 211 == 5 {
                crowd.fleet.closed(&uuid(node));
            }
        }
        // Of 10,000 nodes each of these changes every second or two at 300 changes per second.
        for _ in 0..(nodes / 20).max(nodes.min(200)) {
            crowd.begin();
        }
        crowd
    }

    /// One change.
    pub(crate) fn change(&mut self) {
        if self.below(FLAPS) == 0 {
            return self.flap();
        }
        if self.work.is_empty() {
            return self.begin();
        }
        self.next_work = (self.next_work + 1) % self.work.len();
        let total: u64 = PHASES.iter().map(|(_, steps)| steps).sum();
        let is_failing = self.below(900) == 0;
        let work = &mut self.work[self.next_work];
        work.steps += 1;
        if work.steps >= total || is_failing {
            let work = self.work.swap_remove(self.next_work);
            self.next_work = 0;
            self.end(work, is_failing);
            return self.begin();
        }
        work.command.progress = Some(progress(work.steps));
        self.fleet.command(&uuid(work.node), work.command.clone());
    }

    fn begin(&mut self) {
        for _ in 0..64 {
            let node = u32::try_from(self.below(self.nodes.into())).unwrap_or_default();
            let is_busy = self.work.iter().any(|work| work.node == node);
            if is_busy || !self.fleet.is_attached(&uuid(node)) {
                continue;
            }
            let steps = self.below(30);
            let work = self.start(node, steps);
            self.work.push(work);
            return;
        }
    }

    /// A command of a node that has come so far.
    fn start(&mut self, node: u32, steps: u64) -> Work {
        self.commands += 1;
        let names = [
            "standby.prepare_image",
            "clean.execute_clean_step",
            "deploy.execute_deploy_step",
        ];
        let command = v1::NodeCommand {
            id: format!("{:08x}-0000-4000-8000-000000000000", self.commands),
            name: names[usize::try_from(self.commands % 5)
                .unwrap_or_default()
                .min(2)]
            .to_owned(),
            state: v1::CommandState::Running.into(),
            background: true,
            started_at: Some(SystemTime::now().into()),
            ..v1::NodeCommand::default()
        };
        self.fleet.command(&uuid(node), command.clone());
        Work {
            node,
            command,
            steps,
        }
    }

    fn end(&self, work: Work, is_failing: bool) {
        let state = if is_failing {
            v1::CommandState::Failed
        } else {
            v1::CommandState::Succeeded
        };
        let failure = is_failing.then(|| v1::Failure {
            kind: "ImageWriteError".into(),
            code: 500,
            message: "Error writing image to device".into(),
            details: "/dev/sda: Input/output error at byte 1310720: the disk may be failing, look at its SMART log".into(),
            ..v1::Failure::default()
        });
        let command = v1::NodeCommand {
            state: state.into(),
            failure,
            finished_at: Some(SystemTime::now().into()),
            ..work.command
        };
        self.fleet.command(&uuid(work.node), command);
    }

    fn flap(&mut self) {
        if self.away.len() > usize::try_from(self.nodes / 30).unwrap_or_default() {
            let node = self.away.remove(0);
            return self.attach(node);
        }
        let node = u32::try_from(self.below(self.nodes.into())).unwrap_or_default();
        let place = usize::try_from(node).unwrap_or_default();
        if let Some(attachment) = self.attachments[place].take() {
            self.fleet.lost(&uuid(node), attachment);
            self.away.push(node);
        }
    }

    fn attach(&mut self, node: u32) {
        let attachment = v1::NodeAttachment {
            boot_id: format!("{node:08x}-1111-4111-8111-111111111111"),
            agent_version: "0.1.0".into(),
            peer: format!(
                "10.{}.{}.{}:51234",
                node / 65536,
                node / 256 % 256,
                node % 256
            ),
            since: None,
        };
        let number = self.fleet.attached(&uuid(node), attachment);
        if let Some(place) = self
            .attachments
            .get_mut(usize::try_from(node).unwrap_or_default())
        {
            *place = Some(number);
        }
    }

    /// A number below this one. The sequence is always the same.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound.max(1)
    }
}

/// What an agent reports after so many changes.
fn progress(steps: u64) -> v1::Progress {
    let mut left = steps;
    for (phase, length) in PHASES {
        if left < length {
            let done = IMAGE / length * left;
            return v1::Progress {
                phase: phase.into(),
                done,
                total: Some(IMAGE),
                rate: 412_000_000,
                remaining: Some(prost_types::Duration {
                    seconds: i64::try_from((IMAGE - done) / 412_000_000).unwrap_or_default(),
                    nanos: 0,
                }),
                subject: "/dev/sda".into(),
                ..v1::Progress::default()
            };
        }
        left -= length;
    }
    v1::Progress::default()
}
