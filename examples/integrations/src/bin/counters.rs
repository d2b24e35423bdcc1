//! Exports the statistics of a pool with `metrics`.
//!
//! Run [`export`] at the interval at which the exporter of the program is read, for example once
//! per second. It reads [`FramePool::stats`]; frames are acquired and released without it.

use std::time::Duration;

use ks_allocator::{FramePool, Stats};
use ks_allocator_integrations::{Result, check};
use metrics::{counter, gauge};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshot};

/// Exports the statistics of a pool under the label `pool`.
///
/// Counters are set to the totals that the pool counted, so an export that is left out loses
/// nothing.
fn export(pool: &FramePool, name: &'static str) {
    let stats = pool.stats();
    let gauges = [
        ("frame_pool_frames", count(stats.frames)),
        ("frame_pool_free", count(stats.free)),
        ("frame_pool_waiting", count(stats.waiting)),
        ("frame_pool_high_water", count(stats.high_water)),
        ("frame_pool_wait_seconds", stats.total_wait.as_secs_f64()),
        (
            "frame_pool_longest_wait_seconds",
            stats.longest_wait.as_secs_f64(),
        ),
    ];
    for (gauge, value) in gauges {
        gauge!(gauge, "pool" => name).set(value);
    }
    for (counter, total) in totals(&stats) {
        counter!(counter, "pool" => name).absolute(total);
    }
}

fn totals(stats: &Stats) -> [(&'static str, u64); 7] {
    [
        ("frame_pool_acquires_total", stats.acquires),
        ("frame_pool_failed_acquires_total", stats.failed_acquires),
        ("frame_pool_waits_total", stats.waits),
        ("frame_pool_timeouts_total", stats.timeouts),
        ("frame_pool_waits_cancelled_total", stats.waits_cancelled),
        ("frame_pool_shared_total", stats.shared),
        ("frame_pool_copies_total", stats.copies),
    ]
}

/// Returns a number of frames as a gauge has it.
fn count(frames: usize) -> f64 {
    frames as f64
}

fn main() -> Result {
    let recorder = DebuggingRecorder::new();
    let pool = FramePool::builder().frames(4).frame_size(1024).build()?;

    let held = pool.acquire_exact(4)?.collect::<Vec<_>>();
    check(pool.try_acquire().is_err(), "no frame is free")?;
    let wait = Duration::from_millis(5);
    check(pool.acquire_timeout(wait).is_err(), "the wait times out")?;
    metrics::with_local_recorder(&recorder, || export(&pool, "capture"));

    drop(held);
    drop(pool.acquire()?.share());
    metrics::with_local_recorder(&recorder, || export(&pool, "capture"));

    let exported = recorder.snapshotter().snapshot();
    let number = exported_values(exported)?;
    let value = |name: &str| find(&number, name);
    check(value("frame_pool_frames")? == 4.0, "4 frames")?;
    check(
        value("frame_pool_free")? == 4.0,
        "the last export found 4 free",
    )?;
    check(value("frame_pool_acquires_total")? == 5.0, "5 acquires")?;
    check(
        value("frame_pool_failed_acquires_total")? == 1.0,
        "1 failed acquire",
    )?;
    check(value("frame_pool_timeouts_total")? == 1.0, "1 timeout")?;
    check(value("frame_pool_shared_total")? == 1.0, "1 shared frame")?;
    let longest = value("frame_pool_longest_wait_seconds")?;
    check(longest >= wait.as_secs_f64(), "a wait of at least 5 ms")?;

    for (name, value) in &number {
        println!("{name}{{pool=\"capture\"}} {value}");
    }
    println!("counters: metrics={} acquires=5 timeouts=1", number.len());
    Ok(())
}

/// Returns the names and values of a snapshot, all of which have the label of the pool.
fn exported_values(snapshot: Snapshot) -> Result<Vec<(String, f64)>> {
    let mut values = Vec::new();
    for (key, _, _, value) in snapshot.into_vec() {
        let key = key.key();
        let labels: Vec<_> = key
            .labels()
            .map(|label| (label.key(), label.value()))
            .collect();
        check(
            labels == [("pool", "capture")],
            "each metric names its pool",
        )?;
        let value = match value {
            DebugValue::Counter(total) => total as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => return Err("a histogram was exported".into()),
        };
        values.push((key.name().to_owned(), value));
    }
    Ok(values)
}

fn find(values: &[(String, f64)], name: &str) -> Result<f64> {
    let found = values.iter().find(|(exported, _)| exported == name);
    let (_, value) = found.ok_or_else(|| format!("{name} was not exported"))?;
    Ok(*value)
}
