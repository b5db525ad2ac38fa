//! What a caller asks for: a verb, its arguments as far as they fit, and conditions.

use std::time::Duration;

use super::arguments::{GivenArguments, VerbArguments};
use super::descriptor::VerbDescriptor;
use super::fingerprint::Fingerprint;
use super::misuse::Misuse;
use super::record::CommandId;
use super::verbs::Command;

/// One request, checked for shape. A verb that is called wrongly is still a request: Ironic
/// expects a record that says so.
#[derive(Debug, Clone)]
pub struct CommandRequest {
    /// The identifier to use; `None` lets the agent choose.
    pub id: Option<CommandId>,
    /// What is called.
    pub verb: &'static VerbDescriptor,
    /// The command, or why the verb cannot be called like this.
    pub command: Result<Command, Misuse>,
    /// The command that it would be without the argument that the verb does not have. Python
    /// looks at the values of the others first.
    pub without_unexpected: Option<Command>,
    /// What tells this request from another one.
    pub fingerprint: Fingerprint,
    /// Cancel the command after this time, waiting for its turn included.
    pub deadline: Option<Duration>,
}

impl CommandRequest {
    /// A request without conditions; `None` for a verb that this agent does not have.
    #[must_use]
    pub fn new(verb: &'static VerbDescriptor, mut given: GivenArguments) -> Option<Self> {
        // Here and not in the engine: an inline config drive takes its time.
        let fingerprint = Fingerprint::of(verb, &given);
        let unexpected = given.unexpected.take();
        let command = match VerbArguments::check(verb, given) {
            Ok(arguments) => Ok(Command::read(arguments)?),
            Err(misuse) => Err(misuse),
        };
        let (command, without_unexpected) = match (unexpected, command) {
            (Some(name), Ok(command)) => (Err(Misuse::Unexpected(name)), Some(command)),
            (Some(name), Err(Misuse::Missing(_))) => (Err(Misuse::Unexpected(name)), None),
            (_, command) => (command, None),
        };
        Some(Self {
            id: None,
            verb,
            command,
            without_unexpected,
            fingerprint,
            deadline: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::testing::request;

    #[test]
    fn requests_that_differ_anywhere_have_different_fingerprints() {
        let step = |arguments| request("clean.execute_clean_step", arguments);
        let prepare = |arguments| request("standby.prepare_image", arguments);
        let bootc = |arguments| request("standby.execute_bootc_install", arguments);
        let requests = [
            prepare(json!({})),
            prepare(json!({"image_info": {}})),
            prepare(json!({"image_info": {"id": "a"}})),
            prepare(json!({"image_info": {"id": "a"}, "configdrive": ""})),
            prepare(json!({"image_info": {"id": "a"}, "configdrive": "drive"})),
            prepare(json!({"image_info": {"id": "a"}, "other": "drive"})),
            step(json!({"step": {}, "node": {}})),
            step(json!({"step": {"step": "a"}, "node": {}})),
            step(json!({"step": {}, "node": {"step": "a"}})),
            step(json!({"step": {}, "node": {}, "further": {}})),
            step(json!({"step": {}, "node": {}, "clean_version": {"m": "1"}})),
            step(json!({"step": {}})),
            request("flow.start_flow", json!({"flow": []})),
            request("flow.start_flow", json!({"flow": [{"standby.sync": {}}]})),
            bootc(json!({"image_source": "oci://a"})),
            bootc(json!({"image_source": "oci://b"})),
            bootc(json!({"image_source": "oci://b", "pull_secret": "s"})),
            request("standby.sync", json!({})),
            request("standby.power_off", json!({})),
        ];
        let prints: std::collections::HashSet<Fingerprint> =
            requests.iter().map(|request| request.fingerprint).collect();
        assert_eq!(prints.len(), requests.len());
        assert_eq!(
            request("standby.sync", json!({})).fingerprint,
            request("standby.sync", json!({})).fingerprint
        );
        // Null means the same to a verb as nothing at all.
        assert_eq!(
            step(json!({"step": {}, "node": {}})).fingerprint,
            step(json!({"step": {}, "node": {}, "clean_version": null})).fingerprint
        );
    }

    #[test]
    fn arguments_beside_an_unexpected_one_are_still_read() {
        let wrong = request("standby.power_off", json!({"nonsense": 1}));
        assert_eq!(
            wrong.command.unwrap_err(),
            Misuse::Unexpected("nonsense".to_owned())
        );
        assert!(wrong.without_unexpected.is_some());
        let right = request("standby.power_off", json!({}));
        assert!(right.command.is_ok() && right.without_unexpected.is_none());
    }
}
