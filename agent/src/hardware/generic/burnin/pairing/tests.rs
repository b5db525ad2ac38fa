//! Machines meet over a service that is a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::hardware::generic::testing::Bench;
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
    ) -> BoxFuture<'a, Result<Box<dyn CoordinationSession>, CoordinationError>> {
        assert_eq!(servers, "zk1,zk2:2182");
        let session: Box<dyn CoordinationSession> = Box::new(self.clone());
        Box::pin(std::future::ready(Ok(session)))
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl CoordinationSession for Fake {
    fn own_address(&self) -> IpAddr {
        [10, 0, 0, self.number].into()
    }

    fn create<'a>(
        &'a mut self,
        path: &'a str,
        life: NodeLifetime,
    ) -> BoxFuture<'a, Result<String, CoordinationError>> {
        let mut nodes = self.nodes.lock().unwrap();
        let mut path = path.to_owned();
        if life == NodeLifetime::OfSessionNumbered {
            path = format!("{path}{:010}", nodes.len());
        }
        if nodes.contains_key(&path) {
            return ready(Err(CoordinationError::Exists(path)));
        }
        let owner = (life != NodeLifetime::Lasting).then_some(self.number);
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

fn node(more: Value) -> Node {
    let mut info = JsonObject::new();
    info.insert(
        "agent_burnin_fio_network_pairing_backend_url".to_owned(),
        "zookeeper://zk1,zk2:2182/?timeout=3".into(),
    );
    info.extend(more.as_object().cloned().unwrap());
    Node(json!({"driver_info": info}).as_object().cloned().unwrap())
}

async fn find(nodes: &Nodes, number: u8, task: &Task) -> Result<(FioRole, String), BurnInError> {
    let bench = Bench::new(FakeMachine::new());
    let system = System {
        coordination: Arc::new(Fake {
            nodes: Arc::clone(nodes),
            number,
        }),
        ..bench.machine.system()
    };
    let node = node(json!({}));
    let pairing = Pairing::of(&node).unwrap().unwrap();
    let installed = crate::image::LastDeployment::default();
    let ctx = StepContext {
        system: &system,
        config: &bench.config,
        node: &node,
        ports: &[],
        task,
        installed: &installed,
        erasers: &[],
        ordered: None,
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
    assert!(failure.to_string().contains("within 900 s"), "{failure}");
    assert!(is_clean(&nodes), "{nodes:?}");

    let task = Task::detached();
    let cancelling = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        task.cancel("enough");
    };
    let (found, ()) = tokio::join!(find(&nodes, 1, &task), cancelling);
    let cancelled = task.cancellation();
    assert!(matches!(found, Err(BurnInError::Cancelled(found)) if found == cancelled));
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
    assert!(
        failure.to_string().starts_with("More than two"),
        "{failure}"
    );
    assert!(is_clean(&nodes), "{nodes:?}");
}

#[test]
fn options_are_read_and_wrong_ones_named() {
    assert_eq!(Pairing::of(&Node::default()).unwrap(), None);
    let pairing = Pairing::of(&node(json!({
        "agent_burnin_fio_network_pairing_backend_url": "kazoo://zk",
        "agent_burnin_fio_network_pairing_group_name": "rack-1",
        "agent_burnin_fio_network_pairing_timeout": 60,
    })));
    let expected = Pairing {
        servers: "zk".to_owned(),
        group: "rack-1".to_owned(),
        timeout: Duration::from_secs(60),
    };
    assert_eq!(pairing.unwrap(), Some(expected));
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
        let failure = Pairing::of(&node(
            json!({format!("agent_burnin_fio_network_pairing_{key}"): value}),
        ));
        let failure = failure.unwrap_err();
        assert!(failure.to_string().contains(named), "{failure}");
    }
}
