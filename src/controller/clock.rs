//! The controller's clock. It is set by the wall's once, when the controller begins, and goes on steadily from there: a
//! wall clock that is set later would make a drain seem to have taken too long, or a wait never end.

use std::time::Instant;

use jiff::Timestamp;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    since: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { wall: Timestamp::now(), since: Instant::now() }
    }
}

impl Clock {
    /// The time by this clock.
    pub fn now(&self) -> Timestamp {
        self.wall + self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_goes_on_from_what_the_wall_said_whatever_the_wall_says_now() {
        let wall = Timestamp::UNIX_EPOCH;
        let since = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let clock = Clock { wall, since };
        let (first, second) = (clock.now(), clock.now());
        assert!(first >= wall + Duration::from_secs(60), "{first}");
        assert!(first <= second && second < wall + Duration::from_secs(3_600), "{second}");
    }
}
