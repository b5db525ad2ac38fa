//! `ironic-shim token`: makes, lists and revokes join tokens of a gateway's state directory. The
//! gateway may run at the same time.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PathBufValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ironic_text::{error_chain, printable};
use rustls_pki_types::UnixTime;
use thiserror::Error;

use crate::identity::join_token::{
    JoinTokenRecord, JoinTokenStoreError, JoinTokens, NewJoinToken, USUAL_LIFE,
};

/// The word that chooses this tool.
pub const NAME: &str = "token";

/// Why the tool did nothing.
#[derive(Debug, Error)]
enum TokenToolError {
    #[error(transparent)]
    Store(#[from] JoinTokenStoreError),
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

/// The tool's command line.
#[must_use]
pub fn clap_command() -> Command {
    let state = Arg::new("state_dir")
        .long("state_dir")
        .alias("state-dir")
        .value_name("DIR")
        .value_parser(PathBufValueParser::new())
        .default_value("/run/ironic-shim")
        .help("The gateway's state_dir");
    let create = Command::new("create")
        .about("Makes a token and prints it, once")
        .arg(state.clone())
        .arg(
            Arg::new("node")
                .long("node")
                .value_name("UUID")
                .help("The only node that it is for"),
        )
        .arg(
            Arg::new("label")
                .long("label")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .value_parser(ValueParser::new(label))
                .help("A label that the node must have"),
        )
        .arg(
            Arg::new("uses")
                .long("uses")
                .value_name("NUMBER")
                .default_value("1")
                .value_parser(value_parser!(u32))
                .help("How often it may be used"),
        )
        .arg(
            Arg::new("lifetime")
                .long("lifetime")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64))
                .help("How long it may be used; an hour when not given"),
        );
    let list = Command::new("list").about("Lists the tokens, without their secrets");
    let revoke = Command::new("revoke").about("Ends a token");
    let id = Arg::new("id").value_name("ID").required(true);
    Command::new(NAME)
        .bin_name("ironic-shim token")
        .about("Makes, lists and revokes join tokens, which prove to this gateway which node a machine is.")
        .subcommand_required(true)
        .subcommand(create)
        .subcommand(list.arg(state.clone()))
        .subcommand(revoke.arg(state).arg(id.help("What the token begins with")))
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = parts.ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the tool. `arguments` begin with the name of the program and [`NAME`].
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let matches = match clap_command().try_get_matches_from(arguments.skip(1)) {
        Ok(matches) => matches,
        Err(error) => {
            // A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(&matches, UnixTime::now(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ironic-shim {NAME}: {}", printable(&error_chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(matches: &ArgMatches, now: UnixTime, output: &mut impl Write) -> Result<(), TokenToolError> {
    let Some((action, matches)) = matches.subcommand() else {
        return Ok(());
    };
    let state = matches.get_one::<PathBuf>("state_dir").cloned();
    let tokens = JoinTokens::new(&state.unwrap_or_default());
    match action {
        "create" => {
            let (_, token) = tokens.create(wanted(matches), now)?;
            writeln!(output, "{}", token.reveal())?;
        }
        "list" => {
            for token in tokens.list(now)? {
                writeln!(output, "{}", line(&token, now))?;
            }
        }
        _ => {
            let id = matches.get_one::<String>("id").cloned().unwrap_or_default();
            let token = tokens.revoke(&id, now)?;
            writeln!(output, "{}", line(&token, now))?;
        }
    }
    Ok(())
}

fn wanted(matches: &ArgMatches) -> NewJoinToken {
    let labels = matches.get_many::<(String, String)>("label");
    let lifetime = matches.get_one::<u64>("lifetime").copied();
    NewJoinToken {
        node_uuid: matches.get_one::<String>("node").cloned(),
        labels: labels
            .into_iter()
            .flatten()
            .cloned()
            .collect::<BTreeMap<_, _>>(),
        max_uses: matches.get_one::<u32>("uses").copied().unwrap_or(1),
        lifetime: lifetime.map_or(USUAL_LIFE, Duration::from_secs),
    }
}

/// A token in one line: what begins a word says what it is.
fn line(token: &JoinTokenRecord, now: UnixTime) -> String {
    let state = if token.revoked {
        "revoked".to_owned()
    } else {
        match token.expires_at.checked_sub(now.as_secs()) {
            None | Some(0) => "ended".to_owned(),
            Some(left) => format!("ends-in={left}s"),
        }
    };
    let node = token.node_uuid.as_deref().unwrap_or("any");
    let mut line = format!(
        "{} node={node} uses={}/{} {state}",
        token.id, token.uses, token.max_uses
    );
    for (key, value) in &token.labels {
        line.push_str(&format!(" label={}", printable(&format!("{key}={value}"))));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> Result<String, String> {
        let matches = clap_command().try_get_matches_from(words);
        let matches = matches.map_err(|error| error.to_string())?;
        let mut output = Vec::new();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1000));
        run(&matches, now, &mut output).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn a_token_is_made_listed_and_revoked() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path().to_str().unwrap();
        let node = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        let made = said(&[
            NAME,
            "create",
            "--state_dir",
            state,
            "--node",
            node,
            "--uses",
            "3",
            "--label",
            "rack=a",
        ]);
        let made = made.unwrap();
        let (id, secret) = made.trim().split_once('.').unwrap();
        let listed = said(&[NAME, "list", "--state-dir", state]).unwrap();
        let expected = format!("{id} node={node} uses=0/3 ends-in=3600s label=rack=a\n");
        assert_eq!(listed, expected);
        assert!(!listed.contains(secret));
        let revoked = said(&[NAME, "revoke", "--state_dir", state, id]).unwrap();
        assert!(revoked.contains(" revoked"), "{revoked}");
        let missing = said(&[NAME, "revoke", "--state_dir", state, "nobody"]).unwrap_err();
        assert_eq!(missing, "there is no join token nobody");
        for wrong in ["--label=rack", "--uses=0", "--lifetime=0", "--node=x"] {
            said(&[NAME, "create", "--state_dir", state, wrong]).unwrap_err();
        }
    }
}
