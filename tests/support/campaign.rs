//! Campaigns: the same random test in two sizes.
//!
//! Continuous integration runs the small size with a fresh seed; `cargo xtask campaign NAME` runs the full one and writes
//! down what came of it. `TREERING_CAMPAIGN_ROUNDS` sets the size, `TREERING_TEST_SEED` the seed.
//! Invariant: the seed is printed before anything random happens.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use treering_workloads::Random;

use crate::setting;

/// One run of a campaign.
#[derive(Debug, Clone)]
pub struct Campaign {
    name: &'static str,
    /// How often; what a round is, the campaign says.
    pub rounds: u64,
    /// What decides everything that is random.
    pub seed: u64,
}

impl Campaign {
    /// Starts one, of this size unless the environment sets another.
    pub fn start(name: &'static str, rounds: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
        // Short enough to be typed.
        let fresh = Random::named(now, name).below(1_000_000_000);
        let campaign = Self {
            name,
            rounds: setting("TREERING_CAMPAIGN_ROUNDS", rounds),
            seed: setting("TREERING_TEST_SEED", fresh),
        };
        let Self { rounds, seed, .. } = campaign;
        println!("campaign {name}: TREERING_CAMPAIGN_ROUNDS={rounds} TREERING_TEST_SEED={seed}");
        campaign
    }

    /// A stream of random numbers of this run.
    pub fn random(&self, label: impl std::fmt::Display) -> Random {
        Random::named(self.seed, label)
    }

    /// Does each of these on all cores, and stops at the first that panics.
    ///
    /// # Panics
    ///
    /// If one does.
    pub fn on_all_cores<T: Send>(&self, work: Vec<T>, each: impl Fn(u64, T) + Sync) {
        let (next, has_failed) = (AtomicU64::new(0), AtomicBool::new(false));
        let work: Vec<_> = work.into_iter().map(|item| Mutex::new(Some(item))).collect();
        let take = || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let item = work.get(number as usize)?.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()?;
            Some((number, item))
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some((number, item)) = take().filter(|_| !has_failed.load(Ordering::Relaxed)) {
                        let failing = Failing { has_failed: &has_failed, campaign: self, number };
                        each(number, item);
                        std::mem::forget(failing);
                    }
                });
            }
        });
    }

    /// Says what was done; `cargo xtask campaign` reads this line.
    pub fn end(&self, figure: &str) {
        println!("campaign {} held: {figure}", self.name);
    }
}

/// Dropped only by a panic: says which round it was.
struct Failing<'a> {
    has_failed: &'a AtomicBool,
    campaign: &'a Campaign,
    number: u64,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.has_failed.store(true, Ordering::Relaxed);
        let Campaign { name, seed, .. } = self.campaign;
        eprintln!("campaign {name}: round {} failed; TREERING_TEST_SEED={seed}", self.number);
    }
}
