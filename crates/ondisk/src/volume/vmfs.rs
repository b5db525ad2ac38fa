//! VMFS: the file system, and the volumes that it spans.

use crate::identity::FormatIdentity;
use crate::text;
use crate::window::Window;

/// Its groups are written backwards, but for the last.
pub(crate) fn file_system(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let block = window.bytes(at, 157)?;
    let digits = |order: &[usize]| -> String {
        order
            .iter()
            .map(|index| text::hex(block[9 + index]))
            .collect()
    };
    let groups: [&[usize]; 4] = [
        &[3, 2, 1, 0],
        &[7, 6, 5, 4],
        &[9, 8],
        &[10, 11, 12, 13, 14, 15],
    ];
    Some(FormatIdentity {
        uuid: text::uuid(&block[9..]).map(|_| groups.map(digits).join("-")),
        label: text::label(&block[29..157]),
    })
}

/// The identity of the volume is text.
pub(crate) fn member(window: &mut Window<'_>, at: u64) -> Option<FormatIdentity> {
    let text = window.bytes(at + 512 + 20, 35);
    Some(FormatIdentity {
        uuid: text.and_then(|text| text::label(&text)),
        label: None,
    })
}
