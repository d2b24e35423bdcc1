//! Acquires and releases a frame a given number of times, so that the instructions can be counted.
//! Unlike time, the count does not depend on the load of the machine. `.ci/check-instructions`
//! runs this program twice; the difference of the counts belongs to the difference in rounds.
//!
//! `cargo bench --bench instructions -- ROUNDS`

#![expect(clippy::print_stdout, reason = "says how it is used")]

#[path = "common/start.rs"]
mod start;

use std::env;
use std::hint::black_box;

use ks_allocator::FramePool;

use start::Start;

fn main() {
    // Cargo adds arguments of its own, which are ignored.
    let arguments: Vec<_> = env::args().skip(1).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok());
    if rounds.is_none() && matches!(Start::of_this_program(), Start::Hint) {
        println!("instructions per acquire and release: .ci/check-instructions");
        return;
    }
    let pool = FramePool::builder()
        .frames(64)
        .frame_size(4096)
        .build()
        .expect("256 KiB of memory are free");
    acquire_and_drop(&pool, rounds.unwrap_or(1));
    assert_eq!(pool.free_frames(), 64);
}

#[inline(never)]
fn acquire_and_drop(pool: &FramePool, rounds: u64) {
    for _ in 0..rounds {
        drop(black_box(pool.try_acquire()));
    }
}
