//! `sekisho gateway` and `sekisho client`: from the file to the running process.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;

use sekisho_config::{Config, LogLevel, Role};

use super::{Exit, Serve, failed, load};
use crate::{logging, runtime};

pub(super) fn gateway(serve: &Serve) -> Exit {
    match load(&serve.config) {
        Ok(Config::Gateway(config)) => {
            ended(config.node.log.level, || runtime::run_gateway(config, &serve.config))
        }
        Ok(other) => wrong_role(&serve.config, other.role()),
        Err(exit) => exit,
    }
}

pub(super) fn client(serve: &Serve) -> Exit {
    match load(&serve.config) {
        Ok(Config::Client(config)) => {
            ended(config.node.log.level, || runtime::run_client(config, &serve.config))
        }
        Ok(other) => wrong_role(&serve.config, other.role()),
        Err(exit) => exit,
    }
}

/// Runs a process to its end, with its log switched on first.
fn ended<E: Display>(level: LogLevel, run: impl FnOnce() -> Result<(), E>) -> Exit {
    logging::start(level);
    match run() {
        Ok(()) => Exit::Ok,
        Err(error) => failed(error),
    }
}

fn wrong_role(file: &Path, role: Role) -> Exit {
    let command = match role {
        Role::Gateway => "gateway",
        Role::Client => "client",
        Role::Kdc => "kdc serve",
    };
    let file = file.display();
    let _ = writeln!(
        std::io::stderr().lock(),
        "sekisho: {file} is the file of a {role}: sekisho {command} --config {file}"
    );
    Exit::Usage
}
