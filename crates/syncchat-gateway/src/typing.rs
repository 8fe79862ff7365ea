//! Who types where: passed on at once, repeated seldom, ended by itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use syncchat_core::model::{ConversationId, UserId};
use syncchat_core::ports::fleet::{Fleet, FleetEvent};
use tokio::time::Instant;

use crate::limits::{TYPING_MAX, TYPING_REPEAT, TYPING_SPAN};
use crate::metrics;
use crate::timers::{TimerKey, Timers};

type Place = (ConversationId, UserId);

/// People of this node who are typing.
pub(crate) struct TypingKeeper {
    now: Mutex<HashMap<Place, State>>,
    ends: Timers<Place>,
    fleet: Arc<dyn Fleet>,
}

struct State {
    told_at: Instant,
    ends: TimerKey,
}

impl TypingKeeper {
    pub(crate) fn new(fleet: Arc<dyn Fleet>) -> TypingKeeper {
        TypingKeeper {
            now: Mutex::default(),
            ends: Timers::new(),
            fleet,
        }
    }

    /// A person types, or has stopped.
    pub(crate) fn set(&self, place: Place, typing: bool) {
        let tell = match typing {
            true => self.goes_on(place),
            false => self.stops(place),
        };
        if tell {
            self.tell(place, typing);
        }
    }

    /// Ends what nobody goes on with, for ever.
    pub(crate) async fn run(self: Arc<TypingKeeper>) {
        loop {
            let place = self.ends.next().await;
            // Unless it was taken up again just now.
            let over = {
                let mut now = self.now.lock();
                let over = now
                    .get(&place)
                    .is_some_and(|state| state.ends.at() <= Instant::now());
                over && now.remove(&place).is_some()
            };
            if over {
                self.tell(place, false);
            }
        }
    }

    /// Whether the others are to be told.
    fn goes_on(&self, place: Place) -> bool {
        let at = Instant::now();
        let mut now = self.now.lock();
        let full = now.len() >= TYPING_MAX;
        match now.entry(place) {
            Entry::Occupied(mut entry) => {
                let state = entry.get_mut();
                self.ends.cancel(state.ends);
                state.ends = self.ends.set(at + TYPING_SPAN, place);
                let tell = at.duration_since(state.told_at) >= TYPING_REPEAT;
                if tell {
                    state.told_at = at;
                }
                tell
            }
            Entry::Vacant(_) if full => {
                metrics::ephemeral_dropped("typing", 1);
                false
            }
            Entry::Vacant(entry) => {
                let ends = self.ends.set(at + TYPING_SPAN, place);
                entry.insert(State { told_at: at, ends });
                true
            }
        }
    }

    fn stops(&self, place: Place) -> bool {
        let state = self.now.lock().remove(&place);
        state
            .inspect(|state| {
                self.ends.cancel(state.ends);
            })
            .is_some()
    }

    fn tell(&self, (conversation, user): Place, typing: bool) {
        self.fleet.publish(FleetEvent::Typing {
            conversation,
            user,
            typing,
        });
    }
}
