//! Several ways to do the same work, measured against each other in one run.

use std::fmt;
use std::time::Duration;

use super::Bench;
use super::clock::{Clock, as_f64};
use super::spread::{Spread, Timing};
use crate::failure::Failure;
use crate::interrupt::Interrupt;

/// How long a repetition lasts and how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Length of one repetition.
    pub repetition: Duration,
    /// Repetitions of each contestant.
    pub repetitions: usize,
}

impl Pace {
    /// 15 repetitions of 3 ms, or with `quick` 5 of 0.2 ms.
    pub const fn of(quick: bool) -> Self {
        let (micros, repetitions) = if quick { (200, 5) } else { (3_000, 15) };
        Self {
            repetition: Duration::from_micros(micros),
            repetitions,
        }
    }
}

/// Contestants, in the order in which they take turns.
#[derive(Debug, Default)]
pub struct Contest<'a> {
    contestants: Vec<Contestant<'a>>,
}

/// What a contestant reached.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// What one item took.
    pub timing: Timing,
}

impl<'a> Contest<'a> {
    /// One without contestants.
    pub const fn new() -> Self {
        Self {
            contestants: Vec::new(),
        }
    }

    /// Adds a contestant; each call of `turn` works `items` items, at least one.
    pub fn add(&mut self, name: impl Into<String>, items: u64, turn: impl FnMut() + 'a) {
        self.contestants.push(Contestant {
            name: name.into(),
            items,
            turn: Turn::Whole(Box::new(turn)),
            turns: 1,
            samples: Vec::new(),
        });
    }

    /// Adds a contestant that has to prepare its work: each call of `turn` works `items` items, at least one, and returns the cycles
    /// that the work took without the preparation.
    pub fn add_timed(
        &mut self,
        name: impl Into<String>,
        items: u64,
        turn: impl FnMut(&Clock) -> f64 + 'a,
    ) {
        self.contestants.push(Contestant {
            name: name.into(),
            items,
            turn: Turn::Timed(Box::new(turn)),
            turns: 1,
            samples: Vec::new(),
        });
    }

    /// Calibrates, then lets all take turns (A B C A B C …); `what` stands in the line of progress.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] if the user asks to stop.
    pub fn run(mut self, bench: &mut Bench, what: &str) -> Result<Vec<Standing>, Failure> {
        let repetition = bench.clock.cycles(bench.pace.repetition);
        for contestant in &mut self.contestants {
            contestant.calibrate(&bench.clock, repetition, &bench.interrupt)?;
        }
        for round in 1..=bench.pace.repetitions {
            for contestant in &mut self.contestants {
                bench.progress.update(|| {
                    let (rounds, name) = (bench.pace.repetitions, &contestant.name);
                    format!("{what}: {round} of {rounds}, {name}")
                });
                contestant.repeat(&bench.clock);
                bench.interrupt.check()?;
            }
        }
        let standing = |contestant: Contestant<'_>| {
            Some(Standing {
                timing: Timing::new(&bench.clock, Spread::of(&contestant.samples)?),
                name: contestant.name,
            })
        };
        Ok(self.contestants.into_iter().filter_map(standing).collect())
    }
}

/// One way to do the work.
struct Contestant<'a> {
    name: String,
    items: u64,
    turn: Turn<'a>,
    /// Turns that fill a repetition.
    turns: u64,
    /// Cycles of an item, by repetition.
    samples: Vec<f64>,
}

/// A piece of work.
enum Turn<'a> {
    /// All of it counts.
    Whole(Box<dyn FnMut() + 'a>),
    /// What it returns counts.
    Timed(Box<dyn FnMut(&Clock) -> f64 + 'a>),
}

impl Contestant<'_> {
    /// Finds how many turns fill a repetition of `target` cycles; this also warms up code, tables and the core's clock.
    fn calibrate(
        &mut self,
        clock: &Clock,
        target: f64,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        loop {
            let cycles = self.time(clock, self.turns).max(1.0);
            interrupt.check()?;
            if cycles >= target / 2.0 {
                let fill = (as_f64(self.turns) * target / cycles).round();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "at least 1 and about as many turns as were just timed"
                )]
                {
                    self.turns = fill.max(1.0) as u64;
                }
                return Ok(());
            }
            self.turns *= 2;
        }
    }

    /// One repetition. An untimed part goes before it, since another contestant has just had the caches.
    fn repeat(&mut self, clock: &Clock) {
        self.time(clock, self.turns.div_ceil(8));
        let cycles = self.time(clock, self.turns);
        let items = as_f64(self.turns * self.items.max(1));
        self.samples.push(cycles / items);
    }

    /// Cycles that so many turns take.
    fn time(&mut self, clock: &Clock, turns: u64) -> f64 {
        match &mut self.turn {
            Turn::Whole(turn) => {
                let began = clock.now();
                for _ in 0..turns {
                    turn();
                }
                as_f64(clock.now().wrapping_sub(began))
            }
            Turn::Timed(turn) => (0..turns).map(|_| turn(clock)).sum(),
        }
    }
}

impl fmt::Debug for Contestant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contestant")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::progress::Progress;

    #[test]
    fn the_rate_found_is_that_of_one_item() {
        let clock = Clock::new();
        let turn = || std::thread::sleep(Duration::from_micros(200));
        let mut contest = Contest::new();
        contest.add("sleeper", 10, turn);
        let mut sleeper = contest.contestants.pop().unwrap();
        let target = clock.cycles(Duration::from_millis(2));
        let interrupt = Interrupt::given(false);
        sleeper.calibrate(&clock, target, &interrupt).unwrap();
        sleeper.repeat(&clock);
        let ns = clock.nanoseconds(sleeper.samples[0]);
        assert!((20_000.0..2_000_000.0).contains(&ns), "{ns}");
    }

    #[test]
    fn what_a_contestant_prepares_does_not_count() {
        let clock = Clock::new();
        let mut contest = Contest::new();
        contest.add_timed("slow to prepare", 10, |_| {
            std::thread::sleep(Duration::from_micros(200));
            50.0
        });
        let mut contestant = contest.contestants.pop().unwrap();
        let interrupt = Interrupt::given(false);
        contestant.calibrate(&clock, 1_000.0, &interrupt).unwrap();
        assert_eq!(contestant.turns, 20);
        contestant.repeat(&clock);
        assert_eq!(contestant.samples, [5.0]);
    }

    #[test]
    fn contestants_take_turns() {
        let clock = Clock::new();
        let order = RefCell::new(Vec::new());
        let mut contest = Contest::new();
        contest.add("a", 1, || order.borrow_mut().push('a'));
        contest.add("b", 1, || order.borrow_mut().push('b'));
        for _ in 0..3 {
            for contestant in &mut contest.contestants {
                contestant.repeat(&clock);
            }
        }
        drop(contest);
        let mut order = order.into_inner();
        order.dedup();
        assert_eq!(order, ['a', 'b', 'a', 'b', 'a', 'b']);
    }

    #[test]
    fn a_contest_ends_when_the_user_asks() {
        let turns = Cell::new(0);
        let mut contest = Contest::new();
        contest.add("endless", 1, || turns.set(turns.get() + 1));
        let mut bench = Bench {
            clock: Clock::new(),
            pace: Pace {
                repetition: Duration::from_secs(3_600),
                repetitions: usize::MAX,
            },
            quick: false,
            interrupt: Interrupt::given(true),
            progress: Progress::on_stderr(),
        };
        let outcome = contest.run(&mut bench, "nothing");
        assert!(matches!(outcome, Err(Failure::Interrupted)));
        assert_eq!(turns.get(), 1);
    }
}
