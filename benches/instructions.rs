//! A frame out and back, so often as is said: for counting instructions, which no neighbour on the
//! machine can disturb. `.ci/check-instructions` runs it twice, and the difference is what the rounds
//! take.
//!
//! `cargo bench --bench instructions -- ROUNDS [no-caches]`

use std::env;
use std::hint::black_box;

use ks_allocator::FramePool;

fn main() {
    // Cargo adds arguments of its own.
    let arguments: Vec<_> = env::args().skip(1).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok());
    let caches = !arguments.iter().any(|argument| argument == "no-caches");
    let pool = FramePool::builder()
        .frames(64)
        .frame_size(4096)
        .caches(caches)
        .build()
        .expect("a quarter of a megabyte is there");
    acquire_and_drop(&pool, rounds.unwrap_or(1));
    assert_eq!(pool.free_frames(), 64);
}

#[inline(never)]
fn acquire_and_drop(pool: &FramePool, rounds: u64) {
    for _ in 0..rounds {
        drop(black_box(pool.try_acquire()));
    }
}
