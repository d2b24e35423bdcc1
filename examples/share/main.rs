//! Two processes that share one pool of frames: one draws them, the other reads them in place.
//!
//! ```text
//! cargo run --release --example share
//! ```
//!
//! The owner of the pool starts this program once more as the borrower, and sends it a handle of
//! the pool's memory. After that, the owner sends 32 bytes per frame, its token, and receives 40:
//! the token and a checksum. Then a second borrower is killed while it holds frames, and the owner
//! revokes them.
//!
//! Begin with `owner.rs`: frames are lent, redeemed and revoked there. `borrower.rs` is the other
//! process, and `channel.rs` connects the two.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::time::Instant;

use ks_allocator::{AllocatorMode, BuildError, FramePool};

use owner::{Answer, Loans, TOKEN};
use pattern::Pattern;

mod borrower;
mod channel;
mod owner;
mod pattern;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

const HELP: &str = "\
Lends the frames of a pool to another process, which reads them without a copy.

Usage: cargo run --release --example share -- [OPTIONS]

  --frames N   number of frames to lend before the other process is killed (default: 1000)
  --help       print this help
";

/// The argument that makes the program a borrower.
const BORROW: &str = "--borrow";

const POOL: usize = 8;

/// Number of frames that are lent to the second borrower before it is killed. It then holds some.
const UNTIL_THE_KILL: u64 = 2 * POOL as u64;

/// Bytes that are sent and received per frame. None of them is a byte of the frame.
const MESSAGES: u64 = (TOKEN + Answer::BYTES) as u64;

enum Command {
    Help,
    Borrow,
    Lend { frames: u64 },
}

fn main() -> ExitCode {
    let done = match parse(env::args_os().skip(1)) {
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Borrow) => borrower::run(),
        Ok(Command::Lend { frames }) => run(frames),
        Err(error) => {
            eprintln!("share: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("share: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut frames = 1000;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let arg = arg.to_string_lossy();
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (&*arg, None),
        };
        match (name, &value) {
            ("--help" | "-h", None) => return Ok(Command::Help),
            (BORROW, None) => return Ok(Command::Borrow),
            ("--frames", _) => {
                let next = || args.next().map(|next| next.to_string_lossy().into_owned());
                let value = value.or_else(next).ok_or("--frames needs a value")?;
                let wrong = |_| format!("--frames: `{value}` is not a number of 1 or more");
                frames = value.parse::<NonZeroU64>().map_err(wrong)?.get();
            }
            _ => return Err(format!("there is no option `{arg}`")),
        }
    }
    Ok(Command::Lend { frames })
}

fn pool(pattern: &Pattern) -> Result<FramePool, BuildError> {
    FramePool::builder()
        .frames(POOL)
        .frame_size(pattern.frame_size())
        .alignment(64)
        .mode(AllocatorMode::Kernel)
        .build()
}

fn run(frames: u64) -> Result<(), BoxError> {
    let pattern = Pattern::full_hd();
    let pool = pool(&pattern)?;

    let start = Instant::now();
    let mut loans = Loans::to_new_process(&pool)?;
    let borrower = loans.borrower();
    for number in 0..frames {
        loans.lend(number, &pattern)?;
    }
    let sent = loans.finish()?;
    let (read, seconds) = (
        frames * pattern.frame_size() as u64,
        start.elapsed().as_secs_f64(),
    );
    println!(
        "process {borrower} read {frames} frames of 1080p NV12, {read} bytes, in {seconds:.2} s"
    );
    println!("{sent} bytes were sent: each token, in both directions, and a checksum per frame");

    let mut loans = Loans::to_new_process(&pool)?;
    let borrower = loans.borrower();
    for number in frames..frames + UNTIL_THE_KILL {
        loans.lend(number, &pattern)?;
    }
    let out = pool.frames() - pool.free_frames();
    let recovered = loans.kill()?;
    let free = pool.free_frames();
    println!(
        "process {borrower} was killed while {out} frames were out; {recovered} did not come back"
    );
    println!("these were revoked: {free} of {POOL} frames are free");

    let lost = POOL - free;
    let copied = sent - frames * MESSAGES;
    println!(
        "share: frames={frames} copied_bytes={copied} lost={lost} recovered_after_kill={recovered}"
    );
    if recovered == 0 {
        return Err("the process that was killed held no frames".into());
    }
    if lost != 0 || copied != 0 {
        return Err("frames were lost or copied".into());
    }
    Ok(())
}
