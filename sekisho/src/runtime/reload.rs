//! SIGHUP: the file is read and checked again, and the difference applied. A bad file, or one that
//! needs a restart, changes nothing.

use sekisho_config::{Change, Config};

use super::assemble;
use super::kdc_links::KdcLinks;
use super::node::Node;

impl Node {
    /// Reads the configuration again and applies what differs.
    pub(super) fn reload(&mut self) {
        match self.try_reload() {
            Ok(changes) => {
                self.reloads.applied += 1;
                self.reloads.last_error = None;
                for change in &changes {
                    tracing::info!(%change, "reload");
                }
                tracing::info!(changes = changes.len(), "configuration reloaded");
            }
            Err(error) => {
                self.reloads.refused += 1;
                tracing::error!("reload refused, the old configuration stays in effect:\n{error}");
                self.reloads.last_error = Some(error);
            }
        }
    }

    fn try_reload(&mut self) -> Result<Vec<Change>, String> {
        let new = Config::load(&self.path).map_err(|error| error.to_string())?;
        let changes = self.config.changes_to(&new).map_err(|error| error.to_string())?;
        for change in &changes {
            self.apply(change)?;
        }
        self.config = new;
        Ok(changes)
    }

    fn apply(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Services { now, .. } => {
                // More is protected in between, never less: workers refuse what they do not know yet.
                let next = self.services.reloaded(now);
                self.ports.update_services(&next.for_ports()).map_err(|error| error.to_string())?;
                self.services = next;
                self.control.forget_pins();
                self.publish_services();
            }
            Change::KdcAccess(access) => {
                if let Some(gateway) = self.control.gateway_mut() {
                    gateway.replace_kdcs(assemble::requester(access), access.servers.len());
                    self.kdc = KdcLinks::new(access);
                }
            }
            Change::LogLevel { to, .. } => crate::logging::set_level(*to),
            // Of the KDC's own file.
            Change::KdcPolicy { .. } | Change::KeyLifetime(_) => {}
        }
        Ok(())
    }
}
