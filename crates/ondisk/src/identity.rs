//! What a format says of itself.

/// The identity and the label of a format that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormatIdentity {
    /// As Linux writes it, in the manner of each format.
    pub uuid: Option<String>,
    /// What people call it.
    pub label: Option<String>,
}
