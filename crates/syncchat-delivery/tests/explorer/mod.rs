//! What the explorations of small worlds share: the loop that visits every state, the way to a
//! fault, and the smallest machine.
#![allow(clippy::print_stderr)]

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug, Write};
use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use syncchat_delivery::Config;

/// A machine that keeps as little as it can and waits for nothing: few states, and every bound near.
pub(crate) fn smallest() -> Config {
    Config {
        page: 2,
        changes_page: 1,
        look_back: 1,
        ring_frames: 1,
        ring_bytes: 1,
        early_frames: 1,
        patience: 0,
        changes_patience: 0,
        retry_min: 0,
        retry_max: 0,
        linger: 0,
        lingering_rooms: 1,
        compare_batch: 1,
        review: u64::MAX,
    }
}

/// The hash of how this is shown: what looks the same is the same.
pub(crate) fn look(shown: fmt::Arguments<'_>) -> u64 {
    struct Look(DefaultHasher);

    impl Write for Look {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }

    let mut look = Look(DefaultHasher::new());
    // Writing to a hasher cannot fail.
    let _ = look.write_fmt(shown);
    look.0.finish()
}

/// Visits every state that can be reached from `start`. `step` makes an event happen and returns the
/// fingerprint of what came of it; `judge` is asked once of each state what is wrong in it. Returns
/// how many states there are, or what is wrong and the way there. A panic on the way is passed on, once
/// the way is told.
pub(crate) fn explore<World: Clone, Event: Copy + Debug>(
    name: &str,
    start: World,
    events: impl Fn(&World) -> Vec<Event>,
    step: impl Fn(&mut World, Event) -> u64,
    mut judge: impl FnMut(&World) -> Option<String>,
) -> Result<usize, String> {
    let mut seen = HashSet::new();
    // Each state with the event that led to it and the place of the one before, to tell the way.
    let mut trail: Vec<(usize, Option<Event>)> = vec![(0, None)];
    let mut queue = VecDeque::from([(0, start)]);
    while let Some((place, world)) = queue.pop_front() {
        for event in events(&world) {
            let mut next = world.clone();
            let judged = catch_unwind(AssertUnwindSafe(|| {
                let is_new = seen.insert(step(&mut next, event));
                is_new.then(|| judge(&next))
            }));
            match judged {
                Ok(None) => {}
                Ok(Some(None)) => {
                    trail.push((place, Some(event)));
                    queue.push_back((trail.len() - 1, next));
                }
                Ok(Some(Some(wrong))) => {
                    let way = way(&trail, place, event);
                    return Err(format!("{name}: {wrong}, by {way:?}"));
                }
                Err(cause) => {
                    eprintln!("{name}: {:?}", way(&trail, place, event));
                    resume_unwind(cause);
                }
            }
        }
    }
    Ok(seen.len())
}

/// The events that led to a place, and the last one.
fn way<Event: Copy>(trail: &[(usize, Option<Event>)], mut at: usize, last: Event) -> Vec<Event> {
    let mut way = vec![last];
    while let (before, Some(event)) = trail[at] {
        way.push(event);
        at = before;
    }
    way.reverse();
    way
}
