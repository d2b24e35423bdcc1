//! Trace writer: a recording as JSON for Perfetto and Chrome, in the [Trace Event Format].
//!
//! [Trace Event Format]:
//! https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use crate::label::Label;
use crate::share::ShareUsage;

use super::event::{Event, EventKind, Recording};
use super::timeline::{Owner, Span, Timeline};

/// Track of the pool.
const POOL: u64 = 2;
/// Track of slot 0. The other slots follow, then the waiting callers.
const FIRST_SLOT: u64 = 10;

/// Maximum number of events, times the number of frames, up to which a trace has a forecast.
const MAX_REPLAYED: usize = 2_000_000;

impl Recording {
    /// Writes the recording as a JSON trace for [Perfetto](https://ui.perfetto.dev) or
    /// `chrome://tracing`.
    ///
    /// The trace contains:
    ///
    /// - one track per slot that has events, with one bar per holder of its frame, named by the
    ///   holder's label or, without a label, by its thread;
    /// - as many tracks of waiting callers as there were callers that waited at the same time;
    /// - one track of the pool, which shows when it was dry: a caller waited and no frame was free;
    /// - a counter of the free frames, which includes the unclaimed frames in a
    ///   [batch](crate::FrameBatch);
    /// - in a pool with [shares](crate::Share), a counter of the frames of each share, as far as
    ///   their acquires are recorded, and the reserves and limits as metadata;
    /// - as metadata, the number of frames needed, by [`sizing`](Self::sizing), unless the number
    ///   of events times the number of frames is above 2 million.
    ///
    /// A bar whose begin is missing from the recording begins with the recording.
    ///
    /// # Errors
    ///
    /// Returns the errors of `out`.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// # let pool = FramePool::builder().frames(1).frame_size(64).record(100).build()?;
    /// drop(pool.with_label("encoder").acquire()?);
    /// let mut trace = Vec::new();
    /// pool.recording().expect("`record` turns the recorder on").write_trace(&mut trace)?;
    /// assert!(String::from_utf8(trace)?.contains(r#""name":"encoder""#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_trace(&self, out: impl io::Write) -> io::Result<()> {
        let timeline = Timeline::new(self);
        let mut trace = Trace {
            out: BufWriter::new(out),
            is_first: true,
        };
        let Self { frames, lost, .. } = self;
        write!(
            trace.out,
            "{{\"displayTimeUnit\":\"ms\",\
             \"otherData\":{{\"frames\":{frames},\"lost\":{lost}{}{}}},\"traceEvents\":[",
            self.trace_sizing(),
            self.trace_bounds()
        )?;
        let pool = self.pool.map_or("pool", Label::name);
        trace.name("process_name", POOL, pool)?;
        trace.track(POOL, "pool")?;
        self.trace_pool(&timeline, &mut trace)?;
        self.trace_slots(&timeline, &mut trace)?;
        self.trace_waits(&timeline, &mut trace)?;
        trace.out.write_all(b"\n]}\n")?;
        trace.out.flush()
    }

    /// Returns the metadata about the number of frames, with a comma before it.
    fn trace_sizing(&self) -> String {
        let replayed = self.events.len().saturating_mul(self.frames);
        if replayed > MAX_REPLAYED {
            return String::new();
        }
        let sizing = self.sizing();
        let text = format!("{sizing:#}");
        let needed = sizing.frames_needed();
        let needed = needed.map_or("null".to_owned(), |frames| frames.to_string());
        format!(
            ",\"frames needed\":{needed},\"sizing\":{}",
            JsonString(&text)
        )
    }

    /// Returns the metadata about the shares, with a comma before it.
    fn trace_bounds(&self) -> String {
        if self.shares.is_empty() {
            return String::new();
        }
        let shares: Vec<_> = self.shares.iter().map(ShareUsage::to_string).collect();
        format!(",\"shares\":{}", JsonString(&shares.join("; ")))
    }

    fn trace_pool(&self, timeline: &Timeline, trace: &mut Trace<impl Write>) -> io::Result<()> {
        if self.lost > 0 {
            let lost = format!("{} events lost", self.lost);
            trace.instant(POOL, timeline.whole.from, &lost, "")?;
        }
        for &span in &timeline.dry {
            trace.bar(POOL, span, "dry", "\"cat\":\"dry\",\"cname\":\"terrible\"")?;
        }
        for Event { at, kind, .. } in self.events_of_pool() {
            trace.instant(POOL, *at, &kind.to_string(), "")?;
        }
        for (at, free) in timeline.free_frames(self.frames) {
            trace.begin("C", POOL, at, "free frames")?;
            write!(trace.out, ",\"args\":{{\"free\":{free}}}}}")?;
        }
        for share in self.shares.iter().filter_map(|usage| usage.share) {
            let name = format!("frames of {share}");
            for (at, frames) in self.frames_of_share(share) {
                trace.begin("C", POOL, at, &name)?;
                write!(trace.out, ",\"args\":{{\"frames\":{frames}}}}}")?;
            }
        }
        Ok(())
    }

    fn trace_slots(&self, timeline: &Timeline, trace: &mut Trace<impl Write>) -> io::Result<()> {
        for slot in self.slots() {
            trace.track(track_of(slot), &format!("slot {slot}"))?;
        }
        for hold in &timeline.holds {
            let category = match hold.owner {
                Owner::Unclaimed => "\"cat\":\"unclaimed\",\"cname\":\"grey\"",
                _ => "\"cat\":\"frame\"",
            };
            let name = hold.owner.to_string();
            trace.bar(track_of(hold.slot), hold.span, &name, category)?;
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

    fn trace_waits(&self, timeline: &Timeline, trace: &mut Trace<impl Write>) -> io::Result<()> {
        let first = self
            .slots()
            .last()
            .map_or(FIRST_SLOT, |&slot| track_of(slot))
            + 1;
        let tracks: BTreeSet<_> = timeline.waits.iter().map(|wait| wait.track).collect();
        for track in tracks {
            trace.track(first + track as u64, &format!("waiter {}", track + 1))?;
        }
        for wait in &timeline.waits {
            let rest = format!(
                "\"cat\":\"wait\",\"cname\":\"bad\",\"args\":{{\"wait\":{},\"outcome\":\"{}\"}}",
                wait.number,
                wait.outcome()
            );
            let name = format!("{} waits", wait.caller);
            trace.bar(first + wait.track as u64, wait.span, &name, &rest)?;
        }
        Ok(())
    }
}

fn track_of(slot: usize) -> u64 {
    // No pool has more slots than that, but the fields of an event are public.
    FIRST_SLOT + (slot as u64 & u64::from(u32::MAX))
}

/// Trace that is being written.
struct Trace<W: Write> {
    out: BufWriter<W>,
    is_first: bool,
}

impl<W: Write> Trace<W> {
    /// Writes an event up to its name. The caller writes the rest and the closing brace.
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

    /// Writes a metadata event that names a process or a thread, which stands for a track here.
    fn name(&mut self, kind: &str, track: u64, name: &str) -> io::Result<()> {
        self.begin("M", track, Duration::ZERO, kind)?;
        write!(self.out, ",\"args\":{{\"name\":{}}}}}", JsonString(name))
    }

    /// Names a track and sets its position among the tracks.
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

/// Time in microseconds, the unit of the format.
struct Microseconds(Duration);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        write!(f, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
    }
}

/// Text as a JSON string, quoted and escaped.
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
    fn json_strings_survive_a_round_trip() {
        let all: String = (0..0x300).filter_map(char::from_u32).collect();
        for text in [&all, "", "\"\\/\u{2028}\u{1f3a5}\u{fffd}", "a\nb"] {
            let json = JsonString(text).to_string();
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn times_are_microseconds_with_three_decimals() {
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
