//! What Ctrl-C does to commands that run.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::board::NodeBoard;
use crate::arguments::OnInterrupt;
use crate::terminal::{Screen, ask};

/// What becomes of commands that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InterruptDecision {
    /// They are followed to their ends.
    GoOn,
    /// They are cancelled, and followed to their ends. No further one is ordered.
    Cancel,
    /// They go on, and are followed no longer. No further one is ordered.
    Detach,
}

/// Listens to SIGINT and SIGTERM, and decides. Exit: never; it is dropped when the work is done.
pub(super) async fn listen(
    on_interrupt: OnInterrupt,
    screen: Screen,
    board: &NodeBoard,
    decided: &watch::Sender<InterruptDecision>,
) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        // Without handlers the signals end the process, which leaves the commands running.
        return std::future::pending().await;
    };
    let asks = on_interrupt == OnInterrupt::Ask && screen.can_ask();
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                decided.send_replace(InterruptDecision::Detach);
                continue;
            }
            _ = interrupt.recv() => {}
        }
        let decision = match on_interrupt {
            OnInterrupt::Cancel => InterruptDecision::Cancel,
            OnInterrupt::Ask if asks => {
                board.pause(true);
                // A second Ctrl-C means to detach, as SIGTERM does.
                let decision = tokio::select! {
                    decision = question() => decision,
                    _ = interrupt.recv() => InterruptDecision::Detach,
                    _ = terminate.recv() => InterruptDecision::Detach,
                };
                board.pause(false);
                decision
            }
            OnInterrupt::Ask | OnInterrupt::Detach => InterruptDecision::Detach,
        };
        if decision != InterruptDecision::GoOn {
            decided.send_replace(decision);
        }
    }
}

/// Waits until the commands are not to be followed to their ends. Exit: never without that.
pub(super) async fn interruption(decided: &mut watch::Receiver<InterruptDecision>) {
    let is_interrupted = |decision: &InterruptDecision| *decision != InterruptDecision::GoOn;
    if decided.wait_for(is_interrupted).await.is_err() {
        // Nobody decides any more.
        std::future::pending().await
    }
}

async fn question() -> InterruptDecision {
    let question = "\nThe commands go on. [c]ancel them, [l]eave them running and end here, \
                    or go on [f]ollowing?";
    // A thread of its own: reading a terminal cannot be given up.
    let typed = tokio::task::spawn_blocking(move || ask(question)).await;
    match typed.ok().flatten().as_deref() {
        Some("c" | "cancel") => InterruptDecision::Cancel,
        Some("l" | "leave") | None => InterruptDecision::Detach,
        Some(_) => InterruptDecision::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn what_is_decided_interrupts_also_when_it_was_decided_before() {
        let (decided, mut decision) = watch::channel(InterruptDecision::GoOn);
        assert_eq!(interruption(&mut decision).now_or_never(), None);
        decided.send_replace(InterruptDecision::Cancel);
        let mut late = decided.subscribe();
        assert_eq!(interruption(&mut decision).now_or_never(), Some(()));
        assert_eq!(interruption(&mut late).now_or_never(), Some(()));
        // The decision is still there for who follows.
        assert_eq!(*decision.borrow(), InterruptDecision::Cancel);
    }
}
