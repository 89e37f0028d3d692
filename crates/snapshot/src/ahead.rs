//! Work that is done ahead, if a thread is free.
//!
//! Owns the hand-over only. Invariant: the work is done once, by rayon or by whoever asks for its result before a
//! thread came to it; so nobody ever waits for work that has not begun, and what nobody asks for any more is not begun.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

enum State<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Busy,
    Done(T),
}

struct Slot<T> {
    state: Mutex<State<T>>,
    done: Condvar,
}

impl<T> Slot<T> {
    /// The work, for whoever comes first; the result, for whoever asks for it.
    fn take(&self) -> State<T> {
        std::mem::replace(&mut *self.state.lock(), State::Busy)
    }
}

/// A result that is under way.
pub(crate) struct Ahead<T>(Arc<Slot<T>>);

impl<T: Send + 'static> Ahead<T> {
    pub(crate) fn start(work: impl FnOnce() -> T + Send + 'static) -> Self {
        let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(Box::new(work))), done: Condvar::new() });
        let weak = Arc::downgrade(&slot);
        rayon::spawn(move || {
            let Some(slot) = weak.upgrade() else { return };
            if let State::Waiting(work) = slot.take() {
                let result = work();
                *slot.state.lock() = State::Done(result);
                slot.done.notify_one();
            }
        });
        Self(slot)
    }

    /// Does the work, unless it is under way: then waits for its end.
    pub(crate) fn finish(self) -> T {
        loop {
            match self.0.take() {
                State::Waiting(work) => return work(),
                State::Done(result) => return result,
                State::Busy => {
                    let mut state = self.0.state.lock();
                    self.0.done.wait_while(&mut state, |state| matches!(state, State::Busy));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn work_is_done_once_whoever_comes_first() {
        let count = Arc::new(AtomicUsize::new(0));
        let work = |number: usize| {
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(1, Ordering::Relaxed);
                number
            }
        };
        let started: Vec<_> = (0..10_000).map(|number| Ahead::start(work(number))).collect();
        assert!(started.into_iter().map(Ahead::finish).eq(0..10_000));
        assert_eq!(count.load(Ordering::Relaxed), 10_000);
    }
}
