//! Change of the picture format in mid-stream, without a stop.
//!
//! ```text
//! cargo run --release --example format_change
//! ```
//!
//! A source switches between 720p, 1080p and portrait every 20 pictures. A sink shows each picture,
//! and keeps the last one until the next is there, as displays do. Frames of the old format are out
//! at every change, so a pool that must be empty for a change would never get there.
//!
//! The memory has a limit. As long as both formats fit, the new frames are allocated beside the old
//! ones. Where they do not, the source drains: it frees the old frames first. But the sink keeps
//! its last picture until it gets a new one, so the drain times out, and its error names the sink.
//! The source then takes fewer frames, which fit.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::error::Error;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ks_allocator::{
    CommitError, Frame, FramePool, KsAllocator, PoolAllocator, ReframeError, Reframing,
    SharedFrame, VideoFormat, VideoLayout,
};

const CHANGES: usize = 60;
const PICTURES_PER_FORMAT: u64 = 20;
const FRAMES: usize = 4;
const MAX_BYTES: usize = 16 << 20;
const MIB: f64 = (1 << 20) as f64;

fn main() -> Result<(), Box<dyn Error>> {
    let layouts = [(1280, 720), (1920, 1080), (720, 1280)]
        .map(|(width, height)| VideoLayout::new(VideoFormat::Nv12, width, height));
    let layouts: Vec<VideoLayout> = layouts.into_iter().collect::<Result<_, _>>()?;
    let builder = FramePool::builder().frames(FRAMES).video(&layouts[0]);
    let allocator = PoolAllocator::from_builder(&builder.max_bytes(MAX_BYTES))?;
    allocator.commit()?;

    let (to_sink, from_source) = sync_channel(1);
    let (sent, shown) = thread::scope(|scope| {
        let sink = scope.spawn(|| show(from_source));
        let sent = send(&allocator, &layouts, to_sink);
        (sent, sink.join())
    });
    let (sent, shown) = (sent?, shown.map_err(|_| "the sink panicked")?);
    println!(
        "longest time between two pictures at the sink: {:?}; longest change: {:?}",
        shown.longest_gap, sent.longest_change
    );
    println!(
        "memory: at most {:.1} of {:.1} MiB",
        sent.max_bytes as f64 / MIB,
        MAX_BYTES as f64 / MIB
    );
    println!(
        "format_change: changes={} drained={} pictures={} lost={} wrong={} over_budget={}",
        sent.changes,
        sent.timed_out_drains,
        shown.pictures,
        sent.pictures - shown.pictures,
        shown.wrong,
        usize::from(sent.max_bytes > MAX_BYTES)
    );
    Ok(())
}

/// Counters of the source.
#[derive(Debug, Default)]
struct Sent {
    pictures: u64,
    changes: usize,
    timed_out_drains: usize,
    longest_change: Duration,
    max_bytes: usize,
}

fn send(
    allocator: &PoolAllocator,
    layouts: &[VideoLayout],
    to_sink: SyncSender<SharedFrame>,
) -> Result<Sent, Box<dyn Error>> {
    // The handle of the first format serves to the end.
    let pool = allocator.pool().ok_or("the allocator is committed")?;
    let mut sent = Sent::default();
    for change in 0..=CHANGES {
        if change > 0 {
            let began = Instant::now();
            change_format(allocator, &layouts[change % layouts.len()], &mut sent)?;
            sent.longest_change = sent.longest_change.max(began.elapsed());
            sent.changes += 1;
        }
        sent.max_bytes = sent.max_bytes.max(allocator.bytes_in_use().unwrap_or(0));
        for _ in 0..PICTURES_PER_FORMAT {
            let mut frame = pool.with_label("source").acquire()?;
            draw(&mut frame, sent.pictures)?;
            to_sink.send(frame.share())?;
            sent.pictures += 1;
        }
    }
    Ok(sent)
}

/// Changes to a layout, with as many frames as fit beside those that are still out.
fn change_format(
    allocator: &PoolAllocator,
    layout: &VideoLayout,
    sent: &mut Sent,
) -> Result<(), Box<dyn Error>> {
    for frames in (2..=FRAMES).rev() {
        let reframing = Reframing::video(frames, layout);
        match allocator.reframe(reframing.clone()) {
            Err(ReframeError::Commit(CommitError::OverBudget { .. })) => {}
            other => return Ok(other.map(drop)?),
        }
        match allocator.reframe(reframing.drain(Duration::from_millis(5))) {
            Err(ReframeError::NotIdle(error)) => {
                if sent.timed_out_drains == 0 {
                    println!("{error}");
                }
                sent.timed_out_drains += 1;
            }
            other => return Ok(other.map(drop)?),
        }
    }
    Err("two frames of the new format do not fit".into())
}

/// Writes a number into every row of the picture.
fn draw(frame: &mut Frame, number: u64) -> Result<(), Box<dyn Error>> {
    frame.metadata_mut().sequence = number;
    for mut plane in frame.planes_mut()? {
        for row in plane.rows_mut() {
            row[..8].copy_from_slice(&number.to_le_bytes());
        }
    }
    Ok(())
}

/// Counters of the sink.
#[derive(Debug, Default)]
struct Shown {
    pictures: u64,
    /// Pictures out of order, or with other contents than the source wrote.
    wrong: u64,
    longest_gap: Duration,
}

fn show(from_source: Receiver<SharedFrame>) -> Shown {
    let mut shown = Shown::default();
    let mut on_screen: Option<SharedFrame> = None;
    let mut last = Instant::now();
    for picture in from_source {
        picture.set_label("sink");
        shown.longest_gap = shown.longest_gap.max(last.elapsed());
        last = Instant::now();
        let is_right = picture.planes().is_ok_and(|planes| {
            let expected = shown.pictures.to_le_bytes();
            let mut rows = planes.iter().flat_map(|plane| plane.rows());
            rows.all(|row| row[..8] == expected)
        });
        shown.wrong += u64::from(!is_right || picture.metadata().sequence != shown.pictures);
        shown.pictures += 1;
        // The last picture stays until this one is on the screen.
        on_screen = Some(picture);
        thread::sleep(Duration::from_micros(500));
    }
    drop(on_screen);
    shown
}
