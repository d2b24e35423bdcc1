//! Text in pictures: times, shortened names, XML escaping.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Position on the time axis, in the unit of the axis's steps.
pub(super) struct Tick {
    pub(super) at: Duration,
    pub(super) step: Duration,
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, step } = self;
        match step.as_nanos() {
            0 => f.write_str("0"),
            1..1_000 => write!(f, "{} ns", at.as_nanos()),
            1_000..1_000_000 => write!(f, "{} µs", at.as_micros()),
            1_000_000..1_000_000_000 => write!(f, "{} ms", at.as_millis()),
            _ => write!(f, "{} s", at.as_secs()),
        }
    }
}

/// Time with three significant digits.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let (number, unit) = match self.0.as_nanos() {
            0 => return f.write_str("0 s"),
            1..1_000_000 => (seconds * 1e6, "µs"),
            1_000_000..1_000_000_000 => (seconds * 1e3, "ms"),
            _ => (seconds, "s"),
        };
        let digits = match number {
            0.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        write!(f, "{number:.digits$} {unit}")
    }
}

/// Name, truncated to 28 characters.
pub(super) struct Short<'a>(pub(super) &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARS: usize = 28;
        if self.0.chars().count() <= MAX_CHARS {
            return f.write_str(self.0);
        }
        let start: String = self.0.chars().take(MAX_CHARS - 1).collect();
        write!(f, "{start}…")
    }
}

/// Estimates the width of a text, in pixels.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars()
        .map(|c| if c < '\u{2000}' { 6.8 } else { 12.5 })
        .sum()
}

/// Text escaped for XML. Characters that XML cannot represent are replaced by U+FFFD.
pub(super) struct Xml<'a>(pub(super) &'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
