//! Why the agent's service ends: said by a command, heard by the conductor.

/// Why the service ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownReason {
    /// The agent stops.
    Stopped,
    /// The machine is handed over to a rescuer.
    Rescued,
    /// The machine leaves the network.
    LockedDown,
}
