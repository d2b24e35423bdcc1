//! Guard pages: an access through a pointer to a released frame, or outside a frame, ends the
//! process with a message.
//!
//! Such an access runs in a process of its own: the test starts its own program again, which then
//! runs only that test.

#![cfg(any(target_os = "linux", windows))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "accesses memory through invalid pointers")]

#[cfg(target_os = "linux")]
mod unix;

use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{self, Output};
use std::thread;

use ks_allocator::{
    AllocatorMode, BuildError, CommitError, Contents, FrameMemory, FramePool, FramePoolBuilder,
    Framing, KsAllocator, MemoryBlock, PoolAllocator, RemoteFrames,
};

use support::rerun::{rerun, role};
use support::wait_until::wait_until;

// `support` is beside this folder, because other test crates use it too.
#[path = "../support"]
mod support {
    #[cfg(feature = "windows")]
    pub(crate) mod com_client;
    #[cfg(target_os = "linux")]
    pub(crate) mod count_mappings;
    #[cfg(target_os = "linux")]
    pub(crate) mod open_descriptors;
    pub(crate) mod rerun;
    pub(crate) mod wait_until;
}

/// Output of a process that has reached the end of its scenario.
const SURVIVED: &str = "reached the end";

const MODES: [AllocatorMode; 2] = [AllocatorMode::User, AllocatorMode::Kernel];

/// Runs `scenario` in a process of its own. `test` is the name of the calling test.
fn run(test: &str, scenario: fn()) -> Output {
    if role().is_some_and(|role| role == test) {
        #[cfg(target_os = "linux")]
        unix::disable_core_dumps();
        scenario();
        io::stdout().write_all(SURVIVED.as_bytes()).unwrap();
        io::stdout().flush().unwrap();
        process::exit(0);
    }
    rerun(test, test)
        // A sanitizer would otherwise handle the signals first.
        .env(
            "ASAN_OPTIONS",
            "handle_segv=0:handle_sigbus=0:detect_leaks=0",
        )
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn survived(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(SURVIVED)
}

/// Runs a scenario that reaches its end without a message.
fn survives(test: &str, scenario: fn()) {
    let output = run(test, scenario);
    assert!(survived(&output) && output.status.success(), "{output:?}");
    assert!(!stderr(&output).contains("ks-allocator:"), "{output:?}");
}

/// Returns whether an invalid access ended the process.
fn faulted(output: &Output) -> bool {
    #[cfg(target_os = "linux")]
    return unix::was_ended_by(output, libc::SIGSEGV);
    #[cfg(windows)]
    return output.status.code() == Some(i32::from_ne_bytes(0xC000_0005_u32.to_ne_bytes()));
}

/// Runs a scenario that an invalid access ends, and returns the message after the address.
fn crash_message(test: &str, scenario: fn()) -> String {
    let output = run(test, scenario);
    assert!(faulted(&output) && !survived(&output), "{output:?}");
    let stderr = stderr(&output);
    let mut messages = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("ks-allocator: invalid access at 0x"))
        .filter_map(|rest| rest.split_once(": "));
    let (address, message) = messages.next().unwrap_or_else(|| panic!("{output:?}"));
    assert!(
        usize::from_str_radix(address, 16).unwrap() > 4096,
        "{stderr}"
    );
    assert!(messages.next().is_none(), "more than one message: {stderr}");
    message.to_owned()
}

/// Runs a scenario that an invalid access ends without a message.
fn crashes_without_message(test: &str, scenario: fn()) {
    let output = run(test, scenario);
    assert!(faulted(&output) && !survived(&output), "{output:?}");
    assert!(!stderr(&output).contains("ks-allocator:"), "{output:?}");
}

fn guarded() -> FramePoolBuilder {
    FramePool::builder()
        .frames(8)
        .frame_size(4096)
        .shards(1)
        .guard_pages(true)
}

/// Returns the size of a page in bytes.
fn page() -> usize {
    #[cfg(target_os = "linux")]
    return rustix::param::page_size();
    #[cfg(windows)]
    return 4096;
}

fn read(pointer: *const u8) {
    // SAFETY: the access is invalid on purpose. Either the memory is mapped, or the access ends the
    // process.
    let byte = unsafe { pointer.read_volatile() };
    black_box(byte);
}

fn write(pointer: *const u8) {
    // SAFETY: the access is invalid on purpose. Either the memory is mapped, or the access ends the
    // process.
    unsafe { pointer.cast_mut().write_volatile(1) };
}

/// Returns a pointer to the first byte of the frame in `slot`, which was released.
fn stale_pointer(pool: &FramePool, slot: usize) -> *const u8 {
    let frames: Vec<_> = (0..=slot).map(|_| pool.acquire().unwrap()).collect();
    assert_eq!(frames[slot].slot(), slot);
    frames[slot].as_ptr()
}

/// Returns the message with paths as on Unix.
fn with_unix_paths(message: &str) -> String {
    message.replace('\\', "/")
}

#[test]
fn a_read_of_a_released_frame() {
    let message = crash_message("a_read_of_a_released_frame", || {
        let pool = guarded().build().unwrap();
        let _another = FramePool::builder().guard_pages(true).frames(3);
        read(stale_pointer(&pool, 3).wrapping_add(17));
    });
    let expected = "byte 17 of slot 3, in a pool of 8 frames of 4096 bytes; slot 3 is free; \
                    its last holder acquired it at tests/guard_pages/main.rs:";
    assert!(with_unix_paths(&message).starts_with(expected), "{message}");
}

#[test]
fn the_message_names_the_last_holder() {
    let line = line!() + 4;
    let message = crash_message("the_message_names_the_last_holder", || {
        let pool = guarded().build().unwrap();
        let frame = pool.with_label("capture").acquire().unwrap();
        frame.set_label("encoder");
        let pointer = frame.as_ptr();
        drop(frame);
        read(pointer);
    });
    let expected = format!(
        "; slot 0 is free; its last holder is `encoder` (tests/guard_pages/main.rs:{line}), "
    );
    assert!(with_unix_paths(&message).contains(&expected), "{message}");
}

#[test]
fn a_write_to_a_released_frame_in_kernel_mode() {
    let message = crash_message("a_write_to_a_released_frame_in_kernel_mode", || {
        let pool = guarded().mode(AllocatorMode::Kernel).build().unwrap();
        write(stale_pointer(&pool, 5).wrapping_add(4095));
    });
    let expected = "byte 4095 of slot 5, in a pool of 8 frames of 4096 bytes; slot 5 is free";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_frame_that_was_never_acquired() {
    let message = crash_message("a_frame_that_was_never_acquired", || {
        let pool = guarded().frames(2).build().unwrap();
        let (frame, segment) = (pool.acquire().unwrap(), pool.segment());
        read(frame.as_ptr().wrapping_add(segment.stride));
    });
    let expected = "byte 0 of slot 1, in a pool of 2 frames of 4096 bytes; slot 1 is free \
                    and was never acquired";
    assert_eq!(message, expected);
}

#[test]
fn one_byte_past_the_end() {
    let message = crash_message("one_byte_past_the_end", || {
        // The size is not a multiple of the page size.
        let pool = guarded().frame_size(1000).alignment(8).build().unwrap();
        let mut frame = pool.acquire().unwrap();
        frame.fill(7);
        write(frame.as_ptr().wrapping_add(1000));
    });
    let expected =
        "1 byte past the end of slot 0, in a pool of 8 frames of 1000 bytes; slot 0 is out";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn one_byte_past_the_last_frame_in_kernel_mode() {
    let message = crash_message("one_byte_past_the_last_frame_in_kernel_mode", || {
        let pool = guarded().frames(1).mode(AllocatorMode::Kernel);
        let frame = pool.build().unwrap().acquire().unwrap();
        read(frame.as_ptr().wrapping_add(4096));
    });
    let expected =
        "1 byte past the end of slot 0, in a pool of 1 frame of 4096 bytes; slot 0 is out";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn one_byte_before_the_prefix() {
    let message = crash_message("one_byte_before_the_prefix", || {
        // Prefix and frame are whole pages.
        let pool = guarded().prefix(96).frame_size(2 * page() - 96);
        let pool = pool.build().unwrap();
        let frames = pool.acquire_many(3).unwrap();
        write(frames[2].prefix().as_ptr().wrapping_sub(1));
    });
    let expected = "1 byte before the prefix of slot 2, in a pool of 8 frames";
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains("; slot 2 is out"), "{message}");
}

#[test]
fn a_prefix_of_a_released_frame() {
    let message = crash_message("a_prefix_of_a_released_frame", || {
        let pool = guarded().prefix(96).build().unwrap();
        read(stale_pointer(&pool, 1).wrapping_sub(94));
    });
    let expected = "byte 2 of the prefix of slot 1, in a pool of 8 frames of 4096 bytes";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn an_overrun_is_found_within_a_page_for_any_alignment() {
    let message = crash_message(
        "an_overrun_is_found_within_a_page_for_any_alignment",
        || {
            let pool = guarded().frame_size(12_000).alignment(12).build().unwrap();
            let frame = pool.acquire().unwrap();
            write(frame.as_ptr().wrapping_add(12_000 + page() - 1));
        },
    );
    let expected = format!("{} bytes past the end of slot 0", page());
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn a_frame_that_was_released_before_another_commit() {
    let message = crash_message("a_frame_that_was_released_before_another_commit", || {
        let allocator = PoolAllocator::from_builder(&guarded()).unwrap();
        allocator.set_framing(&Framing::new(4, 100)).unwrap();
        allocator.commit().unwrap();
        let pointer = stale_pointer(&allocator.pool().unwrap(), 2);
        allocator.decommit();
        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap().len(), 100);
        allocator.decommit();
        read(pointer);
    });
    let expected = "byte 0 of slot 2, in a pool of 4 frames of 100 bytes; slot 2 is free";
    assert!(message.starts_with(expected), "{message}");
}

/// The last handle was dropped, and a frame is still out.
#[test]
fn a_released_frame_of_a_pool_without_handles() {
    let message = crash_message("a_released_frame_of_a_pool_without_handles", || {
        let pool = guarded().build().unwrap();
        let pointer = stale_pointer(&pool, 1);
        let _frame = pool.acquire().unwrap();
        drop(pool);
        read(pointer);
    });
    assert!(message.contains("; slot 1 is free"), "{message}");
}

#[test]
fn the_message_is_about_the_right_one_of_64_pools() {
    let message = crash_message("the_message_is_about_the_right_one_of_64_pools", || {
        let pools: Vec<_> = (1..=64)
            .map(|frames| guarded().frames(frames).build().unwrap())
            .collect();
        drop(guarded().frames(65).build().unwrap());
        read(stale_pointer(&pools[41], 7));
    });
    let expected = "byte 0 of slot 7, in a pool of 42 frames of 4096 bytes; slot 7 is free";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn the_65th_pool_crashes_without_a_message() {
    crashes_without_message("the_65th_pool_crashes_without_a_message", || {
        let pools: Vec<_> = (0..65).map(|_| guarded().build().unwrap()).collect();
        read(stale_pointer(&pools[64], 7));
    });
}

#[test]
fn an_access_outside_all_pools_has_no_message() {
    crashes_without_message("an_access_outside_all_pools_has_no_message", || {
        let pool = guarded().build().unwrap();
        drop(pool.acquire().unwrap());
        read(std::ptr::without_provenance(4096 + 17));
    });
}

#[test]
fn an_access_to_the_memory_of_a_dropped_pool_has_no_message() {
    crashes_without_message(
        "an_access_to_the_memory_of_a_dropped_pool_has_no_message",
        || {
            let pool = guarded().frames(4096).build().unwrap();
            let pointer = stale_pointer(&pool, 8);
            drop(pool);
            read(pointer);
        },
    );
}

#[test]
fn frames_are_accessible_however_they_are_acquired_and_released() {
    survives(
        "frames_are_accessible_however_they_are_acquired_and_released",
        || {
            for mode in MODES {
                for contents in [
                    Contents::Keep,
                    Contents::ZeroOnAcquire,
                    Contents::ZeroOnRelease,
                ] {
                    for (alignment, prefix) in [(1, 0), (64, 5), (12, 7), (8192, 1), (10_007, 3)] {
                        let builder = guarded().frame_size(5000).mode(mode).contents(contents);
                        acquire_and_release_in_all_ways(
                            &builder.alignment(alignment).prefix(prefix),
                        );
                    }
                }
            }
        },
    );
}

fn acquire_and_release_in_all_ways(builder: &FramePoolBuilder) {
    let pool = builder.build().unwrap();
    // All bytes of every frame, twice.
    for _ in 0..2 {
        for mut frame in pool.acquire_many(8).unwrap() {
            assert_eq!(
                frame.as_ptr().addr(),
                frame.prefix().as_ptr().addr() + frame.prefix().len()
            );
            frame.fill(7);
            frame.prefix_mut().fill(8);
            frame.metadata_mut().sequence = 9;
        }
    }
    // A batch from which one frame is taken and the others are released.
    let mut batch = pool.acquire_many(5).unwrap();
    batch.iter_mut().for_each(|frame| frame.fill(1));
    batch.next().unwrap().fill(2);
    drop(batch);
    // A frame that is shared, copied on write, and unique again.
    let mut one = pool.acquire().unwrap().share();
    let two = one.clone();
    one.make_mut().unwrap().fill(2);
    thread::spawn(move || assert!(two.len() >= 5000))
        .join()
        .unwrap();
    one.try_into_unique().unwrap().fill(3);
    // A frame that is lent, and redeemed or revoked.
    if pool.handle().is_some() {
        for redeem in [true, false] {
            let mut frame = pool.acquire().unwrap();
            frame.fill(40);
            let token = frame.lend().unwrap();
            let handle = pool.handle().unwrap();
            // SAFETY: no thread writes to the frame while it is lent.
            let peer = unsafe { RemoteFrames::open(handle) }.unwrap();
            assert!(peer.get(token).unwrap().iter().all(|&byte| byte == 40));
            let frame = if redeem {
                pool.redeem(token).unwrap()
            } else {
                pool.revoke(token).unwrap()
            };
            frame.try_into_unique().unwrap().fill(4);
        }
    }
    // Frames that are assigned to waiters.
    let all: Vec<_> = (0..8).map(|_| pool.acquire().unwrap()).collect();
    let waiters: [_; 2] = std::array::from_fn(|_| {
        let pool = pool.clone();
        thread::spawn(move || {
            pool.acquire().unwrap().fill(5);
            pool.acquire_many(2)
                .unwrap()
                .for_each(|mut frame| frame.fill(6));
        })
    });
    wait_until(|| pool.waiting() >= 2);
    drop(all);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(pool.free_frames(), 8);
    // A frame that outlives the handles of its pool.
    let mut late = pool.acquire().unwrap();
    drop(pool);
    late.fill(7);
}

#[test]
fn frames_of_contending_threads_are_always_accessible() {
    survives("frames_of_contending_threads_are_always_accessible", || {
        for mode in MODES {
            let pool = guarded().frames(3).mode(mode).build().unwrap();
            thread::scope(|scope| {
                for thread in 0..4_u8 {
                    let pool = &pool;
                    scope.spawn(move || {
                        for _ in 0..500 {
                            let mut frame = pool.acquire().unwrap();
                            frame.fill(thread);
                            let shared = frame.share();
                            let other = shared.clone();
                            drop(shared);
                            assert!(other.iter().all(|&byte| byte == thread));
                        }
                    });
                }
            });
            assert_eq!(pool.free_frames(), 3);
        }
    });
}

#[test]
fn contents_are_kept_with_guard_pages() {
    for mode in MODES {
        let pool = guarded().frames(1).mode(mode).build().unwrap();
        pool.acquire().unwrap().fill(7);
        assert_eq!(*pool.acquire().unwrap(), [7; 4096]);
    }
}

#[test]
fn custom_memory_is_rejected_before_it_is_allocated() {
    struct Unused;
    impl FrameMemory for Unused {
        fn allocate(&self, _bytes: usize) -> io::Result<MemoryBlock> {
            unreachable!("the commit fails before")
        }
    }

    let allocator = PoolAllocator::from_builder(&guarded().memory(Unused)).unwrap();
    let error = allocator.commit().unwrap_err();
    assert!(matches!(error, CommitError::GuardPagesUnsupported { .. }));
    let reason = ": the pool does not change access rights of custom memory";
    assert!(error.to_string().ends_with(reason), "{error}");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Unsupported);
    assert_eq!(allocator.free_frames(), 8);
    assert!(allocator.pool().is_none());
}

#[test]
fn a_guarded_segment_that_is_too_large_is_an_error() {
    let error = guarded().frame_size(usize::MAX / 8).build().unwrap_err();
    assert!(
        matches!(error, BuildError::Commit(CommitError::TooLarge { .. })),
        "{error}"
    );
}

#[cfg(feature = "windows")]
mod com {
    use std::ptr;

    use ks_allocator::com::{GetBufferFlags, IMediaSample, S_OK};

    use super::support::com_client::{committed_com_allocator, get_buffer};
    use super::*;

    fn pointer(sample: &IMediaSample) -> *mut u8 {
        let mut pointer = ptr::null_mut();
        // SAFETY: `pointer` has room for a pointer.
        assert_eq!(unsafe { sample.GetPointer(&raw mut pointer) }, S_OK);
        pointer
    }

    fn use_a_pointer_after_release(mode: AllocatorMode) {
        let allocator = PoolAllocator::from_builder(&guarded().mode(mode)).unwrap();
        let (_allocator, client) = committed_com_allocator(allocator);
        let sample = || get_buffer(&client, GetBufferFlags::NOWAIT).unwrap();
        for _ in 0..2 {
            write(pointer(&sample()).wrapping_add(4095));
        }
        let (one, two) = (sample(), sample());
        let (first, second) = (pointer(&one), pointer(&two));
        let another = two.clone();
        drop(two); // not the last `Release`
        write(second);
        drop(another);
        write(first);
        write(second.wrapping_add(3));
    }

    #[test]
    fn a_pointer_that_a_client_uses_after_release() {
        let message = crash_message("com::a_pointer_that_a_client_uses_after_release", || {
            use_a_pointer_after_release(AllocatorMode::User);
        });
        let expected = "byte 3 of slot 1, in a pool of 8 frames of 4096 bytes; slot 1 is free";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn a_pointer_that_a_client_uses_after_release_in_kernel_mode() {
        let message = crash_message(
            "com::a_pointer_that_a_client_uses_after_release_in_kernel_mode",
            || use_a_pointer_after_release(AllocatorMode::Kernel),
        );
        let expected = "byte 3 of slot 1, in a pool of 8 frames of 4096 bytes; slot 1 is free";
        assert!(message.starts_with(expected), "{message}");
    }
}
