//! The memory behind a pool: large, prefaulted, aligned, apart from every other. (`kernel_mode` has
//! what is said of both modes.)

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
use ks_allocator::AllocatorMode;
use ks_allocator::{BuildError, CommitError, FramePool, Framing};

#[test]
#[cfg(target_pointer_width = "64")]
fn more_than_two_gigabytes_are_fine() {
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
fn memory_that_cannot_be_had_is_an_error_with_the_number() {
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
fn every_frame_is_aligned_as_asked_for() {
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
fn two_pools_never_share_a_frame() {
    let pools = [(); 4].map(|()| {
        FramePool::builder()
            .frames(4)
            .frame_size(64)
            .build()
            .unwrap()
    });
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

/// Page faults of this thread so far.
#[cfg(target_os = "linux")]
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The fields after the name, which is in parentheses: minflt is the 8th, majflt the 10th.
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
fn a_prefaulted_pool_leaves_no_page_fault_for_its_frames() {
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
        // Checkers of memory fault on pages of their own while they watch.
        let faults = faults() - before;
        assert!(
            faults < PAGES / 4,
            "{faults} faults for {PAGES} pages of {mode} memory"
        );
    }
}
