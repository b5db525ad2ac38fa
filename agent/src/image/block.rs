//! The unit of the pipeline: a megabyte of aligned memory from a pool of fixed size. The pool
//! is what bounds the memory of a deployment, whatever the image is.

use std::ops::Deref;

use tokio::sync::mpsc;

use crate::system::disk::AlignedBuffer;

/// Bytes in a full block.
pub(super) const BLOCK: usize = 1 << 20;
/// Blocks in the pool: some in each queue, some withheld, one with each writer.
const BLOCKS: usize = 16;

/// The free blocks.
#[derive(Debug)]
pub(super) struct BlockPool {
    free: mpsc::UnboundedReceiver<AlignedBuffer>,
    home: mpsc::UnboundedSender<AlignedBuffer>,
    /// Memory is taken only when it is needed: most documents are small.
    unborn: usize,
}

/// Up to [`BLOCK`] bytes. Dropping it returns the memory to the pool.
#[derive(Debug)]
pub(super) struct Block {
    buffer: Option<AlignedBuffer>,
    filled: usize,
    home: mpsc::UnboundedSender<AlignedBuffer>,
}

impl BlockPool {
    pub(super) fn new() -> Self {
        let (home, free) = mpsc::unbounded_channel();
        Self {
            free,
            home,
            unborn: BLOCKS,
        }
    }

    /// An empty block, as soon as one is free.
    pub(super) async fn take(&mut self) -> Block {
        let buffer = match self.free.try_recv() {
            Ok(buffer) => Some(buffer),
            Err(_) if self.unborn > 0 => {
                self.unborn -= 1;
                Some(AlignedBuffer::new(BLOCK))
            }
            // The pool holds a sender, so the channel cannot be closed.
            Err(_) => self.free.recv().await,
        };
        Block {
            buffer,
            filled: 0,
            home: self.home.clone(),
        }
    }
}

impl Block {
    /// Takes as many of `bytes` as fit and answers how many.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let Some(buffer) = &mut self.buffer else {
            return 0;
        };
        let count = bytes.len().min(BLOCK - self.filled);
        buffer[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        count
    }

    /// A block outside of any pool.
    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> std::sync::Arc<Self> {
        let (home, _) = mpsc::unbounded_channel();
        let mut block = Self {
            buffer: Some(AlignedBuffer::new(BLOCK)),
            filled: 0,
            home,
        };
        block.fill(bytes);
        std::sync::Arc::new(block)
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == BLOCK
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .map(|buffer| &buffer[..self.filled])
            .unwrap_or_default()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // Nobody needs the memory once the pool is gone.
            let _ = self.home.send(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn memory_is_bounded_and_comes_back() {
        let mut pool = BlockPool::new();
        let mut blocks = Vec::new();
        for _ in 0..BLOCKS {
            blocks.push(pool.take().await);
        }
        assert!(pool.take().now_or_never().is_none());
        blocks.pop();
        let mut block = pool.take().await;
        assert!(block.is_empty());
        assert_eq!(block.fill(&[1; 10]), 10);
        assert_eq!(block.fill(&vec![2; 2 * BLOCK]), BLOCK - 10);
        assert!(block.is_full() && block[9] == 1 && block[10] == 2);
    }
}
