//! Memory of a pool: size, alignment, prefaulting, and separation of pools. Tests of both modes are
//! in `kernel_mode`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
use ks_allocator::AllocatorMode;
use ks_allocator::FramePool;

use support::pool::pool;

mod support {
    pub(crate) mod pool;
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_pool_may_be_larger_than_2_gib() {
    const GIB: usize = 1 << 30;
    let pool = FramePool::builder()
        .frames(3)
        .frame_size(GIB)
        .prefault(false)
        .build()
        .unwrap();
    let mut frames: Vec<_> = pool.acquire_many(3).unwrap().collect();
    for (number, frame) in (1..).zip(&mut frames) {
        assert_eq!((frame[0], frame[GIB - 1]), (0, 0));
        frame[0] = number;
        frame[GIB - 1] = number;
    }
    for (number, frame) in (1..).zip(&frames) {
        assert_eq!((frame[0], frame[GIB - 1]), (number, number));
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_out_of_memory_error_contains_the_number_of_bytes() {
    use ks_allocator::{BuildError, CommitError, Framing};

    let builder = FramePool::builder()
        .frames(Framing::MAX_FRAMES)
        .frame_size(isize::MAX as usize / Framing::MAX_FRAMES - 128)
        .prefault(false);
    match builder.build().unwrap_err() {
        BuildError::Commit(CommitError::OutOfMemory { bytes }) => {
            assert!(bytes > isize::MAX as usize / 2, "{bytes}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_prefix_start_is_aligned() {
    for alignment in [1, 2, 3, 12, 64, 100, 4096, 5000, 65_535, 65_536] {
        for prefix in [0, 1, 64] {
            let pool = FramePool::builder()
                .frames(5)
                .frame_size(1000)
                .alignment(alignment)
                .prefix(prefix)
                .build()
                .unwrap();
            let frames: Vec<_> = pool.acquire_many(5).unwrap().collect();
            for frame in &frames {
                assert_eq!(frame.prefix().as_ptr().addr() % alignment, 0);
                assert_eq!((prefix + frame.capacity()) % alignment, 0);
                assert!(frame.capacity() >= 1000);
            }
        }
    }
}

#[test]
fn pools_share_no_memory() {
    let pools = [(); 4].map(|()| pool(4, 64));
    let mut frames: Vec<_> = pools
        .iter()
        .flat_map(|pool| pool.acquire_many(4).unwrap())
        .collect();
    for (number, frame) in (0..).zip(&mut frames) {
        frame.fill(number);
    }
    for (number, frame) in (0..).zip(&frames) {
        assert!(frame.iter().all(|&byte| byte == number));
    }
    drop(frames);
    assert!(pools.iter().all(|pool| pool.free_frames() == 4));
}

/// Returns the number of page faults of this thread so far.
#[cfg(target_os = "linux")]
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // Of the fields after the name, which is in parentheses, minflt is the 8th and majflt the 10th.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[7].parse::<u64>().unwrap() + fields[9].parse::<u64>().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn frames_of_a_prefaulted_pool_cause_no_page_faults() {
    const PAGES: u64 = 4096;
    for mode in [AllocatorMode::User, AllocatorMode::Kernel] {
        let pool = FramePool::builder()
            .frames(16)
            .frame_size(1 << 20)
            .shards(1)
            .mode(mode)
            .build()
            .unwrap();
        let mut frames: Vec<_> = pool.acquire_many(16).unwrap().collect();
        assert_eq!(frames.len() as u64 * (1 << 20), PAGES * 4096);
        let before = faults();
        for frame in &mut frames {
            frame.fill(1);
        }
        // Sanitizers cause page faults of their own.
        let faults = faults() - before;
        assert!(
            faults < PAGES / 4,
            "{faults} faults for {PAGES} pages of {mode} memory"
        );
    }
}
