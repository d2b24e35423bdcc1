//! Numbers as texts that are easy to read.

use std::fmt;

/// Returns a number with a comma before every three digits.
pub(super) fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of frames as a text.
pub(super) fn frames(number: usize) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} frame{s}", grouped(number))
}
