//! The three requests that need the token: run, get, list.

use std::sync::Arc;

use ironic_agent_protocol::verbs::{ServiceEnd, VerbDescriptor};
use ironic_text::Secret;
use tokio::sync::Semaphore;
use tracing::error;
use uuid::Uuid;

use super::CloseReason;
use super::answer;
use super::body::BufferedBody;
use super::call::{self, ParsedCall};
use super::error::RestError;
use super::given_token::given_token;
use crate::agents::{CallError, Client, CommandResult, State};

/// Bodies from this size on are parsed off the reactor.
const LARGE_BODY: usize = 64 * 1024;

/// Large bodies that are parsed at the same time. Others wait for their turn, which takes as
/// long as a look at every byte.
static PARSERS: Semaphore = Semaphore::const_new(2);

/// Has a command run. `ended` is called with its record and with the token that it gave the
/// agent, whether or not the caller is still there.
///
/// # Errors
/// The refusal.
pub async fn run(
    client: &Arc<Client>,
    token: Secret,
    body: BufferedBody,
    wait: bool,
    ended: impl FnOnce(&CommandResult, Option<Secret>) + Send + 'static,
) -> Result<Vec<u8>, RestError> {
    let call = if body.bytes.len() < LARGE_BODY {
        call::parse(&body.bytes)
    } else {
        let turn = PARSERS.acquire().await;
        let parsing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            call::parse(&body.bytes)
        });
        join(parsing).await?
    };
    let (command, message) = match call {
        ParsedCall::Command { command, message } => (command, message),
        ParsedCall::Wrong(fault) => return Err(fault),
        ParsedCall::WrongUnlessBusy(fault) => return Err(unless_busy(client, fault).await),
    };
    // A caller who hangs up must not take back what the agent may have begun: the task goes
    // on without it.
    let task = tokio::spawn({
        let (client, token) = (Arc::clone(client), token.clone());
        async move {
            let given = given_token(&message).map(Secret::new);
            let record = client.execute(&token, *message).await;
            if let Ok(record) = &record {
                ended(record, given.filter(|_| record.state == State::Succeeded));
            }
            record
        }
    });
    let record = join(task).await?.map_err(|error| match error {
        CallError::NotBuilt { .. } => RestError::unknown_command(&command),
        error => RestError::call(&error),
    })?;
    if wait && !record.has_ended() {
        let record = client.wait(&token, &record.id).await;
        return record
            .map(|record| answer::one(&record))
            .map_err(|error| RestError::call(&error));
    }
    Ok(answer::one(&record))
}

/// One result.
///
/// # Errors
/// The refusal.
pub async fn get(
    client: &Client,
    token: &Secret,
    id: &str,
    wait: bool,
) -> Result<Vec<u8>, RestError> {
    // Identifiers are compared letter by letter: only the form that we print is one.
    let known_form = Uuid::try_parse(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id);
    if !known_form {
        return Err(RestError::no_command(id));
    }
    let record = if wait {
        client.wait(token, id).await
    } else {
        client.get(token, id).await
    };
    match record {
        Ok(record) if answer::is_listed(&record) => Ok(answer::one(&record)),
        Ok(_) | Err(CallError::NotFound { .. }) => Err(RestError::no_command(id)),
        Err(error) => Err(RestError::call(&error)),
    }
}

/// All results.
///
/// # Errors
/// The refusal.
pub async fn list(client: &Client, token: &Secret) -> Result<Vec<u8>, RestError> {
    match client.list(token).await {
        Ok(records) => Ok(answer::all(&records)),
        Err(error) => Err(RestError::call(&error)),
    }
}

/// `fault`, unless the agent is busy, which is said first.
async fn unless_busy(client: &Client, fault: RestError) -> RestError {
    match client.status_now().await {
        Ok(status) => status.busy.map_or(fault, |busy| RestError::busy(&busy)),
        Err(_) => fault,
    }
}

/// Why the service ends with this record, if its command was the last one.
#[must_use]
pub fn close_reason(record: &CommandResult) -> Option<CloseReason> {
    if record.state != State::Succeeded {
        return None;
    }
    let reason = match VerbDescriptor::by_name(&record.name)?.ends_service? {
        ServiceEnd::Rescued => CloseReason::Rescued,
        ServiceEnd::LockedDown => CloseReason::LockedDown,
    };
    Some(reason)
}

async fn join<T>(task: tokio::task::JoinHandle<T>) -> Result<T, RestError> {
    task.await.map_err(|cause| {
        error!(%cause, "a request's task ended early");
        RestError::internal()
    })
}
