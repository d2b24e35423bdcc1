//! A recording as a trace for Chrome and Perfetto, in the
//! [Trace Event Format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use super::timeline::{Hands, Lives, Span};
use super::{Event, EventKind, Recording};

/// The tracks: the pool's, then those of the slots, then those of the callers who waited.
const POOL: u64 = 2;
const FIRST_SLOT: u64 = 10;

impl Recording {
    /// Writes the recording as a trace, to be looked at in [Perfetto](https://ui.perfetto.dev) or
    /// `chrome://tracing`.
    ///
    /// There is a track for each slot that something happened to, with a bar for each stay of its frame in the
    /// same hands, which is called by the label or, where there is none, the thread; a track for each caller who
    /// waited at the same time as others; one for the pool, which shows when it was dry; and a counter of the
    /// frames that are free. (Frames that lie in a [batch](crate::FrameBatch) are counted among these.) What
    /// was before the recording begins, is shown to begin with it.
    ///
    /// # Errors
    ///
    /// What `out` fails with.
    ///
    /// ```
    /// # let pool = ks_allocator::FramePool::builder().frames(1).frame_size(64).record(100).build()?;
    /// drop(pool.with_label("encoder").acquire()?);
    /// let mut trace = Vec::new();
    /// pool.recording().expect("it is on").write_trace(&mut trace)?;
    /// assert!(String::from_utf8(trace)?.contains(r#""name":"encoder""#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_trace(&self, out: impl io::Write) -> io::Result<()> {
        let lives = Lives::of(self);
        let mut trace = Trace {
            out: BufWriter::new(out),
            is_first: true,
        };
        let Self { frames, lost, .. } = self;
        write!(
            trace.out,
            "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"frames\":{frames},\"lost\":{lost}}},\"traceEvents\":["
        )?;
        trace.name("process_name", POOL, "pool")?;
        trace.track(POOL, "pool")?;
        self.trace_pool(&lives, &mut trace)?;
        self.trace_slots(&lives, &mut trace)?;
        self.trace_waits(&lives, &mut trace)?;
        trace.out.write_all(b"\n]}\n")?;
        trace.out.flush()
    }

    fn trace_pool(&self, lives: &Lives, trace: &mut Trace<impl Write>) -> io::Result<()> {
        if self.lost > 0 {
            let lost = format!("{} events lost", self.lost);
            trace.instant(POOL, lives.whole.from, &lost, "")?;
        }
        for &span in &lives.dry {
            trace.bar(POOL, span, "dry", "\"cat\":\"dry\",\"cname\":\"terrible\"")?;
        }
        for Event { at, kind, .. } in self.events_of_pool() {
            trace.instant(POOL, *at, &kind.to_string(), "")?;
        }
        for (at, free) in lives.free(self.frames) {
            trace.begin("C", POOL, at, "frames free")?;
            write!(trace.out, ",\"args\":{{\"free\":{free}}}}}")?;
        }
        Ok(())
    }

    fn trace_slots(&self, lives: &Lives, trace: &mut Trace<impl Write>) -> io::Result<()> {
        for slot in self.slots() {
            trace.track(track_of(slot), &format!("slot {slot}"))?;
        }
        for stay in &lives.stays {
            let category = match stay.hands {
                Hands::Waiter => "\"cat\":\"queued\",\"cname\":\"grey\"",
                _ => "\"cat\":\"frame\"",
            };
            trace.bar(
                track_of(stay.slot),
                stay.span,
                &stay.hands.to_string(),
                category,
            )?;
        }
        for event in &self.events {
            let (Some(slot), EventKind::Shared | EventKind::Lent | EventKind::Redeemed) =
                (event.slot, event.kind)
            else {
                continue;
            };
            let thread = format!(",\"args\":{{\"thread\":{}}}", event.thread);
            trace.instant(track_of(slot), event.at, &event.kind.to_string(), &thread)?;
        }
        Ok(())
    }

    fn trace_waits(&self, lives: &Lives, trace: &mut Trace<impl Write>) -> io::Result<()> {
        let first = self
            .slots()
            .last()
            .map_or(FIRST_SLOT, |&slot| track_of(slot))
            + 1;
        let tracks: BTreeSet<_> = lives.waits.iter().map(|wait| wait.track).collect();
        for track in tracks {
            trace.track(first + track as u64, &format!("waiter {}", track + 1))?;
        }
        for wait in &lives.waits {
            let rest = format!(
                "\"cat\":\"wait\",\"cname\":\"bad\",\"args\":{{\"wait\":{},\"outcome\":\"{}\"}}",
                wait.number,
                wait.outcome()
            );
            let name = format!("{} waits", wait.who);
            trace.bar(first + wait.track as u64, wait.span, &name, &rest)?;
        }
        Ok(())
    }

    /// Events of the pool itself.
    pub(super) fn events_of_pool(&self) -> impl Iterator<Item = &Event> {
        self.events
            .iter()
            .filter(|event| !event.kind.is_of_frame() && !event.kind.is_of_wait())
    }

    /// Slots that something happened to.
    pub(super) fn slots(&self) -> BTreeSet<usize> {
        self.events.iter().filter_map(|event| event.slot).collect()
    }
}

fn track_of(slot: usize) -> u64 {
    // There are never so many slots, unless somebody changes an event.
    FIRST_SLOT + (slot as u64 & u64::from(u32::MAX))
}

/// A trace that is being written.
struct Trace<W: Write> {
    out: BufWriter<W>,
    is_first: bool,
}

impl<W: Write> Trace<W> {
    /// An event up to its name; the rest, and the bracket that closes it, are the caller's.
    fn begin(&mut self, phase: &str, track: u64, at: Duration, name: &str) -> io::Result<()> {
        self.out
            .write_all(if self.is_first { b"\n" } else { b",\n" })?;
        self.is_first = false;
        write!(
            self.out,
            "{{\"ph\":\"{phase}\",\"pid\":1,\"tid\":{track},\"ts\":{},\"name\":{}",
            Microseconds(at),
            JsonString(name)
        )
    }

    fn name(&mut self, what: &str, track: u64, name: &str) -> io::Result<()> {
        self.begin("M", track, Duration::ZERO, what)?;
        write!(self.out, ",\"args\":{{\"name\":{}}}}}", JsonString(name))
    }

    /// FrameIds a track, and puts it in its place.
    fn track(&mut self, track: u64, name: &str) -> io::Result<()> {
        self.name("thread_name", track, name)?;
        self.begin("M", track, Duration::ZERO, "thread_sort_index")?;
        write!(self.out, ",\"args\":{{\"sort_index\":{track}}}}}")
    }

    fn bar(&mut self, track: u64, span: Span, name: &str, rest: &str) -> io::Result<()> {
        self.begin("X", track, span.from, name)?;
        write!(
            self.out,
            ",\"dur\":{},{rest}}}",
            Microseconds(span.length())
        )
    }

    fn instant(&mut self, track: u64, at: Duration, name: &str, rest: &str) -> io::Result<()> {
        self.begin("i", track, at, name)?;
        write!(self.out, ",\"s\":\"t\"{rest}}}")
    }
}

/// Times of a trace are in microseconds.
struct Microseconds(Duration);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        write!(f, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
    }
}

struct JsonString<'a>(&'a str);

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\0'..=' ' if c != ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
                _ => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn any_string_is_read_as_it_was() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for text in [&all, "", "\"\\/\u{2028}\u{1f3a5}\u{fffd}", "a\nb"] {
            let json = JsonString(text).to_string();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn times_are_microseconds_with_three_digits() {
        assert_eq!(
            Microseconds(Duration::from_nanos(12_064)).to_string(),
            "12.064"
        );
        assert_eq!(
            Microseconds(Duration::from_secs(9)).to_string(),
            "9000000.000"
        );
    }
}
