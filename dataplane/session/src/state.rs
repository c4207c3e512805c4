//! The life of a session: one table of transitions (spec section 7).
//!
//! Owns: states, inputs, what follows. Not: who finds an input out (dataplane, key delivery), nor
//! what else is done about it (the table wipes keys, the worker frees held frames).

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// A SYN with a cipher request was seen.
    Requested,
    /// The gateway's INVITE was sent or received.
    Invited,
    /// The client's IDENTIFY was sent or accepted.
    Identified,
    /// Traffic keys are installed; nothing but the handshake passes.
    Keyed,
    /// Both ends are known to hold the keys; segments are sealed and opened.
    Synced,
    /// Torn down; late segments are still sealed and opened, until the linger ends.
    Draining,
}

impl State {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, in order of life.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Requested,
        Self::Invited,
        Self::Identified,
        Self::Keyed,
        Self::Synced,
        Self::Draining,
    ];

    /// Name in metrics and in `sekisho sessions`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Invited => "invited",
            Self::Identified => "identified",
            Self::Keyed => "keyed",
            Self::Synced => "synced",
            Self::Draining => "draining",
        }
    }

    /// What it means, one sentence for people.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Requested => "A SYN with a cipher request was seen.",
            Self::Invited => "The gateway's INVITE was sent or received.",
            Self::Identified => "The client's IDENTIFY was sent or accepted.",
            Self::Keyed => "Keys are installed; nothing but the handshake passes.",
            Self::Synced => "Both ends hold the keys; segments are sealed and opened.",
            Self::Draining => "Torn down; late segments are still sealed and opened.",
        }
    }

    /// Place in [`State::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// True before keys are installed.
    #[must_use]
    pub const fn is_unkeyed(self) -> bool {
        matches!(self, Self::Requested | Self::Invited | Self::Identified)
    }
}

/// What can happen to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Input {
    /// INVITE was sent or received.
    Invited,
    /// IDENTIFY was sent or accepted.
    Identified,
    /// Traffic keys were handed over.
    Keyed,
    /// Both ends hold the keys: `confirm_g` at the client; SYNC or a first verified tag at the
    /// gateway.
    Synchronised,
    /// Key delivery failed or was refused.
    Failed,
    /// Set-up took longer than the worker waits.
    SetupExpired,
    /// A RST that answers the SYN was sealed, or verified (hazard 39).
    SynRefused,
    /// A RST was sealed or verified where the receiver takes it
    /// ([`reset_takes_effect`](crate::HalfConn::reset_takes_effect)).
    Reset,
    /// Both FINs were sealed or verified, and acknowledged.
    FinsAcknowledged,
    /// Nothing authentic was seen for the idle limit.
    IdleExpired,
    /// The operator ends it.
    Closed,
    /// The linger of a draining session is over.
    LingerExpired,
    /// A candidate on the same tuple has synchronised (hazard 15).
    Displaced,
}

impl Input {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Invited,
        Self::Identified,
        Self::Keyed,
        Self::Synchronised,
        Self::Failed,
        Self::SetupExpired,
        Self::SynRefused,
        Self::Reset,
        Self::FinsAcknowledged,
        Self::IdleExpired,
        Self::Closed,
        Self::LingerExpired,
        Self::Displaced,
    ];
}

/// What an input does to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Transition {
    /// Nothing new.
    Stay,
    /// The session goes on in this state.
    To(State),
    /// The session ends; its keys are wiped.
    Gone,
    /// The input cannot hold here (stale or out of order); nothing changes.
    Refuse,
}

/// The table.
pub const fn next(state: State, input: Input) -> Transition {
    use Transition::{Gone, Refuse, Stay, To};
    match state {
        State::Requested | State::Invited | State::Identified => opening(state, input),
        State::Keyed => match input {
            Input::Synchronised => To(State::Synced),
            Input::SynRefused => To(State::Draining),
            Input::Failed | Input::SetupExpired | Input::Closed | Input::Displaced => Gone,
            Input::Invited | Input::Identified => Stay,
            Input::Keyed
            | Input::Reset
            | Input::FinsAcknowledged
            | Input::IdleExpired
            | Input::LingerExpired => Refuse,
        },
        State::Synced => match input {
            Input::SynRefused
            | Input::Reset
            | Input::FinsAcknowledged
            | Input::IdleExpired
            | Input::Closed => To(State::Draining),
            Input::Displaced => Gone,
            Input::Invited | Input::Identified | Input::Synchronised => Stay,
            // A late failure of key delivery ends nothing: both ends are known to hold the keys.
            Input::Keyed | Input::Failed | Input::SetupExpired | Input::LingerExpired => Refuse,
        },
        State::Draining => match input {
            Input::LingerExpired | Input::Displaced => Gone,
            Input::Keyed | Input::SetupExpired => Refuse,
            Input::Invited
            | Input::Identified
            | Input::Synchronised
            | Input::Failed
            | Input::SynRefused
            | Input::Reset
            | Input::FinsAcknowledged
            | Input::IdleExpired
            | Input::Closed => Stay,
        },
    }
}

/// The states without keys. A worker is not told of every step of key delivery, so steps may be
/// left out, but none leads back.
const fn opening(state: State, input: Input) -> Transition {
    use Transition::{Gone, Refuse, Stay, To};
    match input {
        Input::Invited => match state {
            State::Requested => To(State::Invited),
            _ => Stay,
        },
        Input::Identified => match state {
            State::Identified => Stay,
            _ => To(State::Identified),
        },
        Input::Keyed => To(State::Keyed),
        Input::Failed | Input::SetupExpired | Input::Closed | Input::Displaced => Gone,
        Input::Synchronised
        | Input::SynRefused
        | Input::Reset
        | Input::FinsAcknowledged
        | Input::IdleExpired
        | Input::LingerExpired => Refuse,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn matrix() {
        let mut text = String::new();
        for input in Input::ALL {
            writeln!(text, "{input:?}").unwrap();
            for state in State::ALL {
                let transition = match next(state, input) {
                    Transition::To(to) => format!("→ {to:?}"),
                    other => format!("{other:?}"),
                };
                writeln!(text, "  {:<11}{transition}", format!("{state:?}")).unwrap();
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn no_transition_leads_back() {
        for state in State::ALL {
            for input in Input::ALL {
                if let Transition::To(to) = next(state, input) {
                    assert!(to.index() > state.index(), "{state:?} + {input:?} → {to:?}");
                }
            }
        }
    }

    #[test]
    fn every_state_ends() {
        // Whatever happens, the waits alone bring a session to its end.
        for mut state in State::ALL {
            let mut ended = false;
            for input in [Input::SetupExpired, Input::IdleExpired, Input::LingerExpired] {
                match next(state, input) {
                    Transition::To(to) => state = to,
                    Transition::Gone => ended = true,
                    Transition::Stay | Transition::Refuse => {}
                }
            }
            assert!(ended, "{state:?}");
        }
    }

    #[test]
    fn indices_and_order_agree() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state.index(), index);
        }
        for (index, input) in Input::ALL.into_iter().enumerate() {
            assert_eq!(input as usize, index);
        }
    }
}
