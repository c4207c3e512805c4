//! The exporter thread: `/metrics` over HTTP, one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tiny_http::{Header, Method, Request, Response, Server};

use super::Metrics;
use crate::admin::StatusSource;

/// Content type of the Prometheus text format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The address cannot be listened on.
    #[error(
        "metrics on {address}: {reason}; free the address, or choose another `listen` in [metrics]"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        reason: String,
    },
    /// The metrics themselves are not valid.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No thread.
    #[error("metrics: no thread: {0}")]
    Thread(std::io::Error),
}

/// The running exporter; dropping it ends the thread; the address is free a moment later.
pub struct Exporter {
    server: Arc<Server>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Serves the metrics of `source` on `address`.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(
        address: SocketAddr,
        source: Arc<dyn StatusSource>,
    ) -> Result<Self, ExporterError> {
        let metrics = Metrics::new()?;
        let failed = |reason: String| ExporterError::Listen { address, reason };
        let server = Arc::new(Server::http(address).map_err(|error| failed(error.to_string()))?);
        // Port 0 gets one from the system; a TCP server always has an IP address.
        let address = server.server_addr().to_ip().unwrap_or(address);
        let serving = Arc::clone(&server);
        let run = move || {
            for request in serving.incoming_requests() {
                respond(request, &metrics, source.as_ref());
            }
        };
        let thread = std::thread::Builder::new().name("sekisho-metrics".into()).spawn(run);
        Ok(Self { server, address, thread: Some(thread.map_err(ExporterError::Thread)?) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported by its hook.
            let _ = thread.join();
        }
    }
}

fn respond(request: Request, metrics: &Metrics, source: &dyn StatusSource) {
    let (code, body) = answer(request.method(), request.url(), metrics, source);
    let mut response = Response::from_string(body).with_status_code(code);
    if let Ok(header) = Header::from_bytes("Content-Type", CONTENT_TYPE) {
        response.add_header(header);
    }
    if let Err(error) = request.respond(response) {
        tracing::debug!(%error, "a scraper went away");
    }
}

fn answer(
    method: &Method,
    url: &str,
    metrics: &Metrics,
    source: &dyn StatusSource,
) -> (u16, String) {
    let path = url.split('?').next().unwrap_or(url);
    match (method, path) {
        (Method::Get | Method::Head, "/metrics") => {}
        (Method::Get | Method::Head, _) => return (404, "the metrics are at /metrics\n".into()),
        _ => return (405, "only GET\n".into()),
    }
    let status = match source.status() {
        Ok(status) => status,
        Err(unanswered) => return (503, format!("{unanswered}\n")),
    };
    match metrics.render(status) {
        Ok(text) => (200, text),
        Err(error) => (500, format!("{error}\n")),
    }
}
