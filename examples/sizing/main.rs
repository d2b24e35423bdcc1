//! Number of frames that a pipeline needs: forecasts from one recording, compared with runs.
//!
//! ```text
//! cargo run --release --features serde --example sizing
//! cargo run --release --features serde --example sizing -- --save recording.json
//! cargo run --release --features serde --example sizing -- recording.json
//! ```
//!
//! Without a file, a pipeline of this program is recorded twice: with 8 frames, which suffice, and
//! with 5, which do not. From each recording, its waits with other numbers of frames are predicted,
//! and then they are measured. With a file, which contains a `Recording` as
//! JSON, the program prints the forecast for it. With the feature `recording-export`, it draws the
//! forecast to `target/sizing.svg`, too.

#![expect(clippy::print_stdout, reason = "a command-line program")]

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use ks_allocator::{Recording, Sizing, WaitTotals};

mod pipeline;

/// Number of frames of the recorded pipeline, and of its second recording.
const RECORDED: usize = 8;
const FEWER: usize = 5;

/// Numbers of frames that are measured. The pipeline stalls with fewer.
const MEASURED: RangeInclusive<usize> = 3..=8;

/// Longest wait of a number of frames that suffices.
const BOUND: Duration = Duration::from_millis(2);

/// Number of runs per number of frames.
const RUNS: usize = 5;

/// Maximum number of times that the first recording is repeated.
const MAX_REPEATS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (recording, is_own) = match arguments[..] {
        [] => (record_enough()?, true),
        ["--save", file] => {
            let recording = record_enough()?;
            fs::write(file, serde_json::to_string(&recording)?)?;
            (recording, true)
        }
        [file] if !file.starts_with('-') => {
            (serde_json::from_str(&fs::read_to_string(file)?)?, false)
        }
        _ => return Err("usage: sizing [--save FILE | FILE]".into()),
    };
    let sizing = recording.sizing();
    println!("{sizing}\n");
    draw(&sizing)?;
    if is_own {
        compare(&sizing, &run(FEWER)?.sizing())
    } else {
        let least = sizing.frames_for(BOUND);
        let least = least.map_or("none".to_owned(), |frames| frames.to_string());
        println!("sizing: frames={} least={least}", sizing.frames);
        Ok(())
    }
}

/// Records the pipeline with enough frames. If it waits nevertheless, other programs have taken the
/// processors, and it is recorded again.
fn record_enough() -> Result<Recording, Box<dyn Error>> {
    let mut recording = run(RECORDED)?;
    for _ in 0..MAX_REPEATS {
        if recording.sizing().recorded.noticeable == 0 {
            break;
        }
        recording = run(RECORDED)?;
    }
    Ok(recording)
}

#[cfg(feature = "recording-export")]
fn draw(sizing: &Sizing) -> std::io::Result<()> {
    fs::create_dir_all("target")?;
    sizing.write_svg(fs::File::create("target/sizing.svg")?)
}

#[cfg(not(feature = "recording-export"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn draw(_: &Sizing) -> std::io::Result<()> {
    Ok(())
}

/// Runs the pipeline with each number of frames, and prints what was measured beside the forecasts
/// of two recordings.
fn compare(sizing: &Sizing, of_fewer: &Sizing) -> Result<(), Box<dyn Error>> {
    let columns = format!("from {RECORDED}   from {FEWER}  measured");
    println!("          waits of over 0.1 ms            total wait in ms");
    println!("frames    {columns}    {columns}");
    let (mut good, mut all) = (0, 0);
    let mut least_measured = 0;
    for frames in MEASURED.rev() {
        let run = run(frames)?.sizing();
        let requests = run.sources.iter().map(|source| source.requests).sum();
        let measured = run.recorded;
        if measured.longest <= BOUND {
            least_measured = frames;
        }
        let mut waits = format!("{frames:6}  ");
        let mut totals = "  ".to_owned();
        let mut marks = String::new();
        for sizing in [sizing, of_fewer] {
            let forecast = sizing.at(frames).ok_or("up to twice the frames")?.waits;
            write!(waits, "{:8} ", forecast.noticeable)?;
            write!(totals, "{:8.1} ", milliseconds(forecast.total))?;
            let is_good = is_within_bounds(&forecast, &measured, requests);
            marks += if is_good { " good" } else { " OUT OF BOUNDS" };
            good += usize::from(is_good);
            all += 1;
        }
        write!(waits, " {:8}", measured.noticeable)?;
        write!(totals, " {:8.1}", milliseconds(measured.total))?;
        println!("{waits}  {totals}  {marks}");
    }
    let least = sizing.frames_for(BOUND).unwrap_or(0);
    println!("sizing: least={least} measured={least_measured} good={good} of {all}");
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Runs the pipeline several times at once, and returns the recording of the run that took the
/// least time: other programs have disturbed it the least.
fn run(frames: usize) -> Result<Recording, Box<dyn Error>> {
    let runs = [(); RUNS].map(|()| thread::spawn(move || pipeline::run(frames)));
    let mut recordings = Vec::new();
    for run in runs {
        let pool = run.join().map_err(|_| "a thread panicked")??;
        recordings.push(pool.recording().ok_or("`record` turns the recorder on")?);
    }
    recordings.sort_by_key(|recording| recording.events.last().map(|event| event.at));
    Ok(recordings.swap_remove(0))
}

/// Returns `true` if a forecast is within the bounds that `Recording::sizing` documents: 10 % of
/// the requests, and 15 % of the total wait plus 0.2 ms per request.
fn is_within_bounds(forecast: &WaitTotals, measured: &WaitTotals, requests: u64) -> bool {
    let waits = forecast.noticeable.abs_diff(measured.noticeable);
    let total = forecast.total.abs_diff(measured.total);
    let noise = Duration::from_micros(200) * u32::try_from(requests).unwrap_or(u32::MAX);
    waits * 10 <= requests && total <= measured.total * 15 / 100 + noise
}
