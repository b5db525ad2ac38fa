//! Members of ZFS pools: four labels, two at each end, with a list of names and values.

use crate::identity::FormatIdentity;
use crate::read::{be_u32, be_u64};
use crate::text;
use crate::window::Window;

/// A label, the list in it, and how much of that is read.
const LABEL: u64 = 256 << 10;
const LIST: u64 = 16 << 10;
const LIST_LENGTH: u64 = 112 << 10;
/// Kinds of values.
const NUMBER: u32 = 8;
const TEXT: u32 = 9;
const LIST_OF: u32 = 19;
/// States of a pool.
const SPARE: u64 = 3;
const CACHE: u64 = 4;
const LAST_STATE: u64 = 7;

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let end = window.size() / LABEL * LABEL;
    let offsets = [
        0,
        LABEL,
        end.checked_sub(2 * LABEL)?,
        end.checked_sub(LABEL)?,
    ];
    offsets.into_iter().find_map(|offset| {
        let list = window.bytes(offset + LIST, LIST_LENGTH)?;
        let pool = ZfsPool::parse(&list);
        pool.is_complete().then(|| FormatIdentity {
            uuid: pool.identity.map(|number| number.to_string()),
            label: pool.name,
        })
    })
}

#[derive(Debug, Default)]
struct ZfsPool {
    name: Option<String>,
    identity: Option<u64>,
    device: u64,
    state: Option<u64>,
    transaction: u64,
}

impl ZfsPool {
    /// Reads the list as far as it can be read.
    fn parse(list: &[u8]) -> Self {
        let mut pool = Self::default();
        // Encoded by XDR, in either order of the numbers that it does not hold.
        if list.first() == Some(&1) && list.get(1).is_some_and(|order| *order <= 1) {
            pool.read(list);
        }
        pool
    }

    fn read(&mut self, list: &[u8]) -> Option<()> {
        let mut at = 12;
        let mut depth = 0_u32;
        if be_u32(list, at)? == 0 {
            return None;
        }
        loop {
            let size = usize::try_from(be_u32(list, at)?).ok()?;
            if size == 0 {
                depth = depth.checked_sub(1)?;
                at += 8;
                continue;
            }
            let length = usize::try_from(be_u32(list, at + 8)?).ok()?;
            let name = list.get(at + 12..)?.get(..length)?;
            let value = at + 12 + length.next_multiple_of(4);
            if value + 4 > at + size {
                return None;
            }
            let kind = be_u32(list, value)?;
            if kind == LIST_OF {
                depth += 1;
                at = value + 16;
                continue;
            }
            if depth == 0 {
                self.take(name, kind, list.get(value..at + size)?);
            }
            at += size;
        }
    }

    fn take(&mut self, name: &[u8], kind: u32, value: &[u8]) {
        let number = be_u64(value, 8).filter(|_| kind == NUMBER);
        match (name, number) {
            (b"name", _) if kind == TEXT => {
                let length = be_u32(value, 8).and_then(|length| usize::try_from(length).ok());
                let bytes = length.and_then(|length| value.get(12..)?.get(..length));
                self.name = bytes.and_then(text::label);
            }
            (b"pool_guid", Some(number)) => self.identity = Some(number),
            (b"guid", Some(number)) => self.device = number,
            (b"state", Some(number)) => self.state = Some(number),
            (b"txg", Some(number)) => self.transaction = number,
            _ => {}
        }
    }

    /// A label that was written to the end.
    fn is_complete(&self) -> bool {
        let state = self.state.unwrap_or(u64::MAX);
        self.device != 0
            && state <= LAST_STATE
            && (matches!(state, SPARE | CACHE) || self.transaction > 0)
    }
}
