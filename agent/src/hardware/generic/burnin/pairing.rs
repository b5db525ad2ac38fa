//! Finding a partner for the network's burn-in through a coordination service: machines of one
//! group meet two by two.
//!
//! The rules, and the nodes, are those of the Python agent over ZooKeeper, so that both kinds
//! of agents may meet: whoever has the lock looks who is in the group and enters. The first
//! one is the writer; it lets go of the lock, waits for a second one, and leaves. The second
//! one is the reader; it keeps the lock until the first one has left, so that no third one
//! comes between them.

use std::net::IpAddr;
use std::time::Duration;

use super::network::Role;
use super::{cleaning, option, option_or};
use crate::failure::Failure;
use crate::hardware::StepContext;
use crate::machine::hostname;
use crate::machine::ironic_node::Node;
use crate::system::coordination::{CoordinationError, Life, Session};

const OPTION: &str = "agent_burnin_fio_network_pairing";
const SCHEMES: [&str; 2] = ["zookeeper://", "kazoo://"];
const ROOT: &str = "/tooz";
const LOCKS: &str = "/tooz/locks";
const LOCK: &str = "/tooz/locks/group_lock";
/// What stands in a lock's name before its number.
const NUMBER_MARK: &str = "__lock__";
/// How often the group and the lock are looked at.
const PERIOD: Duration = Duration::from_millis(500);

/// How a partner is to be found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pairing {
    servers: String,
    group: String,
    patience: Duration,
}

impl Pairing {
    /// What the node says; `None` when it names no service.
    pub(super) fn of(node: &Node) -> Result<Option<Self>, Failure> {
        let Some(url) = option(node, "fio_network_pairing_backend_url") else {
            return Ok(None);
        };
        let mut rests = SCHEMES.iter().filter_map(|scheme| url.strip_prefix(scheme));
        let servers = rests.next().and_then(|rest| rest.split(['/', '?']).next());
        let Some(servers) = servers.filter(|servers| !servers.is_empty()) else {
            return Err(cleaning(format!(
                "{OPTION}_backend_url must be zookeeper://HOST[:PORT][,...], not '{url}': this \
                 agent meets others over ZooKeeper only"
            )));
        };
        let group = option_or(
            node,
            "fio_network_pairing_group_name",
            "ironic.network-burnin",
        );
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !group.chars().all(plain) || group.chars().all(|c| c == '.') || group == "locks" {
            return Err(cleaning(format!(
                "{OPTION}_group_name must be letters, digits, dots and dashes, not '{group}'"
            )));
        }
        let told = option_or(node, "fio_network_pairing_timeout", "900");
        let seconds = told.parse().map_err(|_| {
            cleaning(format!(
                "{OPTION}_timeout must be a whole number of seconds, not '{told}'"
            ))
        })?;
        Ok(Some(Self {
            servers: servers.to_owned(),
            group,
            patience: Duration::from_secs(seconds),
        }))
    }

    /// One line for the plan.
    pub(super) fn description(&self) -> String {
        let Self { group, servers, .. } = self;
        format!("Find a partner in the group {group} through ZooKeeper at {servers}")
    }

    /// Meets a partner. The session ends in any case, and with it what it left behind.
    pub(super) async fn find(&self, ctx: StepContext<'_>) -> Result<(Role, String), Failure> {
        let system = ctx.system;
        let session = system.coordination.open(&self.servers).await;
        let mut session = session.map_err(|error| cleaning(error.to_string()))?;
        // An address needs no name service to be reached, but fio takes only those of IPv4.
        let own = match session.own_address() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(_) => hostname(system),
        };
        let found = tokio::select! {
            met = meet(session.as_mut(), &self.group, &own) => match met {
                Ok(Some(found)) => Ok(found),
                Ok(None) => Err(cleaning(format!(
                    "More than two machines are in the group {} at once", self.group
                ))),
                Err(error) => Err(cleaning(format!("No partner was found: {error}"))),
            },
            () = tokio::time::sleep(self.patience) => Err(cleaning(format!(
                "No partner came to the group {} within {} s",
                self.group,
                self.patience.as_secs()
            ))),
            () = ctx.task.cancelled() => Err(ctx.task.cancellation()),
        };
        session.close().await;
        if let Ok((role, partner)) = &found {
            ctx.task
                .phase(format!("{own} is {} first, with {partner}", role.word()));
        }
        found
    }
}

/// `None` when the group is not one of two.
async fn meet(
    session: &mut dyn Session,
    group: &str,
    own: &str,
) -> Result<Option<(Role, String)>, CoordinationError> {
    let group = format!("{ROOT}/{group}");
    let member = format!("{group}/{own}");
    for path in [ROOT, &group, LOCKS, LOCK] {
        match session.create(path, Life::Lasting).await {
            Ok(_) | Err(CoordinationError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let lock = lock(session).await?;
    let mut before = session.children(&group).await?;
    // Of a session of ours that died a moment ago: the server lets it go by itself.
    while before.iter().any(|name| name == own) {
        tokio::time::sleep(PERIOD).await;
        before = session.children(&group).await?;
    }
    session.create(&member, Life::OfSession).await?;
    let found = match before.as_slice() {
        [] => {
            session.delete(&lock).await?;
            let mut members = session.children(&group).await?;
            while members.len() < 2 {
                tokio::time::sleep(PERIOD).await;
                members = session.children(&group).await?;
            }
            members.retain(|name| name != own);
            match members.as_slice() {
                [partner] => Some((Role::Writer, partner.clone())),
                _ => None,
            }
        }
        [partner] => {
            while session.children(&group).await?.contains(partner) {
                tokio::time::sleep(PERIOD).await;
            }
            Some((Role::Reader, partner.clone()))
        }
        _ => None,
    };
    session.delete(&member).await?;
    if found
        .as_ref()
        .is_some_and(|(role, _)| *role == Role::Reader)
    {
        session.delete(&lock).await?;
    }
    Ok(found)
}

/// Waits for the lock: it belongs to the one with the lowest number. Answers our node of it.
async fn lock(session: &mut dyn Session) -> Result<String, CoordinationError> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let ours = format!("{LOCK}/{unique}{NUMBER_MARK}");
    let ours = session.create(&ours, Life::OfSessionNumbered).await?;
    loop {
        let waiting = session.children(LOCK).await?;
        let first = waiting.iter().min_by_key(|name| number(name));
        match first {
            Some(first) if ours.ends_with(first.as_str()) => return Ok(ours),
            _ => tokio::time::sleep(PERIOD).await,
        }
    }
}

fn number(name: &str) -> &str {
    name.rsplit_once(NUMBER_MARK)
        .map_or(name, |(_, number)| number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use futures_util::future::BoxFuture;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::super::super::testing::Bench;
    use super::*;
    use crate::hardware::Object;
    use crate::machine::testing::FakeMachine;
    use crate::system::System;
    use crate::system::coordination::Coordination;
    use crate::task::Task;

    /// Nodes, and whose sessions they belong to.
    type Nodes = Arc<Mutex<BTreeMap<String, Option<u8>>>>;

    /// A service; its sessions have the addresses 10.0.0.<number>.
    #[derive(Debug, Clone)]
    struct Fake {
        nodes: Nodes,
        number: u8,
    }

    impl Coordination for Fake {
        fn open<'a>(
            &'a self,
            servers: &'a str,
        ) -> BoxFuture<'a, Result<Box<dyn Session>, CoordinationError>> {
            assert_eq!(servers, "zk1,zk2:2182");
            let session: Box<dyn Session> = Box::new(self.clone());
            Box::pin(std::future::ready(Ok(session)))
        }
    }

    fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
        Box::pin(std::future::ready(value))
    }

    impl Session for Fake {
        fn own_address(&self) -> IpAddr {
            [10, 0, 0, self.number].into()
        }

        fn create<'a>(
            &'a mut self,
            path: &'a str,
            life: Life,
        ) -> BoxFuture<'a, Result<String, CoordinationError>> {
            let mut nodes = self.nodes.lock().unwrap();
            let mut path = path.to_owned();
            if life == Life::OfSessionNumbered {
                path = format!("{path}{:010}", nodes.len());
            }
            if nodes.contains_key(&path) {
                return ready(Err(CoordinationError::Exists(path)));
            }
            let owner = (life != Life::Lasting).then_some(self.number);
            nodes.insert(path.clone(), owner);
            ready(Ok(path))
        }

        fn delete<'a>(&'a mut self, path: &'a str) -> BoxFuture<'a, Result<(), CoordinationError>> {
            let gone = self.nodes.lock().unwrap().remove(path);
            ready(match gone {
                Some(_) => Ok(()),
                None => Err(CoordinationError::Missing(path.to_owned())),
            })
        }

        fn children<'a>(
            &'a mut self,
            path: &'a str,
        ) -> BoxFuture<'a, Result<Vec<String>, CoordinationError>> {
            let nodes = self.nodes.lock().unwrap();
            let below = nodes.keys().filter_map(|node| node.strip_prefix(path));
            let names = below.filter_map(|rest| rest.strip_prefix('/'));
            let names = names.filter(|name| !name.contains('/')).map(str::to_owned);
            // A service promises no order.
            let names: Vec<_> = names.collect();
            ready(Ok(names.into_iter().rev().collect()))
        }

        fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
            let mut nodes = self.nodes.lock().unwrap();
            nodes.retain(|_, owner| *owner != Some(self.number));
            ready(())
        }
    }

    fn told(more: Value) -> Node {
        let mut info = Object::new();
        info.insert(
            format!("{OPTION}_backend_url"),
            "zookeeper://zk1,zk2:2182/?timeout=3".into(),
        );
        info.extend(more.as_object().cloned().unwrap());
        Node(json!({"driver_info": info}).as_object().cloned().unwrap())
    }

    async fn find(nodes: &Nodes, number: u8, task: &Task) -> Result<(Role, String), Failure> {
        let bench = Bench::new(FakeMachine::new());
        let system = System {
            coordination: Arc::new(Fake {
                nodes: Arc::clone(nodes),
                number,
            }),
            ..bench.machine.system()
        };
        let node = told(json!({}));
        let pairing = Pairing::of(&node).unwrap().unwrap();
        let installed = crate::image::Installed::default();
        let ctx = StepContext {
            system: &system,
            config: &bench.config,
            node: &node,
            ports: &[],
            task,
            installed: &installed,
            managers: &[],
        };
        pairing.find(ctx).await
    }

    fn is_clean(nodes: &Nodes) -> bool {
        nodes.lock().unwrap().values().all(Option::is_none)
    }

    #[tokio::test(start_paused = true)]
    async fn machines_meet_two_by_two() {
        let nodes = Nodes::default();
        let task = Task::detached();
        let (one, two, three, four) = tokio::join!(
            find(&nodes, 1, &task),
            find(&nodes, 2, &task),
            find(&nodes, 3, &task),
            find(&nodes, 4, &task),
        );
        let met = [one, two, three, four].map(Result::unwrap);
        for (at, (role, partner)) in met.iter().enumerate() {
            let partner: usize = partner.strip_prefix("10.0.0.").unwrap().parse().unwrap();
            let (their_role, theirs) = &met[partner - 1];
            assert_eq!(*their_role, role.other());
            assert_eq!(*theirs, format!("10.0.0.{}", at + 1));
        }
        assert!(is_clean(&nodes), "{nodes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_dead_session_left_is_waited_out() {
        let nodes = Nodes::default();
        let left = "/tooz/ironic.network-burnin/10.0.0.1".to_owned();
        nodes.lock().unwrap().insert(left.clone(), Some(9));
        let task = Task::detached();
        let expiring = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            nodes.lock().unwrap().remove(&left);
        };
        let (one, two, ()) = tokio::join!(find(&nodes, 1, &task), find(&nodes, 2, &task), expiring);
        assert_eq!(one.unwrap().1, "10.0.0.2");
        assert_eq!(two.unwrap().1, "10.0.0.1");
        assert!(is_clean(&nodes), "{nodes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stays_alone_leaves_nothing_behind() {
        let nodes = Nodes::default();
        let begun = Instant::now();
        let failure = find(&nodes, 1, &Task::detached()).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 900);
        assert!(failure.details.contains("within 900 s"), "{failure}");
        assert!(is_clean(&nodes), "{nodes:?}");

        let task = Task::detached();
        let cancelling = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            task.cancel("enough");
        };
        let (found, ()) = tokio::join!(find(&nodes, 1, &task), cancelling);
        assert_eq!(found, Err(task.cancellation()));
        assert!(is_clean(&nodes), "{nodes:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_not_one_of_two_is_refused() {
        let nodes = Nodes::default();
        for path in [
            "/tooz/ironic.network-burnin/a",
            "/tooz/ironic.network-burnin/b",
        ] {
            nodes.lock().unwrap().insert(path.to_owned(), None);
        }
        let failure = find(&nodes, 1, &Task::detached()).await.unwrap_err();
        assert!(failure.details.starts_with("More than two"), "{failure}");
        assert!(is_clean(&nodes), "{nodes:?}");
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        assert_eq!(Pairing::of(&Node::default()), Ok(None));
        let pairing = Pairing::of(&told(json!({
            format!("{OPTION}_backend_url"): "kazoo://zk",
            format!("{OPTION}_group_name"): "rack-1",
            format!("{OPTION}_timeout"): 60,
        })));
        let expected = Pairing {
            servers: "zk".to_owned(),
            group: "rack-1".to_owned(),
            patience: Duration::from_secs(60),
        };
        assert_eq!(pairing, Ok(Some(expected)));
        for (key, value, named) in [
            ("backend_url", json!("etcd3+http://x"), "ZooKeeper only"),
            (
                "backend_url",
                json!("zookeeper://"),
                "must be zookeeper://HOST",
            ),
            ("group_name", json!("a/b"), "must be letters"),
            ("group_name", json!(".."), "must be letters"),
            ("group_name", json!("locks"), "must be letters"),
            ("timeout", json!("soon"), "must be a whole number"),
        ] {
            let failure = Pairing::of(&told(json!({format!("{OPTION}_{key}"): value})));
            let failure = failure.unwrap_err();
            assert!(failure.details.contains(named), "{failure}");
        }
    }
}
