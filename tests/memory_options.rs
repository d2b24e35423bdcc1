//! Memory that is left out of core dumps and of forked children.

#![cfg(all(target_os = "linux", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use ks_allocator::{
    AllocatorMode, FramePool, FramePoolBuilder, Framing, HugePages, KsAllocator, PoolAllocator,
};

const MODES: [AllocatorMode; 2] = [AllocatorMode::User, AllocatorMode::Kernel];
const HUGE_PAGES: [HugePages; 3] = [HugePages::Off, HugePages::Transparent, HugePages::Explicit];
/// Names in `smaps`.
const NOT_DUMPED: &str = "dd";
const NOT_INHERITED: &str = "dc";

fn builder(mode: AllocatorMode) -> FramePoolBuilder {
    FramePool::builder().frames(4).frame_size(50_000).mode(mode)
}

/// Returns whether each mapping of the segment has the flag; or fails if some have and some not.
fn has_flag(pool: &FramePool, flag: &str) -> bool {
    let segment = pool.segment();
    let first = segment.base.addr().get();
    let last = first + segment.bytes - 1;
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut within = false;
    let mut found = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap();
        if let Some((start, end)) = name.split_once('-') {
            let [start, end] = [start, end].map(|word| usize::from_str_radix(word, 16).unwrap());
            within = start <= last && first < end;
        } else if name == "VmFlags:" && within {
            found.push(words.any(|word| word == flag));
        }
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    *found.first().expect("the segment is mapped")
}

/// Forks a process, and returns whether it has all pages of the pool's first frame.
#[expect(unsafe_code, reason = "forks a process")]
fn child_has(pool: &FramePool) -> bool {
    let mut frame = pool.acquire().unwrap();
    frame.fill(1);
    let page = 4096;
    let start = frame.as_ptr().map_addr(|address| address & !(page - 1));
    let mut resident = 0_u8;
    // SAFETY: until it ends, the child only makes system calls.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: `mincore` accepts any address and writes one byte for the one page.
        let failed = unsafe { libc::mincore(start.cast_mut().cast(), page, &raw mut resident) };
        // SAFETY: the child ends at once, without destructors.
        unsafe { libc::_exit(failed & 1) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: the process is a child, and `status` has room for the result.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "{status}");
    libc::WEXITSTATUS(status) == 0
}

#[test]
fn frames_are_dumped_and_inherited_unless_excluded() {
    for mode in MODES {
        for (not_dumped, not_inherited) in [(false, false), (true, false), (false, true)] {
            let builder = builder(mode)
                .exclude_from_core_dumps(not_dumped)
                .exclude_from_forks(not_inherited)
                .require_memory_options(true);
            let pool = builder.build().unwrap();
            assert_eq!(has_flag(&pool, NOT_DUMPED), not_dumped);
            assert_eq!(has_flag(&pool, NOT_INHERITED), not_inherited);
            assert_eq!(child_has(&pool), !not_inherited);
        }
    }
}

#[test]
fn memory_is_excluded_whatever_its_pages_and_its_access_rights() {
    for mode in MODES {
        for huge_pages in HUGE_PAGES {
            for (guard_pages, prefault) in [(false, true), (true, true), (false, false)] {
                let builder = builder(mode)
                    .huge_pages(huge_pages)
                    .guard_pages(guard_pages)
                    .prefault(prefault)
                    .exclude_from_core_dumps(true)
                    .exclude_from_forks(true);
                let pool = builder.build().unwrap();
                let frames = pool.acquire_many(2).unwrap();
                assert!(has_flag(&pool, NOT_DUMPED) && has_flag(&pool, NOT_INHERITED));
                drop(frames);
            }
        }
    }
}

#[test]
fn each_commit_excludes_its_memory() {
    let builder = FramePool::builder()
        .exclude_from_core_dumps(true)
        .exclude_from_forks(true);
    let allocator = PoolAllocator::from_builder(&builder).unwrap();
    for (frames, mode) in [(1, MODES[0]), (2, MODES[0]), (2, MODES[1])] {
        allocator.set_framing(&Framing::new(frames, 9000)).unwrap();
        allocator.set_allocator_mode(mode).unwrap();
        allocator.commit().unwrap();
        let pool = allocator.pool().unwrap();
        assert!(has_flag(&pool, NOT_DUMPED) && has_flag(&pool, NOT_INHERITED));
        let report = allocator.commit_report().unwrap();
        let requested = "requested: prefaulted, not in core dumps, not in forked children\n";
        assert!(report.to_string().starts_with(requested), "{report}");
        assert!(report.unmet.is_empty(), "{report}");
        allocator.decommit();
    }
}
