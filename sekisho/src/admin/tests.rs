//! The protocol without I/O, and both ends over a real socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use super::client::find_socket_in;
use super::*;
use crate::status::SessionRow;
use crate::status::tests::gateway;

/// A process with as many sessions as one asks for.
struct Fixed;

impl StatusSource for Fixed {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        Ok(gateway())
    }

    fn sessions(&self, limit: usize) -> Result<SessionList, Unanswered> {
        Ok(SessionList { total: 1_000_000, sessions: vec![SessionRow::default(); limit] })
    }

    fn close(&self, which: &Which) -> Result<u64, Unanswered> {
        Ok(if which.all { 1_000_000 } else { 1 })
    }
}

struct Silent;

impl StatusSource for Silent {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        Err(Unanswered)
    }

    fn sessions(&self, _: usize) -> Result<SessionList, Unanswered> {
        Err(Unanswered)
    }

    fn close(&self, _: &Which) -> Result<u64, Unanswered> {
        Err(Unanswered)
    }
}

fn answer_to(request: &str) -> Answer {
    serde_json::from_str(&handle(request, &Fixed)).unwrap()
}

fn code(answer: Answer) -> RefusalCode {
    match answer {
        Answer::Error(refusal) => refusal.code,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn requests_have_the_documented_form() {
    let text = |command| serde_json::to_string(&Request { version: VERSION, command }).unwrap();
    assert_eq!(text(Command::Status), r#"{"version":1,"command":"status"}"#);
    assert_eq!(
        text(Command::Sessions { limit: Some(5) }),
        r#"{"version":1,"command":"sessions","limit":5}"#
    );
    let client = Some("10.0.1.5:40000".parse().unwrap());
    assert_eq!(
        text(Command::Close(Which { all: false, client, server: None })),
        r#"{"version":1,"command":"close","all":false,"client":"10.0.1.5:40000","server":null}"#
    );
}

#[test]
fn status_is_answered() {
    assert_eq!(
        answer_to(r#"{"version":1,"command":"status"}"#),
        Answer::Status(Box::new(gateway()))
    );
}

#[test]
fn sessions_are_limited() {
    let count = |request: &str| match answer_to(request) {
        Answer::Sessions(list) => list.sessions.len(),
        other => panic!("expected sessions, got {other:?}"),
    };
    assert_eq!(count(r#"{"version":1,"command":"sessions","limit":3}"#), 3);
    assert_eq!(count(r#"{"version":1,"command":"sessions"}"#), DEFAULT_SESSIONS);
    assert_eq!(count(r#"{"version":1,"command":"sessions","limit":99999999}"#), MAX_SESSIONS);
}

#[test]
fn sessions_are_closed_by_address() {
    let request = r#"{"version":1,"command":"close","all":false,"server":"10.0.2.10"}"#;
    assert_eq!(answer_to(request), Answer::Closed(1));
    assert_eq!(handle(request, &Fixed), r#"{"closed":1}"#);
    for request in [
        r#"{"version":1,"command":"close","all":false,"server":"10.0.2"}"#,
        r#"{"version":1,"command":"close","server":"10.0.2.10"}"#,
    ] {
        assert_eq!(code(answer_to(request)), RefusalCode::BadRequest);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for request in ["", "status", "{}x", "[]", "\u{0}"] {
        let code = code(answer_to(request));
        assert!(
            matches!(code, RefusalCode::BadRequest | RefusalCode::Version),
            "{request}: {code:?}"
        );
    }
    assert_eq!(code(answer_to(r#"{"version":1,"command":"reboot"}"#)), RefusalCode::BadRequest);
    assert_eq!(
        code(answer_to(r#"{"version":1,"command":"sessions","limit":-1}"#)),
        RefusalCode::BadRequest
    );
    assert_eq!(code(answer_to(r#"{"version":2,"command":"status"}"#)), RefusalCode::Version);
    assert_eq!(code(answer_to(r#"{"command":"status"}"#)), RefusalCode::Version);
}

#[test]
fn a_silent_control_loop_is_an_answer() {
    let reply = handle(r#"{"version":1,"command":"status"}"#, &Silent);
    assert_eq!(code(serde_json::from_str(&reply).unwrap()), RefusalCode::Unanswered);
}

#[test]
fn both_ends_meet_over_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/for/it/gw1.sock");
    let server = AdminServer::start(&path, Arc::new(Fixed)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for _ in 0..3 {
        assert_eq!(ask(&path, Command::Status).unwrap(), Answer::Status(Box::new(gateway())));
    }
    let Answer::Sessions(list) =
        ask(&path, Command::Sessions { limit: Some(MAX_SESSIONS) }).unwrap()
    else {
        panic!("sessions were asked for")
    };
    assert_eq!(list.sessions.len(), MAX_SESSIONS);
    drop(server);
    assert!(!path.exists(), "the socket goes with its server");
    assert!(matches!(ask(&path, Command::Status), Err(AdminError::Unreachable { .. })));
}

#[test]
fn bad_clients_do_not_stop_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gw1.sock");
    let _server = AdminServer::start(&path, Arc::new(Fixed)).unwrap();
    drop(UnixStream::connect(&path).unwrap());
    let mut endless = UnixStream::connect(&path).unwrap();
    let _ = endless.write_all(&[b'x'; 3 * MAX_REQUEST]);
    let mut reply = Vec::new();
    let _ = endless.read_to_end(&mut reply);
    assert!(reply.is_empty(), "what is no line gets no answer");
    let mut binary = UnixStream::connect(&path).unwrap();
    binary.write_all(b"\xff\xfe\n").unwrap();
    binary.read_to_end(&mut reply).unwrap();
    assert!(reply.ends_with(b"}\n"));
    assert!(ask(&path, Command::Status).is_ok());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gw1.sock");
    drop(UnixListener::bind(&path).unwrap());
    let first = AdminServer::start(&path, Arc::new(Fixed)).unwrap();
    assert!(matches!(AdminServer::start(&path, Arc::new(Fixed)), Err(AdminServerError::InUse(_))));
    assert!(ask(&path, Command::Status).is_ok());
    drop(first);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(
        AdminServer::start(&path, Arc::new(Fixed)),
        Err(AdminServerError::NoSocket(_))
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn the_only_socket_is_found() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(find_socket_in(directory.path()), Err(AdminError::NoSocket)));
    let first = directory.path().join("a.sock");
    let _first = UnixListener::bind(&first).unwrap();
    std::fs::write(directory.path().join("b.sock"), "").unwrap();
    assert_eq!(find_socket_in(directory.path()).unwrap(), first);
    let _second = UnixListener::bind(directory.path().join("c.sock")).unwrap();
    let error = find_socket_in(directory.path()).unwrap_err().to_string();
    assert!(error.contains("a.sock, c.sock"), "{error}");
}
