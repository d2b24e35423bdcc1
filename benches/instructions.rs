//! Acquires and releases a frame a given number of times, so that the instructions can be counted.
//! Unlike time, the count does not depend on the load of the machine. `.ci/check-instructions`
//! runs this program twice; the difference of the counts belongs to the difference in rounds.
//!
//! `cargo bench --bench instructions -- ROUNDS`

use std::env;
use std::hint::black_box;

use ks_allocator::FramePool;

fn main() {
    // Cargo adds arguments of its own, which are ignored.
    let rounds = env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok());
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
