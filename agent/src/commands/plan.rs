//! What a command would do, found out without changing anything.

/// The answer to an order that is only to be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The actions in their order.
    pub actions: Vec<PlannedAction>,
}

/// One action of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannedAction {
    /// One line for a person.
    pub description: String,
    /// The device that it changes, for example `/dev/sda`; empty when it changes none.
    pub device: String,
    /// Whether data on `device` would be lost.
    pub destructive: bool,
}
