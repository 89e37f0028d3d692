//! Work that is too long for a pool's threads: each thread takes what is next until nothing is left.
//!
//! Rayon's threads would be busy for as long as that takes, and others wait for them meanwhile.

use crate::error::{Result, SnapshotError};

/// Does the work on as many threads as there are cores, at most so many. Their results are in no particular order.
///
/// # Errors
///
/// Those of the work, when all threads have ended.
pub(crate) fn on_all_cores<T: Send>(most: usize, work: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    let threads = rayon::current_num_threads().min(most);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        ended.into_iter().map(|done| done.unwrap_or(Err(SnapshotError::WorkerLost))).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn all_of_the_work_is_done_once_and_what_fails_is_told() {
        let left = AtomicUsize::new(100);
        let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok();
        let done = on_all_cores(100, || Ok(std::iter::from_fn(take).count())).unwrap();
        assert_eq!(done.iter().sum::<usize>(), 100);
        assert!(on_all_cores(0, || Ok(())).unwrap().is_empty());
        let failed = on_all_cores(2, || Err::<(), _>(SnapshotError::Interrupted));
        assert!(matches!(failed, Err(SnapshotError::Interrupted)));
    }
}
