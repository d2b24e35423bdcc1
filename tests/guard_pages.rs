//! Pointers that were kept: whoever uses one dies of it at once, with a message.
//!
//! What is to die runs in a process of its own: the test runs its own program again, with nothing but
//! itself.

#![cfg(any(target_os = "linux", windows))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "follows stray pointers")]

#[cfg(target_os = "linux")]
#[path = "guard_pages/unix.rs"]
mod unix;

use std::env;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::{self, Command, Output};
use std::ptr::NonNull;
use std::thread;

use ks_allocator::{
    AllocatorMode, CommitError, Contents, FrameMemory, FramePool, FramePoolBuilder, Framing,
    KsAllocator, PoolAllocator, RemoteFrames,
};

/// Set in the process that runs a scenario, to its name.
const SCENARIO: &str = "KS_ALLOCATOR_TRAP";

/// What a process says that came to the end of its scenario.
const SURVIVED: &str = "came to the end";

const MODES: [AllocatorMode; 2] = [AllocatorMode::User, AllocatorMode::Kernel];

/// Runs `scenario` in a process of its own, which is the only test of this name there.
fn run(test: &str, scenario: fn()) -> Output {
    if env::var(SCENARIO).is_ok_and(|running| running == test) {
        #[cfg(target_os = "linux")]
        unix::leave_no_core();
        scenario();
        io::stdout().write_all(SURVIVED.as_bytes()).unwrap();
        io::stdout().flush().unwrap();
        process::exit(0);
    }
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SCENARIO, test)
        // A sanitizer would otherwise see to the signal first.
        .env(
            "ASAN_OPTIONS",
            "handle_segv=0:handle_sigbus=0:detect_leaks=0",
        )
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn survived(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(SURVIVED)
}

/// Runs a scenario that is to come to its end.
fn survives(test: &str, scenario: fn()) {
    let output = run(test, scenario);
    assert!(survived(&output) && output.status.success(), "{output:?}");
    assert!(!said(&output).contains("ks-allocator:"), "{output:?}");
}

/// Whether it was an access that ended the process.
fn faulted(output: &Output) -> bool {
    #[cfg(target_os = "linux")]
    return unix::died_of(output, libc::SIGSEGV);
    #[cfg(windows)]
    return output.status.code() == Some(i32::from_ne_bytes(0xC000_0005_u32.to_ne_bytes()));
}

/// Runs a scenario that is to die of an access, and returns the message, without the address.
fn dies(test: &str, scenario: fn()) -> String {
    let output = run(test, scenario);
    assert!(faulted(&output) && !survived(&output), "{output:?}");
    let said = said(&output);
    let mut messages = said
        .lines()
        .filter_map(|line| line.strip_prefix("ks-allocator: stray access at 0x"))
        .filter_map(|rest| rest.split_once(": "));
    let (address, message) = messages.next().unwrap_or_else(|| panic!("{output:?}"));
    assert!(usize::from_str_radix(address, 16).unwrap() > 4096, "{said}");
    assert!(messages.next().is_none(), "one message: {said}");
    message.to_owned()
}

/// Runs a scenario that is to die of an access that no pool knows anything of.
fn dies_unexplained(test: &str, scenario: fn()) {
    let output = run(test, scenario);
    assert!(faulted(&output) && !survived(&output), "{output:?}");
    assert!(!said(&output).contains("ks-allocator:"), "{output:?}");
}

fn trapped() -> FramePoolBuilder {
    FramePool::builder()
        .frames(8)
        .frame_size(4096)
        .shards(1)
        .guard_pages(true)
}

/// Bytes in a page.
fn page() -> usize {
    #[cfg(target_os = "linux")]
    return rustix::param::page_size();
    #[cfg(windows)]
    return 4096;
}

fn read(pointer: *const u8) {
    // SAFETY: none. That is what the trap is for: the memory is there, or nothing is, and to touch it ends
    // the process.
    let byte = unsafe { pointer.read_volatile() };
    black_box(byte);
}

fn write(pointer: *const u8) {
    // SAFETY: as for `read`.
    unsafe { pointer.cast_mut().write_volatile(1) };
}

/// A pointer to the first byte of the frame in `slot`, which is free again.
fn stale(pool: &FramePool, slot: usize) -> *const u8 {
    let frames: Vec<_> = (0..=slot).map(|_| pool.acquire().unwrap()).collect();
    assert_eq!(frames[slot].slot(), slot);
    frames[slot].as_ptr()
}

/// The message with the paths of another system as they are on this one.
fn on_unix(message: &str) -> String {
    message.replace('\\', "/")
}

#[test]
fn a_read_of_a_frame_that_was_given_back() {
    let message = dies("a_read_of_a_frame_that_was_given_back", || {
        let pool = trapped().build().unwrap();
        let _another = FramePool::builder().guard_pages(true).frames(3);
        read(stale(&pool, 3).wrapping_add(17));
    });
    let expected = "byte 17 of slot 3 of a pool of 8 frames of 4096 bytes; slot 3 is free; \
                    its last holder got it at tests/guard_pages.rs:";
    assert!(on_unix(&message).starts_with(expected), "{message}");
}

#[test]
fn the_last_holder_is_named_by_label_and_line() {
    let line = line!() + 4;
    let message = dies("the_last_holder_is_named_by_label_and_line", || {
        let pool = trapped().build().unwrap();
        let frame = pool.with_label("capture").acquire().unwrap();
        frame.set_label("encoder");
        let pointer = frame.as_ptr();
        drop(frame);
        read(pointer);
    });
    let expected =
        format!("; slot 0 is free; its last holder is `encoder` (tests/guard_pages.rs:{line}), ");
    assert!(on_unix(&message).contains(&expected), "{message}");
}

#[test]
fn a_write_to_a_frame_that_was_given_back_in_kernel_mode() {
    let message = dies(
        "a_write_to_a_frame_that_was_given_back_in_kernel_mode",
        || {
            let pool = trapped().mode(AllocatorMode::Kernel).build().unwrap();
            write(stale(&pool, 5).wrapping_add(4095));
        },
    );
    let expected = "byte 4095 of slot 5 of a pool of 8 frames of 4096 bytes; slot 5 is free";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn a_frame_that_was_never_out() {
    let message = dies("a_frame_that_was_never_out", || {
        let pool = trapped().frames(2).build().unwrap();
        let (frame, segment) = (pool.acquire().unwrap(), pool.segment());
        read(frame.as_ptr().wrapping_add(segment.stride));
    });
    let expected = "byte 0 of slot 1 of a pool of 2 frames of 4096 bytes; slot 1 is free, \
                    and was never acquired";
    assert_eq!(message, expected);
}

#[test]
fn one_byte_past_the_end() {
    let message = dies("one_byte_past_the_end", || {
        // The end is not the end of a page by itself.
        let pool = trapped().frame_size(1000).alignment(8).build().unwrap();
        let mut frame = pool.acquire().unwrap();
        frame.fill(7);
        write(frame.as_ptr().wrapping_add(1000));
    });
    let expected =
        "1 byte past the end of slot 0 of a pool of 8 frames of 1000 bytes; slot 0 is out";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn one_byte_past_the_last_frame_in_kernel_mode() {
    let message = dies("one_byte_past_the_last_frame_in_kernel_mode", || {
        let pool = trapped().frames(1).mode(AllocatorMode::Kernel);
        let frame = pool.build().unwrap().acquire().unwrap();
        read(frame.as_ptr().wrapping_add(4096));
    });
    let expected =
        "1 byte past the end of slot 0 of a pool of 1 frame of 4096 bytes; slot 0 is out";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn one_byte_before_the_prefix() {
    let message = dies("one_byte_before_the_prefix", || {
        // Prefix and frame are whole pages.
        let pool = trapped().prefix(96).frame_size(2 * page() - 96);
        let pool = pool.build().unwrap();
        let frames: Vec<_> = pool.acquire_many(3).unwrap().collect();
        write(frames[2].prefix().as_ptr().wrapping_sub(1));
    });
    let expected = "1 byte before slot 2 and its prefix of a pool of 8 frames";
    assert!(message.starts_with(expected), "{message}");
    assert!(message.contains("; slot 2 is out"), "{message}");
}

#[test]
fn a_prefix_that_was_given_back() {
    let message = dies("a_prefix_that_was_given_back", || {
        let pool = trapped().prefix(96).build().unwrap();
        read(stale(&pool, 1).wrapping_sub(94));
    });
    let expected = "byte 2 of the prefix of slot 1 of a pool of 8 frames of 4096 bytes";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn an_overrun_is_found_within_a_page_whatever_the_alignment() {
    let message = dies(
        "an_overrun_is_found_within_a_page_whatever_the_alignment",
        || {
            let pool = trapped().frame_size(12_000).alignment(12).build().unwrap();
            let frame = pool.acquire().unwrap();
            write(frame.as_ptr().wrapping_add(12_000 + page() - 1));
        },
    );
    let expected = format!("{} bytes past the end of slot 0", page());
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn frames_of_a_batch_that_nobody_took_out() {
    let message = dies("frames_of_a_batch_that_nobody_took_out", || {
        let pool = trapped().build().unwrap();
        let pointer = stale(&pool, 1);
        let mut batch = pool.acquire_many(2).unwrap();
        let first = batch.next().unwrap();
        assert_eq!(first[0], 0);
        read(pointer);
    });
    assert!(message.contains("; slot 1 is out"), "{message}");
}

#[test]
fn a_frame_that_was_given_back_between_commits() {
    let message = dies("a_frame_that_was_given_back_between_commits", || {
        let allocator = PoolAllocator::from_builder(&trapped()).unwrap();
        allocator.set_framing(&Framing::new(4, 100)).unwrap();
        allocator.commit().unwrap();
        let pointer = stale(&allocator.pool().unwrap(), 2);
        allocator.decommit();
        allocator.commit().unwrap();
        assert_eq!(allocator.acquire().unwrap().len(), 100);
        allocator.decommit();
        read(pointer);
    });
    let expected = "byte 0 of slot 2 of a pool of 4 frames of 100 bytes; slot 2 is free";
    assert!(message.starts_with(expected), "{message}");
}

/// The last handle of a pool is gone, and a frame is still out.
#[test]
fn a_frame_of_a_pool_that_nobody_has() {
    let message = dies("a_frame_of_a_pool_that_nobody_has", || {
        let pool = trapped().build().unwrap();
        let pointer = stale(&pool, 1);
        let _frame = pool.acquire().unwrap();
        drop(pool);
        read(pointer);
    });
    assert!(message.contains("; slot 1 is free"), "{message}");
}

#[test]
fn the_right_one_of_many_pools() {
    let message = dies("the_right_one_of_many_pools", || {
        let pools: Vec<_> = (1..=64)
            .map(|frames| trapped().frames(frames).build().unwrap())
            .collect();
        drop(trapped().frames(65).build().unwrap());
        read(stale(&pools[41], 7));
    });
    let expected = "byte 0 of slot 7 of a pool of 42 frames of 4096 bytes; slot 7 is free";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn of_too_many_pools_the_last_dies_without_a_message() {
    dies_unexplained("of_too_many_pools_the_last_dies_without_a_message", || {
        let pools: Vec<_> = (0..65).map(|_| trapped().build().unwrap()).collect();
        read(stale(&pools[64], 7));
    });
}

#[test]
fn an_access_elsewhere_is_not_explained() {
    dies_unexplained("an_access_elsewhere_is_not_explained", || {
        let pool = trapped().build().unwrap();
        drop(pool.acquire().unwrap());
        read(std::ptr::without_provenance(4096 + 17));
    });
}

#[test]
fn memory_that_is_gone_is_not_explained() {
    dies_unexplained("memory_that_is_gone_is_not_explained", || {
        let pool = trapped().frames(4096).build().unwrap();
        let pointer = stale(&pool, 8);
        drop(pool);
        read(pointer);
    });
}

#[test]
fn frames_work_as_ever_whichever_way_they_come_and_go() {
    survives("frames_work_as_ever_whichever_way_they_come_and_go", || {
        for mode in MODES {
            for contents in [
                Contents::Keep,
                Contents::ZeroOnAcquire,
                Contents::ZeroOnRelease,
            ] {
                for (alignment, prefix) in [(1, 0), (64, 5), (12, 7), (8192, 1), (10_007, 3)] {
                    let builder = trapped().frame_size(5000).mode(mode).contents(contents);
                    come_and_go(&builder.alignment(alignment).prefix(prefix));
                }
            }
        }
    });
}

fn come_and_go(builder: &FramePoolBuilder) {
    let pool = builder.build().unwrap();
    // Each as a whole, twice.
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
    // In a batch of which some are left, and one that was a frame.
    let mut batch = pool.acquire_many(5).unwrap();
    batch.next().unwrap().fill(1);
    drop(batch);
    // Shared, copied, unique again.
    let mut one = pool.acquire().unwrap().share();
    let two = one.clone();
    one.make_mut().unwrap().fill(2);
    thread::spawn(move || assert!(two.len() >= 5000))
        .join()
        .unwrap();
    one.try_into_unique().unwrap().fill(3);
    // Lent and given back, or revoked.
    if pool.handle().is_some() {
        for redeem in [true, false] {
            let mut frame = pool.acquire().unwrap();
            frame.fill(40);
            let token = frame.lend().unwrap();
            let handle = pool.handle().unwrap();
            // SAFETY: nobody writes to what is lent.
            let peer = unsafe { RemoteFrames::open(handle) }.unwrap();
            assert!(peer.get(token).unwrap().iter().all(|&byte| byte == 40));
            let mut frame = match redeem {
                true => pool.redeem(token).unwrap(),
                false => pool.revoke(token).unwrap(),
            };
            frame.fill(4);
        }
    }
    // From hand to hand.
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
    while pool.waiting() < 2 {
        thread::yield_now();
    }
    drop(all);
    for waiter in waiters {
        waiter.join().unwrap();
    }
    assert_eq!(pool.free_frames(), 8);
    // Later than the pool.
    let mut late = pool.acquire().unwrap();
    drop(pool);
    late.fill(7);
}

#[test]
fn threads_that_fight_for_frames_never_find_one_shut() {
    survives("threads_that_fight_for_frames_never_find_one_shut", || {
        for mode in MODES {
            let pool = trapped().frames(3).mode(mode).build().unwrap();
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
fn what_is_kept_in_a_frame_is_kept_in_a_trap() {
    for mode in MODES {
        let pool = trapped().frames(1).mode(mode).build().unwrap();
        pool.acquire().unwrap().fill(7);
        assert_eq!(*pool.acquire().unwrap(), [7; 4096]);
    }
}

#[test]
fn memory_of_the_users_own_is_refused_and_never_asked_for() {
    struct Never;
    // SAFETY: it gives none.
    unsafe impl FrameMemory for Never {
        fn allocate(&self, _bytes: usize) -> io::Result<NonNull<u8>> {
            unreachable!("it is refused before")
        }

        unsafe fn release(&self, _start: NonNull<u8>, _bytes: usize) {}
    }

    let allocator = PoolAllocator::from_builder(&trapped().memory(Never)).unwrap();
    let error = allocator.commit().unwrap_err();
    assert!(matches!(error, CommitError::GuardPagesUnsupported { .. }));
    assert_eq!(
        error.to_string(),
        "guard pages are not supported here: memory of the user's own is not this crate's to protect"
    );
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Unsupported);
    assert_eq!(allocator.free_frames(), 8);
    assert!(allocator.pool().is_none());
}

#[test]
fn a_trap_that_is_too_large_is_refused() {
    let error = trapped().frame_size(usize::MAX / 8).build().unwrap_err();
    assert!(
        error.to_string().contains("more than a pool can hold"),
        "{error}"
    );
}

#[cfg(feature = "windows")]
mod com {
    use std::ptr;

    use ks_allocator::com::{ComAllocator, IMediaSample, IMemAllocator, S_OK};
    use windows_core::Interface as _;

    use super::*;

    fn sample(client: &IMemAllocator) -> IMediaSample {
        let mut sample = ptr::null_mut();
        // SAFETY: there is room for a sample; no times are asked for.
        let got = unsafe { client.GetBuffer(&raw mut sample, ptr::null(), ptr::null(), 0) };
        assert_eq!(got, S_OK);
        // SAFETY: a sample with one reference, which is ours.
        unsafe { IMediaSample::from_raw(sample) }
    }

    fn pointer(sample: &IMediaSample) -> *mut u8 {
        let mut pointer = ptr::null_mut();
        // SAFETY: there is room for a pointer.
        assert_eq!(unsafe { sample.GetPointer(&raw mut pointer) }, S_OK);
        pointer
    }

    fn a_pointer_kept_past_release(mode: AllocatorMode) {
        let allocator = PoolAllocator::from_builder(&trapped().mode(mode)).unwrap();
        let allocator = ComAllocator::new(allocator);
        let client = allocator.cast::<IMemAllocator>().unwrap();
        // SAFETY: a method without arguments.
        assert_eq!(unsafe { client.Commit() }, S_OK);
        for _ in 0..2 {
            write(pointer(&sample(&client)).wrapping_add(4095));
        }
        let (one, two) = (sample(&client), sample(&client));
        let (first, second) = (pointer(&one), pointer(&two));
        let another = two.clone();
        drop(two); // `Release`, but not the last
        write(second);
        drop(another);
        write(first);
        write(second.wrapping_add(3));
    }

    #[test]
    fn a_pointer_that_a_client_keeps_past_release() {
        let message = dies("com::a_pointer_that_a_client_keeps_past_release", || {
            a_pointer_kept_past_release(AllocatorMode::User);
        });
        let expected = "byte 3 of slot 1 of a pool of 8 frames of 4096 bytes; slot 1 is free";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn a_pointer_that_a_client_keeps_past_release_in_kernel_mode() {
        let message = dies(
            "com::a_pointer_that_a_client_keeps_past_release_in_kernel_mode",
            || a_pointer_kept_past_release(AllocatorMode::Kernel),
        );
        let expected = "byte 3 of slot 1 of a pool of 8 frames of 4096 bytes; slot 1 is free";
        assert!(message.starts_with(expected), "{message}");
    }
}
