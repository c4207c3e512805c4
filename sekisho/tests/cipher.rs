//! The kernel that seals and opens is the one that was asked for: by the environment, else by the configuration.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const VARIABLE: &str = "SEKISHO_CIPHER";
/// Tells the child its file.
const FILE: &str = "SEKISHO_TEST_CLIENT_CONFIG";
/// What the child writes before the kernel's name.
const SAID: &str = "kernel in use: ";
/// Kernels that a CPU may lack.
const FAST: [&str; 3] = ["vaes512", "vaes256", "aesni"];

/// A client's file that asks for this kernel; whatever else starting needs lies beside it, but for the ports.
fn client(directory: &Path, kernel: &str) -> String {
    let place = directory.display();
    let file = format!("{place}/client.toml");
    let text = format!(
        "role = \"client\"\n\n\
         [device]\nid = \"name:alice\"\nkey_file = \"{place}/client.key\"\n\n\
         [ports]\ncipher = \"no-such-port-0\"\nplain = \"no-such-port-1\"\n\n\
         [workers]\ncipher = \"{kernel}\"\n\n\
         [[service]]\naddress = \"10.0.2.10\"\nports = [80]\npolicy = \"require\"\n\n\
         [metrics]\nlisten = \"off\"\n\n\
         [admin]\nsocket = \"{place}/client.sock\"\n\n\
         [pin]\ndirectory = \"{place}\"\n"
    );
    std::fs::write(&file, text).expect("written");
    sekisho_kdc::keyfile::write_new(&directory.join("client.key"), &[7; 32]).expect("a key file");
    file
}

/// Runs a program to its end; only `forced` decides what the variable says.
fn run(command: &mut Command, forced: Option<&str>) -> Output {
    command.env_remove(VARIABLE).envs(forced.map(|kernel| (VARIABLE, kernel)));
    command.stdin(Stdio::null()).output().expect("the program starts")
}

/// Verdict and words of `cpu.cipher` in `sekisho doctor`.
fn doctor(forced: Option<&str>, configured: &str) -> (String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = client(directory.path(), configured);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    let output = run(command.args(["doctor", "--json", "--config", &file]), forced);
    let said: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let mut findings = said["findings"].as_array().into_iter().flatten();
    let found = findings.find(|finding| finding["check"] == "cpu.cipher").expect("is checked");
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("what"))
}

/// The kernel after an agent was started so, up to its ports, which are not there.
fn started(forced: Option<&str>, configured: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "child_that_starts", "--ignored", "--nocapture"]);
    command.env(FILE, client(directory.path(), configured));
    let output = run(&mut command, forced);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let kernel = said.lines().find_map(|line| Some(line.split_once(SAID)?.1.to_owned()));
    assert!(kernel.is_some(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    kernel.unwrap_or_default()
}

/// Of [`FAST`] those that this CPU has, as `doctor` finds; it says of the others that they cannot be had.
fn fast() -> Vec<&'static str> {
    let has = |kernel: &&str| match doctor(Some(kernel), "auto") {
        (verdict, what) if verdict == "pass" && what == *kernel => true,
        (verdict, what) => {
            let wanted = format!("this CPU cannot run the cipher kernel `{kernel}`: use auto");
            assert_eq!((verdict.as_str(), what), ("fail", wanted));
            false
        }
    };
    FAST.into_iter().filter(has).collect()
}

#[test]
fn doctor_names_the_kernel_that_was_asked_for() {
    let fast = fast();
    for kernel in &fast {
        assert_eq!(doctor(None, kernel), ("pass".into(), (*kernel).into()));
        assert_eq!(doctor(Some(kernel), "portable"), ("pass".into(), (*kernel).into()));
    }
    let slow = ("warn".to_owned(), "portable: ciphering is slow".to_owned());
    assert_eq!(doctor(Some("portable"), "auto"), slow);
    assert_eq!(doctor(None, "portable"), slow);
    let fastest = fast.first().map_or(slow, |kernel| ("pass".into(), (*kernel).into()));
    assert_eq!(doctor(None, "auto"), fastest);
    assert_eq!(doctor(Some("auto"), "portable"), fastest);
}

#[test]
fn a_process_takes_the_kernel_that_was_asked_for() {
    let fast = fast();
    assert_eq!(started(None, "portable"), "portable");
    assert_eq!(started(Some("portable"), "auto"), "portable");
    assert_eq!(started(None, "auto"), fast.first().copied().unwrap_or("portable"));
    for kernel in fast {
        assert_eq!(started(None, kernel), kernel);
        assert_eq!(started(Some(kernel), "portable"), kernel);
    }
}

#[test]
fn a_name_that_no_kernel_has_is_refused() {
    let why =
        "no cipher kernel is called `vaes1024`: use auto, vaes512, vaes256, aesni or portable";
    assert_eq!(doctor(Some("vaes1024"), "portable"), ("fail".into(), why.into()));
    let directory = tempfile::tempdir().expect("a directory");
    let file = client(directory.path(), "portable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    let output = run(command.args(["client", "--config", &file]), Some("vaes1024"));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let mend = "see `[workers] cipher` and the environment variable SEKISHO_CIPHER";
    assert!(said.contains(&format!("{why}; {mend}")), "{said}");
}

/// Runs in the child that [`started`] starts: a process chooses once.
#[test]
#[ignore = "is what another test starts"]
fn child_that_starts() {
    let file = std::env::var(FILE).expect("a file is named");
    let config = sekisho_config::Config::load(Path::new(&file)).expect("the file is right");
    let sekisho_config::Config::Client(config) = config else { panic!("it is a client's file") };
    let ended = sekisho::runtime::run_client(config, Path::new(&file));
    let error = ended.expect_err("no ports of these names");
    assert!(matches!(error, sekisho::runtime::StartError::Ports(_)), "{error}");
    println!("{SAID}{}", sekisho_cipher::kernel_name());
}
