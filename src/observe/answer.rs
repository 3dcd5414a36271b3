//! What one of those who tell figures answered last, about one instance.

use std::time::Duration;

use tokio::time::Instant;

use crate::world::{Figures, Seen, Trouble};

/// See the module.
#[derive(Default)]
pub(super) struct Answer {
    /// The last figures, and when they came.
    figures: Option<(Instant, Figures)>,
    /// When the last asking ended, and why it brought nothing, if it did not.
    last: Option<(Instant, Option<Trouble>)>,
}

impl Answer {
    /// An asking has ended now.
    pub(super) fn tell(&mut self, told: Result<Figures, Trouble>) {
        let now = Instant::now();
        let trouble = match told {
            Ok(figures) => {
                self.figures = Some((now, figures));
                None
            }
            Err(trouble) => Some(trouble),
        };
        self.last = Some((now, trouble));
    }

    pub(super) fn is_told(&self) -> bool {
        self.last.is_some()
    }

    /// One asking that failed leaves what was known before, which may be old enough to be of no use.
    pub(super) fn seen(&self, every: Duration) -> Option<Seen<Figures>> {
        let (answered, trouble) = self.last.as_ref()?;
        Some(match (&self.figures, trouble) {
            (Some((at, figures)), trouble) if trouble.is_none() || at.elapsed() < every * 2 => {
                let age = figures.age + at.elapsed();
                Seen::Known(Figures { age, answered: answered.elapsed(), ..*figures })
            }
            (_, trouble) => Seen::Unknown(trouble.clone()?),
        })
    }
}

/// It is time to ask again. Asked a moment too early, it would be asked twice as seldom as wanted.
pub(super) fn is_due(asked: Option<Instant>, every: Duration) -> bool {
    asked.is_none_or(|at| at.elapsed() + every / 10 >= every)
}
