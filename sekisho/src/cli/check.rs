//! `sekisho check`: every error of a configuration file, or what it says.

use sekisho_config::{Config, ConfigError};
use serde_json::{Map, Value, json};

use super::{Check, Exit, print, print_json};

pub(super) fn check(arguments: &Check) -> Exit {
    let file = arguments.file.display().to_string();
    let result = Config::load(&arguments.file);
    let exit = if result.is_ok() { Exit::Ok } else { Exit::Failed };
    if arguments.json {
        print_json(&report(&file, &result));
        return exit;
    }
    match result {
        Ok(config) => print(&format!("{file}: {}: no errors\n", summary(&config))),
        // The errors are the answer, so they go where answers go.
        Err(error) => print(&format!("{error}\n")),
    }
    exit
}

fn report(file: &str, result: &Result<Config, ConfigError>) -> Value {
    let mut report = json!({ "schema": 1, "file": file, "valid": result.is_ok() });
    match result {
        Ok(config) => {
            let settings = config
                .settings()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), Value::String(value)));
            report["role"] = json!(config.role());
            report["settings"] = Value::Object(settings.collect::<Map<_, _>>());
            report["services"] = json!(config.node().map(|node| &node.services));
            report["errors"] = json!([]);
        }
        Err(ConfigError::Invalid(invalid)) => report["errors"] = json!(invalid.diagnostics),
        Err(error) => report["errors"] = json!([{ "message": error.to_string() }]),
    }
    report
}

fn summary(config: &Config) -> String {
    match config {
        Config::Gateway(gateway) => format!(
            "gateway {}, {}, {}",
            gateway.node.device.id,
            counted(gateway.node.services.len(), "service"),
            counted(gateway.kdc.servers.len(), "KDC")
        ),
        Config::Client(client) => {
            format!(
                "client {}, {}",
                client.node.device.id,
                counted(client.node.services.len(), "service")
            )
        }
        Config::Kdc(kdc) => {
            format!(
                "kdc, {}, {}",
                counted(kdc.gateways.len(), "gateway"),
                counted(kdc.permits.len(), "permit")
            )
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
