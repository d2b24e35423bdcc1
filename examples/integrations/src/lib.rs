//! Error type and checks of the example programs.

use std::error::Error;
use std::fmt::Display;

/// Result of the programs. The error can cross threads, so that tasks can return it.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Checks that a condition holds.
///
/// # Errors
///
/// Returns an error with the text `expected` if it does not.
pub fn check(holds: bool, expected: impl Display) -> Result {
    if holds {
        return Ok(());
    }
    Err(format!("check failed: {expected}").into())
}
