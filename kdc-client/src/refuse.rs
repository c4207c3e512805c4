//! The table of coded refusals: number on the wire, label for metrics and logs, help for people.
//!
//! Owns the one table; does not decide when a code applies.

use std::fmt;

macro_rules! refuse_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $label:literal, $help:literal;)+) => {
        /// Why a key delivery or a KDC request was refused (spec §4.6). On the wire a u16.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum RefuseCode {
            $($(#[doc = $doc])+ $variant = $code,)+
        }

        impl RefuseCode {
            /// Every code, in order of its number.
            pub const ALL: &'static [RefuseCode] = &[$(RefuseCode::$variant,)+];

            /// The code of a number from the wire; unknown numbers become [`RefuseCode::Internal`],
            /// so that a newer peer's refusal is still a refusal.
            #[must_use]
            pub fn from_wire(number: u16) -> RefuseCode {
                match number {
                    $($code => RefuseCode::$variant,)+
                    _ => RefuseCode::Internal,
                }
            }

            /// The name in metrics, logs and JSON (snake case, stable).
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(RefuseCode::$variant => $label,)+ }
            }

            /// What to do about it, one sentence for a person.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(RefuseCode::$variant => $help,)+ }
            }
        }
    };
}

refuse_codes! {
    /// The KDC knows no client of this identifier and key version.
    UnknownDevice = 1, "unknown_device", "register the client at the KDC: sekisho kdc device add";
    /// The client is registered and disabled.
    RevokedDevice = 2, "revoked_device", "the client was revoked at the KDC; enable it or give it a new key";
    /// The client's authenticator does not verify under its registered key.
    WrongKey = 3, "wrong_key", "the client's key file and key version must equal what the KDC holds";
    /// The KDC knows no gateway of this identifier, or its request does not verify.
    UnknownGateway = 4, "unknown_gateway", "register the gateway at the KDC and check its key file and key version";
    /// The client may not reach this gateway or service.
    NotPermitted = 5, "not_permitted", "add a permit for this client and gateway to the KDC's configuration";
    /// The gateway does not serve the named service.
    ServiceNotServed = 6, "service_not_served", "list the service under the gateway in the KDC's configuration";
    /// No KDC answered in time.
    KdcUnavailable = 7, "kdc_unavailable", "check that a KDC is running and reachable from the gateway";
    /// The cookie is stale, foreign or forged.
    BadCookie = 8, "bad_cookie", "the gateway restarted or the client's address changed; a new attempt mends it";
    /// A message could not be understood.
    Malformed = 9, "malformed", "both ends must run the same version of the protocol";
    /// A budget or table is exhausted.
    Overloaded = 10, "overloaded", "raise the budgets or find the source of the flood";
    /// The service that the client dialled is not the one its SYN went to.
    ServiceMismatch = 11, "service_mismatch", "under destination NAT configure the service by name at client and gateway";
    /// The request option that the client sent is not the one that arrived.
    OptionMismatch = 12, "option_mismatch", "a middlebox rewrites TCP options on the path";
    /// The version of the protocol is not supported.
    VersionUnsupported = 13, "version_unsupported", "upgrade the older end";
    /// An error inside the refusing party, or a code that this version does not know.
    Internal = 14, "internal", "see the log of the refusing party";
    /// The deadline passed without an answer.
    Timeout = 15, "timeout", "check that UDP of the key-delivery port passes between client and gateway";
    /// The connection ended before its key delivery did.
    Closed = 16, "closed", "the application gave up before the key delivery ended";
    /// The KDC answered with something that does not verify.
    BadReply = 17, "bad_reply", "the KDC's answer did not verify; check the gateway's key file and the path to the KDC";
}

impl RefuseCode {
    /// The number on the wire.
    #[must_use]
    pub fn to_wire(self) -> u16 {
        self as u16
    }

    /// Whether the same request may succeed when it is repeated unchanged.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            RefuseCode::KdcUnavailable
                | RefuseCode::Overloaded
                | RefuseCode::Internal
                | RefuseCode::Timeout
                | RefuseCode::BadReply
        )
    }
}

impl fmt::Display for RefuseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How an exchange with the KDC failed, told apart by blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KdcFailure {
    /// No KDC gave a valid answer within the time allowed.
    #[error("no KDC answered in time")]
    Unavailable,
    /// A KDC refused.
    #[error("the KDC refused: {0}")]
    Refused(RefuseCode),
    /// Too many exchanges of our own are in flight; nothing was sent.
    #[error("too many requests to the KDC are in flight")]
    Overloaded,
    /// The caller's mistake: a message too long, or an exchange that is in flight already.
    #[error("not a request, or one that is in flight already")]
    Misuse,
}

impl KdcFailure {
    /// The code that clients and metrics see.
    #[must_use]
    pub fn code(self) -> RefuseCode {
        match self {
            KdcFailure::Unavailable => RefuseCode::KdcUnavailable,
            KdcFailure::Refused(code) => code,
            KdcFailure::Overloaded => RefuseCode::Overloaded,
            KdcFailure::Misuse => RefuseCode::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_labels_are_unique_and_round_trip() {
        let labels: BTreeSet<_> = RefuseCode::ALL.iter().map(|c| c.label()).collect();
        assert_eq!(labels.len(), RefuseCode::ALL.len());
        for code in RefuseCode::ALL {
            assert_eq!(RefuseCode::from_wire(code.to_wire()), *code);
            assert!(!code.help().is_empty());
        }
        assert_eq!(RefuseCode::from_wire(0), RefuseCode::Internal);
        assert_eq!(RefuseCode::from_wire(u16::MAX), RefuseCode::Internal);
    }
}
