//! A gateway takes no more memory than it uses: the kernel gives it no huge pages, and what sessions have left behind goes
//! back to the system.
//!
//! The C library keeps what thousands of agents had when they are gone, in pieces between those
//! that live: `docs/decisions/memory-is-given-back.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How often while attachments end. It takes a millisecond with thousands of sessions. Agents that
/// lose a connection come back over tens of seconds: most of them get memory that nobody has touched
/// since, of whose buffers the unused parts take none.
const AFTER_ENDS: Duration = Duration::from_secs(1);
/// And otherwise, in so many of these periods.
const PERIODS: u32 = 60;

/// From now on no huge pages for this process: where the system gives them to everybody, one page that is used takes
/// 2 MiB, and the unused parts of buffers take memory after all.
pub(super) fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        warn!(%error, "the kernel may give huge pages: an agent may take a third more memory");
    }
}

/// Gives memory back until `stop` is cancelled. `ended` counts attachments that have ended.
pub(super) async fn give_memory_back(stop: CancellationToken, ended: Arc<AtomicU64>) {
    let (mut seen, mut periods) = (0, 0);
    while stop
        .run_until_cancelled(tokio::time::sleep(AFTER_ENDS))
        .await
        .is_some()
    {
        let now = ended.load(Ordering::Relaxed);
        periods += 1;
        if now == seen && periods < PERIODS {
            continue;
        }
        (seen, periods) = (now, 0);
        // It takes locks of the allocator: other tasks of this thread must not wait.
        let _ = tokio::task::spawn_blocking(trim).await;
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library has no safe name for it")]
fn trim() {
    // SAFETY: the function takes a number, may be called at any time from any thread, and moves
    // nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give memory back themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use std::fs;

    fn resident_pages() -> usize {
        let text = fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn no_huge_pages_from_then_on() {
        super::keep_pages_small();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.contains("\nTHP_enabled:\t0\n"), "{status}");
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn memory_between_living_pieces_goes_back() {
        // Pieces as sessions have them: below what the allocator maps one by one.
        let pieces: Vec<Vec<u8>> = (0..20_000).map(|_| vec![1; 8 * 1024]).collect();
        // One in a hundred lives on, so that no heap ends in free memory.
        let living: Vec<Vec<u8>> = pieces.into_iter().step_by(100).collect();
        let before = resident_pages();
        super::trim();
        let after = resident_pages();
        // Of 39,000 pages almost all.
        assert!(before > after + 20_000, "{before} {after}");
        drop(living);
    }
}
