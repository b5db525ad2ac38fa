//! Clean, deploy and service steps: one machinery, three phases.

/// Which of the three step machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Cleaning, before a node becomes available.
    Clean,
    /// Deployment of an instance.
    Deploy,
    /// Servicing of a node that holds an instance.
    Service,
}

impl Phase {
    /// The word in Ironic's keys and command names: `clean`, `deploy` or `service`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Deploy => "deploy",
            Self::Service => "service",
        }
    }
}
