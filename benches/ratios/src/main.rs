//! Program behind `cargo bench --bench ratios`, which is run in the crate's root.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ks_allocator_ratios::options::{Filters, HELP, Request};
use ks_allocator_ratios::record::Record;
use ks_allocator_ratios::workloads::{Setup, curves, select};
use ks_allocator_ratios::{peers, pictures, readme, repeat, report};

fn main() -> ExitCode {
    let record = PathBuf::from("target/ratios.json");
    let done = Request::parse(std::env::args().skip(1), record).and_then(|request| match request {
        Request::Measure {
            filters,
            quick,
            alone,
            record,
        } => {
            let setup = Setup {
                peers: peers::all,
                quick,
                alone,
            };
            measure(&filters, setup, &record)
        }
        Request::Repeat {
            filters,
            quick,
            times,
        } => select(&filters).and_then(|workloads| repeat::run(&workloads, quick, times)),
        Request::Draw { record, folder } => pictures::draw(&Record::read(&record)?, &folder),
        Request::Curves { folder, quick } => {
            let setup = Setup {
                peers: peers::all,
                quick,
                alone: false,
            };
            draw_curves(setup, &folder)
        }
        Request::Tables { readme, records } => {
            let records: Vec<&Path> = records.iter().map(PathBuf::as_path).collect();
            readme::replace_tables(&readme, &records)
        }
        Request::Help => {
            println!("cargo bench --bench ratios --\n{HELP}");
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

fn draw_curves(setup: Setup, folder: &Path) -> Result<(), String> {
    let conditions = Record::of(Vec::new(), setup.quick).conditions();
    println!("Measured {conditions}. Median nanoseconds per frame.");
    for chart in [curves::by_frames(setup)?, curves::by_threads(setup)?] {
        print!("{}", readme::chart_table(&chart));
        pictures::draw_chart(&chart, &conditions, folder)?;
    }
    Ok(())
}

fn measure(filters: &Filters, setup: Setup, path: &Path) -> Result<(), String> {
    let record = report::run(&select(filters)?, setup)?;
    record.write(path)?;
    println!("\nwritten to {}", path.display());
    Ok(())
}
