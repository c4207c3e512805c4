//! The program as a person meets it: output, exit codes, and a running process on the other end of the socket.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use sekisho::admin::{AdminServer, StatusSource, Unanswered, Which};
use sekisho::status::{Counted, ProcessState, SessionList, SessionRow, StatusSnapshot};
use serde_json::Value;

fn sekisho(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command.args(arguments).stdin(Stdio::null()).output().expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("errors are UTF-8")
}

fn example(name: &str) -> String {
    format!("{}/../config/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn check_accepts_the_examples() {
    for (name, said) in [
        ("gateway.toml", "gateway name:gw1, 3 services, 2 KDCs: no errors"),
        ("client.toml", "client name:alice, 2 services: no errors"),
        ("kdc.toml", "kdc, 1 gateway, 2 permits: no errors"),
    ] {
        let output = sekisho(&["check", &example(name)]);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).ends_with(&format!("{said}\n")), "{}", out(&output));
        let output = sekisho(&["check", "--json", &example(name)]);
        assert_eq!(json(&output)["valid"], true);
        assert_eq!(json(&output)["errors"], Value::Array(Vec::new()));
    }
}

#[test]
fn check_shows_each_error_with_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("gw.toml");
    let text = std::fs::read_to_string(example("gateway.toml")).expect("the example");
    std::fs::write(
        &file,
        text.replace("cipher = \"eth0\"", "cypher = \"eth0\"").replace("count = 2", "count = 0"),
    )
    .expect("written");
    let path = file.display().to_string();
    let output = sekisho(&["check", &path]);
    assert_eq!(output.status.code(), Some(1));
    let said = out(&output);
    assert!(said.contains(&format!("{path}:10:1: error: unknown key `cypher`")), "{said}");
    assert!(said.contains("hint: did you mean `cipher`?") && said.contains("2 errors"), "{said}");
    let output = sekisho(&["check", "--json", &path]);
    assert_eq!(output.status.code(), Some(1));
    let errors = json(&output)["errors"].clone();
    assert_eq!(errors[0]["line"], 10);
    assert_eq!(errors[0]["hint"], "did you mean `cipher`?");
    assert_eq!(errors[1]["message"], "`count` is out of range");
}

#[test]
fn check_names_a_missing_file() {
    let output = sekisho(&["check", "/nowhere/gw.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).starts_with("/nowhere/gw.toml: cannot be read"), "{}", out(&output));
    assert_eq!(json(&sekisho(&["check", "--json", "/nowhere/gw.toml"]))["valid"], false);
}

#[test]
fn usage_errors_have_their_own_code() {
    for arguments in
        [&["frobnicate"][..], &[], &["gateway"], &["status", "--socket", "/a", "--config", "/b"]]
    {
        assert_eq!(sekisho(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(sekisho(&["--help"]).status.code(), Some(0));
    assert!(out(&sekisho(&["--version"])).starts_with("sekisho "));
}

#[test]
fn the_file_of_another_role_is_a_usage_error() {
    let output = sekisho(&["gateway", "--config", &example("client.toml")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("is the file of a client: sekisho client --config"),
        "{}",
        err(&output)
    );
    let output = sekisho(&["client", "--config", &example("kdc.toml")]);
    assert!(err(&output).contains("sekisho kdc serve --config"), "{}", err(&output));
}

#[test]
fn a_bad_file_starts_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("gw.toml");
    std::fs::write(&file, "role = \"gateway\"\n").expect("written");
    let output = sekisho(&["gateway", "--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("a gateway needs a section [ports]"), "{}", err(&output));
}

/// A process with one session; degraded if it has a problem.
struct Running {
    problem: Option<&'static str>,
}

impl StatusSource for Running {
    fn status(&self) -> Result<StatusSnapshot, Unanswered> {
        let mut status = StatusSnapshot::default();
        status.process.role = "gateway".into();
        status.process.state = ProcessState::Running;
        status.process.problems.extend(self.problem.map(str::to_owned));
        status.sessions = vec![Counted::new("synced", "Ciphers.", 1)];
        Ok(status)
    }

    fn sessions(&self, limit: usize) -> Result<SessionList, Unanswered> {
        let row = SessionRow {
            client: "10.0.1.5:40000".into(),
            state: "synced".into(),
            ..SessionRow::default()
        };
        Ok(SessionList { total: 5, sessions: vec![row; limit.min(5)] })
    }

    fn close(&self, which: &Which) -> Result<u64, Unanswered> {
        let (client, server) = ("10.0.1.5:40000".parse(), "10.0.2.10:443".parse());
        let (client, server) = (client.expect("an address"), server.expect("an address"));
        Ok(if which.means(client, server) { 5 } else { 0 })
    }
}

fn running(directory: &Path, problem: Option<&'static str>) -> (AdminServer, String) {
    let socket = directory.join("gw1.sock");
    let server = AdminServer::start(&socket, Arc::new(Running { problem })).expect("the socket");
    (server, socket.display().to_string())
}

#[test]
fn status_and_sessions_ask_the_running_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, socket) = running(directory.path(), None);
    let output = sekisho(&["status", "--socket", &socket]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).starts_with("sekisho gateway: running"), "{}", out(&output));
    let status = json(&sekisho(&["status", "--json", "--socket", &socket]));
    assert_eq!(
        (&status["ready"], &status["sessions"]["synced"]),
        (&Value::Bool(true), &Value::from(1))
    );

    let output = sekisho(&["sessions", "--limit", "2", "--socket", &socket]);
    assert!(out(&output).ends_with("2 of 5 sessions\n"), "{}", out(&output));
    let sessions = json(&sekisho(&["sessions", "--json", "--socket", &socket]));
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(5));
    assert_eq!(sessions["sessions"][0]["client"], "10.0.1.5:40000");

    let output = sekisho(&["close", "--client", "10.0.1.5", "--socket", &socket]);
    assert_eq!(out(&output), "5 sessions closed\n", "{}", err(&output));
    let closed = json(&sekisho(&["close", "--server", "::/0", "--json", "--socket", &socket]));
    assert_eq!(closed["closed"], 0);
    assert_eq!(sekisho(&["close", "--socket", &socket]).status.code(), Some(2));
}

#[test]
fn a_degraded_process_has_its_own_exit_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, socket) = running(directory.path(), Some("port eth1 is down"));
    let output = sekisho(&["status", "--socket", &socket]);
    assert_eq!(output.status.code(), Some(3));
    assert!(out(&output).contains("! port eth1 is down"), "{}", out(&output));
    let output = sekisho(&["status", "--json", "--socket", &socket]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json(&output)["problems"][0], "port eth1 is down");
}

#[test]
fn the_socket_can_be_named_by_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, socket) = running(directory.path(), None);
    let file = directory.path().join("gw.toml");
    let text = std::fs::read_to_string(example("gateway.toml")).expect("the example");
    std::fs::write(&file, text.replace("/run/sekisho/gw1.sock", &socket)).expect("written");
    let output = sekisho(&["status", "--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn a_process_that_does_not_run_is_said_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("gone.sock");
    drop(UnixListener::bind(&socket).expect("bound"));
    let output = sekisho(&["status", "--socket", &socket.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no running process answers"), "{}", err(&output));
}
