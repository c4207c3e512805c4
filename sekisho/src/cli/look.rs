//! `sekisho status`, `sessions` and `close`: ask a running process and show its answer.

use std::path::PathBuf;

use super::{Close, Exit, Look, Meant, Sessions, Where, failed, load, print, print_json};
use crate::admin::{AdminError, Answer, Command, Which, ask, find_socket};
use crate::status::json::{closed_json, sessions_json, status_json};
use crate::status::table::{sessions_text, status_text};

pub(super) fn status(look: &Look) -> Exit {
    let answer = match answer(&look.at, Command::Status) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let Answer::Status(status) = answer else { return other_answer() };
    if look.json {
        print_json(&status_json(&status));
    } else {
        print(&status_text(&status));
    }
    if status.degraded() { Exit::Degraded } else { Exit::Ok }
}

pub(super) fn sessions(sessions: &Sessions) -> Exit {
    let command = Command::Sessions { limit: Some(sessions.limit) };
    let answer = match answer(&sessions.look.at, command) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let Answer::Sessions(list) = answer else { return other_answer() };
    if sessions.look.json {
        print_json(&sessions_json(&list));
    } else {
        print(&sessions_text(&list));
    }
    Exit::Ok
}

pub(super) fn close(close: &Close) -> Exit {
    let Meant { all, client, server } = close.which;
    let answer = match answer(&close.look.at, Command::Close(Which { all, client, server })) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let Answer::Closed(sessions) = answer else { return other_answer() };
    if close.look.json {
        print_json(&closed_json(sessions));
    } else {
        print(&format!("{sessions} sessions closed\n"));
    }
    Exit::Ok
}

/// The socket that the arguments name, or the only one there is.
pub(super) fn socket(at: &Where) -> Result<PathBuf, Exit> {
    match (&at.socket, &at.config) {
        (Some(socket), _) => Ok(socket.clone()),
        (None, Some(file)) => load(file).map(|config| config.admin().socket.clone()),
        (None, None) => find_socket().map_err(|error| match error {
            AdminError::SeveralSockets(_) => {
                failed(error);
                Exit::Usage
            }
            error => failed(error),
        }),
    }
}

fn answer(at: &Where, command: Command) -> Result<Answer, Exit> {
    ask(&socket(at)?, command).map_err(failed)
}

fn other_answer() -> Exit {
    failed(
        "the running process answers something else than what was asked; are both programs of one version?",
    )
}
