//! `sekisho doctor`: gather what there is to examine, show the findings.

use super::{Doctor, Exit, load, print, print_json};
use crate::admin::{AdminError, Answer, Command, ask, find_socket};
use crate::doctor::{Asked, Verdict, examine, json, text, worst};

pub(super) fn doctor(doctor: &Doctor) -> Exit {
    let config = match &doctor.config {
        None => None,
        Some(file) => match load(file) {
            Ok(config) => Some((file.as_path(), config)),
            Err(exit) => return exit,
        },
    };
    let config = config.as_ref().map(|(file, config)| (*file, config));
    // Without any hint a process is asked if there is exactly one.
    let socket = match (&doctor.socket, config) {
        (Some(socket), _) => Some(socket.clone()),
        (None, Some((_, config))) => Some(config.admin().socket.clone()),
        (None, None) => find_socket().ok(),
    };
    let asked: Option<Asked> = socket.map(|socket| match ask(&socket, Command::Status) {
        Ok(Answer::Status(status)) => Ok(*status),
        Ok(_) => Err(AdminError::Refused("the running process answers something else".into())),
        Err(error) => Err(error),
    });
    let findings = examine(config, asked.as_ref());
    if doctor.json {
        print_json(&json(&findings));
    } else {
        print(&text(&findings));
    }
    match worst(&findings) {
        Verdict::Pass => Exit::Ok,
        Verdict::Warn => Exit::Degraded,
        Verdict::Fail => Exit::Failed,
    }
}
