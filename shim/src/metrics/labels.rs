//! The kinds of events that are counted: each is one value of one label.

/// The values of a label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// Every value.
    const ALL: &'static [Self];

    /// The value as it is served.
    fn word(self) -> &'static str;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $key:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}

label!(
    /// What became of a call of `Attach`.
    AttachOutcome, "outcome" {
        /// The agent is attached.
        Accepted = "accepted",
        /// No first message came in time, or none that makes sense.
        Invalid = "invalid",
        /// Nobody proved its token in time.
        Unproved = "unproved",
        /// Too many wait for a proof.
        TooMany = "too_many",
        /// A later attachment of the agent is here.
        Superseded = "superseded",
        /// This gateway is draining.
        Draining = "draining",
        /// The connection ended before the attachment began.
        Failed = "failed",
    }
);

label!(
    /// How the TLS handshake of an agent ended.
    HandshakeResult, "outcome" {
        /// Both sides trust each other.
        Done = "done",
        /// It took too long.
        TimedOut = "timed_out",
        /// The agent showed no certificate, or one that is not accepted.
        ClientCertificate = "client_certificate",
        /// The agent does not accept our certificate, or went away.
        RefusedByClient = "refused_by_client",
        /// The other side speaks something else.
        Failed = "failed",
    }
);

label!(
    /// Why an attachment has ended.
    DetachCause, "cause" {
        /// The agent has closed it.
        Closed = "closed",
        /// The connection broke.
        Lost = "lost",
        /// A later attachment of the agent took its place.
        Replaced = "replaced",
        /// The agent is attached elsewhere, as this gateway has asked it to be.
        Moved = "moved",
        /// This gateway stops.
        Stopped = "stopped",
    }
);

label!(
    /// What an agent was answered to a beat.
    BeatResult, "verdict" {
        /// Ironic accepted it.
        Accepted = "accepted",
        /// The node is locked.
        Conflict = "conflict",
        /// Ironic refused it.
        Refused = "refused",
        /// No address of Ironic answered.
        Unreachable = "unreachable",
        /// It comes back later.
        Deferred = "deferred",
    }
);

label!(
    /// What an agent was answered to a lookup.
    LookupResult, "outcome" {
        /// The node is known.
        Found = "found",
        /// Not found, locked, or no answer.
        Retry = "retry",
        /// It comes back later.
        Deferred = "deferred",
    }
);

label!(
    /// What an agent was answered to an inspection report.
    InspectionResult, "outcome" {
        /// Taken.
        Accepted = "accepted",
        /// Refused for good.
        Refused = "refused",
        /// Not now.
        Retry = "retry",
        /// Nobody takes reports.
        Disabled = "disabled",
        /// It comes back later.
        Deferred = "deferred",
    }
);

label!(
    /// What an agent answered to a command.
    CommandVerdict, "outcome" {
        /// It has succeeded.
        Succeeded = "succeeded",
        /// It has failed.
        Failed = "failed",
        /// It runs in the background.
        Running = "running",
        /// The agent does another one.
        Busy = "busy",
        /// The agent does not take it.
        Refused = "refused",
        /// No answer came, or none that makes sense.
        Unanswered = "unanswered",
    }
);

label!(
    /// Why a request got no answer.
    DropReason, "reason" {
        /// The agent did not come back in time.
        AgentAway = "agent_away",
        /// The agent is attached and did not answer in time.
        AgentSlow = "agent_slow",
        /// Too many requests wait already.
        TooMany = "too_many",
        /// The agent's connection broke, and the request cannot be repeated.
        ConnectionLost = "connection_lost",
        /// The agent is attached to another gateway by now.
        Elsewhere = "elsewhere",
        /// The gateway that holds the node gave no answer.
        GatewayLost = "gateway_lost",
        /// The agent's machine was rescued or locked down.
        NodeClosed = "node_closed",
    }
);
