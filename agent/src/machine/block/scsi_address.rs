//! The address of a SCSI device: host, channel, target and logical unit.

/// The address in the name of a SCSI device's directory: `2:0:0:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScsiAddress {
    /// The number of the host bus adapter, counted over the whole machine.
    pub(super) host: u32,
    /// Channel of the adapter.
    pub(super) channel: u32,
    /// Target on the channel.
    pub(super) target: u32,
    /// Logical unit of the target.
    pub(super) lun: u64,
}

impl ScsiAddress {
    /// Reads four numbers between colons.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.split(':');
        let address = Self {
            host: numbers.next()?.parse().ok()?,
            channel: numbers.next()?.parse().ok()?,
            target: numbers.next()?.parse().ok()?,
            lun: numbers.next()?.parse().ok()?,
        };
        numbers.next().is_none().then_some(address)
    }
}
