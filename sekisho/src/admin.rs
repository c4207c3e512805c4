//! The admin socket: what is asked, what is answered, and how the question reaches the control loop.
//!
//! One request and one reply, each a line of JSON. [`handle`] turns one into the other without any I/O; `server` is
//! its socket edge, `client` the other end.

mod client;
mod server;
mod which;

use serde::{Deserialize, Serialize};

pub use client::{AdminError, ask, find_socket};
pub use server::{AdminServer, AdminServerError};
pub use which::{Endpoint, NoEndpoint, Which};

use crate::status::{SessionList, StatusSnapshot};

/// Version of the protocol; a request of another version is refused.
pub const VERSION: u32 = 1;
/// Longest request line, in octets.
pub const MAX_REQUEST: usize = 4096;
/// Sessions in one reply, at most; a request for more gets this many.
pub const MAX_SESSIONS: usize = 10_000;
/// Sessions in a reply to a request that names no number.
pub const DEFAULT_SESSIONS: usize = 100;

/// Where answers come from: the handle of a control loop, a KDC, or a fixed snapshot in tests. Asked only when
/// somebody looks, so looking costs nothing while nobody does, and what is shown is never old.
pub trait StatusSource: Send + Sync {
    /// Everything at this moment.
    ///
    /// # Errors
    /// If the control loop does not answer.
    fn status(&self) -> Result<StatusSnapshot, Unanswered>;

    /// Up to `limit` sessions.
    ///
    /// # Errors
    /// If the control loop does not answer.
    fn sessions(&self, limit: usize) -> Result<SessionList, Unanswered>;

    /// Ends the sessions that are meant; how many there were.
    ///
    /// # Errors
    /// If the control loop does not answer.
    fn close(&self, which: &Which) -> Result<u64, Unanswered>;
}

/// The control loop did not answer in time, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control loop does not answer: it hangs or is ending; see the log")]
pub struct Unanswered;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is wanted.
    #[serde(flatten)]
    pub command: Command,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// The status.
    Status,
    /// Some sessions.
    Sessions {
        /// At most so many.
        limit: Option<usize>,
    },
    /// To end some sessions.
    Close(Which),
}

/// A reply: exactly one of its kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The status.
    Status(Box<StatusSnapshot>),
    /// Some sessions.
    Sessions(SessionList),
    /// So many sessions were ended.
    Closed(u64),
    /// Nothing, and why.
    Error(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
}

/// Why there is no answer, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The request is no request.
    BadRequest,
    /// The request is of another version.
    Version,
    /// The control loop does not answer.
    Unanswered,
}

/// The reply to one request line, as one line without its newline.
pub fn handle(request: &str, source: &dyn StatusSource) -> String {
    let answer = answer(request, source);
    serde_json::to_string(&answer).unwrap_or_else(|error| {
        // Only a map with keys that are no strings cannot be written, and there is none.
        format!(r#"{{"error":{{"code":"bad_request","message":"{error}"}}}}"#)
    })
}

fn answer(request: &str, source: &dyn StatusSource) -> Answer {
    let refuse = |code, message: String| Answer::Error(Refusal { code, message });
    // The version is looked at first: a request of another version need not look like ours.
    let request: serde_json::Value = match serde_json::from_str(request) {
        Ok(request) => request,
        Err(error) => return refuse(RefusalCode::BadRequest, format!("no JSON: {error}")),
    };
    let version = request.get("version").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(VERSION)) {
        let message = format!("this process speaks version {VERSION} of the admin protocol");
        return refuse(RefusalCode::Version, message);
    }
    let request: Request = match serde_json::from_value(request) {
        Ok(request) => request,
        Err(error) => return refuse(RefusalCode::BadRequest, error.to_string()),
    };
    let answer = match request.command {
        Command::Status => source.status().map(|status| Answer::Status(Box::new(status))),
        Command::Sessions { limit } => source
            .sessions(limit.unwrap_or(DEFAULT_SESSIONS).min(MAX_SESSIONS))
            .map(Answer::Sessions),
        Command::Close(which) => source.close(&which).map(Answer::Closed),
    };
    answer.unwrap_or_else(|unanswered| refuse(RefusalCode::Unanswered, unanswered.to_string()))
}

#[cfg(test)]
mod tests;
