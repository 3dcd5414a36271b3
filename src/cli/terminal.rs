//! The terminal that a command is called from.

use std::io;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Lets every key through as it is, until it is dropped.
pub struct Raw(Termios);

impl Raw {
    /// # Errors
    /// When standard input is no terminal.
    pub fn new() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal is gone: there is nothing to put right.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Standard input and output are a terminal.
pub fn is_there() -> bool {
    isatty(io::stdin()) && isatty(io::stdout())
}

/// Its rows and columns.
pub fn size() -> (u16, u16) {
    tcgetwinsize(io::stdout()).map_or((24, 80), |size| (size.ws_row, size.ws_col))
}
