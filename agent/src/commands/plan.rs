//! What a command would do.

pub use crate::hardware::PlannedAction;

/// The answer to a request that is only to be checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandPlan {
    /// The actions in their order.
    pub actions: Vec<PlannedAction>,
}

impl CommandPlan {
    /// A plan that overwrites a disk, an action for each line.
    #[must_use]
    pub fn overwriting(device: &str, lines: Vec<String>) -> Self {
        let actions = lines.into_iter().map(|description| PlannedAction {
            description,
            device: device.to_owned(),
            destructive: true,
        });
        Self {
            actions: actions.collect(),
        }
    }

    /// A plan of one action that changes no disk.
    #[must_use]
    pub fn of(description: impl Into<String>) -> Self {
        Self {
            actions: vec![PlannedAction {
                description: description.into(),
                ..PlannedAction::default()
            }],
        }
    }
}
