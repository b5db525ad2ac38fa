//! The frame of a gRPC message: whether it is compressed, its length, and the message.

/// Bytes before a message.
pub(super) const HEAD: usize = 5;

/// What stands before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) is_compressed: bool,
    pub(super) length: usize,
}

impl FrameHead {
    /// The head at the beginning of `bytes`, and what follows it. `None`: they are fewer.
    pub(super) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let ([flag, length @ ..], rest) = bytes.split_first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes(*length);
        let head = Self {
            is_compressed: *flag != 0,
            length: usize::try_from(length).unwrap_or(usize::MAX),
        };
        Some((head, rest))
    }
}

#[cfg(test)]
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_five_bytes() {
        let bytes = framed(b"abc");
        let head = FrameHead {
            is_compressed: false,
            length: 3,
        };
        assert_eq!(FrameHead::split(&bytes), Some((head, &b"abc"[..])));
        let (head, rest) = FrameHead::split(&[1, 255, 255, 255, 255]).unwrap();
        assert!(head.is_compressed && rest.is_empty());
        assert_eq!(head.length, 0xffff_ffff);
        assert_eq!(FrameHead::split(&bytes[..4]), None);
    }
}
