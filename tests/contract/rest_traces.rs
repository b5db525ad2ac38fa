//! What a recorded Ironic 39 sent to the Python agent, sent to ours: the same status, the same
//! result. Long texts of the recording are shortened, the token is replaced.

use serde_json::Value;

use super::support::agents::{Act, Agent, Gate, Script, TOKEN};
use super::support::front::Front;

/// A result without what is drawn by lot.
fn without_id(mut result: Value) -> Value {
    result.as_object_mut().unwrap().remove("id").unwrap();
    result
}

#[tokio::test]
async fn recorded_requests_get_the_recorded_answers() {
    let text = include_str!("../fixtures/traces/ironic-to-agent.json");
    let exchanges: Vec<Value> = serde_json::from_str(text).unwrap();
    let mut replayed = 0;
    for exchange in exchanges {
        let target = exchange["path"].as_str().unwrap().replace("TOKEN", TOKEN);
        let (request, expected) = (&exchange["request"], &exchange["response"]);
        // One answer of the recording is a defect of the Python agent; lists are other tests'.
        if request.is_null() || exchange["status"] != 200 {
            continue;
        }
        let name = request["name"].as_str().unwrap();
        let script = Script::default();
        let agent = Agent::scripted(&script).await;
        let front = Front::before(&agent.endpoint).await;
        let gate = Gate::default();
        let answer = expected["command_result"].clone();
        if expected["command_status"] == "RUNNING" {
            script.act(name, Act::Wait(gate.clone(), answer));
        } else {
            script.act(name, Act::Answer(answer));
        }
        let headers = "User-Agent: python-requests/2.34.2\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n";
        let body = request.to_string();
        let mut line = front.line().await;
        let answer = line.ask("POST", &target, headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let result = without_id(answer.json());
        assert_eq!(result, without_id(expected.clone()), "{name}");
        let listed = front.list().await;
        assert_eq!(listed.len(), 1);
        assert_eq!(without_id(listed[0].clone()), result, "{name}");
        gate.open();
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed}");
}
