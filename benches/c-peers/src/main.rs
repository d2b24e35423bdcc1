//! Comparison of this pool with those of GStreamer, FFmpeg and DPDK, in the harness of
//! `benches/ratios`.
//!
//! `cargo run --release --manifest-path benches/c-peers/Cargo.toml -- --help`

mod dpdk;
mod ffmpeg;
mod frame;
mod gstreamer;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ks_allocator_ratios::contender::Contender;
use ks_allocator_ratios::options::{Filters, HELP, Request};
use ks_allocator_ratios::workloads::{Demand, Setup, select};
use ks_allocator_ratios::{readme, report};

/// Workloads that these pools are measured with.
const WORKLOADS: [&str; 6] = ["W1", "W1-1024", "W2", "W3", "W3-8", "W4"];

fn peers(demand: Demand) -> Vec<Box<dyn Contender>> {
    let mut peers = dpdk::all(demand);
    peers.push(gstreamer::peer(demand));
    peers.push(ffmpeg::peer(demand));
    peers
}

fn main() -> ExitCode {
    let record = PathBuf::from("target/c-peers.json");
    let done = Request::parse(std::env::args().skip(1), record).and_then(|request| match request {
        Request::Measure {
            filters,
            quick,
            alone,
            record,
        } => {
            let setup = Setup {
                peers,
                quick,
                alone,
            };
            measure(&filters, setup, &record)
        }
        Request::Repeat { .. } => Err("only the benchmark `ratios` can repeat".to_owned()),
        Request::Tables { readme, records } => {
            let records: Vec<&Path> = records.iter().map(PathBuf::as_path).collect();
            readme::replace_tables(&readme, &records)
        }
        Request::Draw { .. } | Request::Curves { .. } => {
            Err("only the benchmark `ratios` can draw".to_owned())
        }
        Request::Help => {
            println!("{HELP}\nWorkloads: {}", WORKLOADS.join(" "));
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(filters: &Filters, setup: Setup, path: &Path) -> Result<(), String> {
    let mut workloads = select(filters)?;
    workloads.retain(|workload| WORKLOADS.contains(&workload.id));
    if workloads.is_empty() {
        return Err(format!(
            "these pools are measured only with {}",
            WORKLOADS.join(" ")
        ));
    }
    dpdk::start()?;
    let record = report::run(&workloads, setup)?;
    record.write(path)?;
    println!("\nwritten to {}", path.display());
    Ok(())
}
