//! Memory options: requests are met or reported as unmet, and the commit report is true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use ks_allocator::{
    AllocatorMode, CommitError, CommitReport, FramePool, FramePoolBuilder, Framing, HugePages,
    KsAllocator as _, MemoryRequest, NotResident, PoolAllocator,
};

mod support {
    #[cfg(target_os = "linux")]
    pub(crate) mod open_descriptors;
    #[cfg(target_os = "linux")]
    pub(crate) mod rerun;
    #[cfg(target_os = "linux")]
    pub(crate) mod runs_alone;
    pub(crate) mod wait_until;
}

use support::wait_until::wait_until;

const MIB: usize = 1 << 20;

/// The modes that this system supports.
const MODES: &[AllocatorMode] = if cfg!(any(target_os = "linux", windows)) {
    &[AllocatorMode::User, AllocatorMode::Kernel]
} else {
    &[AllocatorMode::User]
};

/// True if this system measures memory.
const MEASURED: bool = cfg!(any(target_os = "linux", windows));

/// Serializes tests that use huge pages, of which the system has few, or that change its settings.
fn lock_huge_pages() -> MutexGuard<'static, ()> {
    static HUGE_PAGES: Mutex<()> = Mutex::new(());
    HUGE_PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(mode: AllocatorMode) -> FramePoolBuilder {
    let builder = FramePool::builder().frames(4).frame_size(3 * MIB);
    builder.mode(mode)
}

fn unmet_requests(report: &CommitReport) -> Vec<MemoryRequest> {
    report.unmet.iter().map(|unmet| unmet.request).collect()
}

#[test]
fn a_prefaulted_pool_is_resident() {
    for &mode in MODES {
        let pool = builder(mode).build().unwrap();
        let report = pool.commit_report();
        assert!(report.unmet.is_empty(), "{report}");
        assert_eq!(report.bytes, pool.segment().bytes);
        if MEASURED {
            assert_eq!(pool.verify_resident(), Ok(()), "{report}");
            assert_eq!(report.resident, Some(report.bytes));
        }
    }
}

#[test]
fn touched_memory_of_a_pool_without_prefault_is_resident() {
    for &mode in MODES {
        let pool = builder(mode).prefault(false).build().unwrap();
        let bytes = pool.segment().bytes;
        let resident = |pool: &FramePool| match pool.verify_resident() {
            Ok(()) => bytes,
            Err(NotResident::Partly {
                resident,
                bytes: all,
            }) => {
                assert_eq!(all, bytes);
                resident
            }
            Err(NotResident::Unknown { .. }) if !MEASURED => 0,
            Err(other) => panic!("{other}"),
        };
        let untouched = resident(&pool);
        // If the system gives huge pages to all mappings, some bytes may be resident already. On
        // Windows, all bytes of a section are.
        assert!(untouched < bytes || cfg!(windows), "{untouched} of {bytes}");
        let mut frames: Vec<_> = pool.acquire_many(4).unwrap().collect();
        frames[0].fill(1);
        // A page may count as absent for a moment, for instance while the system moves it.
        if MEASURED {
            wait_until(|| resident(&pool) >= 3 * MIB);
        }
        assert!(resident(&pool) < bytes || cfg!(windows));
        for frame in &mut frames {
            frame.fill(2);
        }
        if MEASURED {
            wait_until(|| pool.verify_resident() == Ok(()));
        }
    }
}

#[test]
fn options_that_are_not_required_never_fail_a_build() {
    let _huge_pages = lock_huge_pages();
    for &mode in MODES {
        for huge_pages in [HugePages::Off, HugePages::Transparent, HugePages::Explicit] {
            for (locked, node) in [(false, None), (true, Some(0)), (false, Some(u32::MAX))] {
                let mut options = builder(mode).huge_pages(huge_pages).lock_in_memory(locked);
                if let Some(node) = node {
                    options = options.numa_node(node);
                }
                let pool = options.build().unwrap();
                let report = pool.commit_report();
                let unmet = unmet_requests(&report);
                assert_eq!(report.requested.huge_pages, huge_pages);
                assert_eq!(report.requested.locked, locked);
                assert_eq!(report.requested.numa_node, node);
                assert_eq!(
                    unmet.contains(&MemoryRequest::NumaNode(u32::MAX)),
                    node == Some(u32::MAX)
                );
                assert!(unmet.len() <= 3, "a request is listed twice: {report}");
                assert!(report.page_size.is_power_of_two());
                let within = |part: Option<usize>| part.is_none_or(|part| part <= report.bytes);
                assert!(within(report.huge) && within(report.locked) && within(report.resident));
                let mut frame = pool.acquire().unwrap();
                assert!(frame.iter().all(|&byte| byte == 0));
                frame.fill(1);
            }
        }
    }
}

#[test]
fn a_report_prints_requests_and_measurements() {
    let pool = builder(AllocatorMode::User)
        .numa_node(u32::MAX)
        .build()
        .unwrap();
    let text = pool.commit_report().to_string();
    let requests = "requested: prefaulted, NUMA node 4294967295\nunmet: NUMA node 4294967295: ";
    assert!(text.starts_with(requests), "{text}");
    let bytes = pool.segment().bytes;
    assert!(
        text.contains(&format!("\nsegment: {bytes} bytes in pages of ")),
        "{text}"
    );
}

#[test]
fn the_allocator_reports_on_its_last_commit() {
    let node = FramePool::builder().numa_node(u32::MAX);
    let allocator = PoolAllocator::from_builder(&node).unwrap();
    for frames in [1, 2] {
        allocator.set_framing(&Framing::new(frames, MIB)).unwrap();
        allocator.commit().unwrap();
        let report = allocator.commit_report().unwrap();
        assert_eq!(report.bytes, allocator.pool().unwrap().segment().bytes);
        assert_eq!(unmet_requests(&report), [MemoryRequest::NumaNode(u32::MAX)]);
        allocator.decommit();
        // A decommitted allocator keeps its memory for the next commit.
        assert_eq!(allocator.commit_report().unwrap().bytes, report.bytes);
    }
}

#[test]
fn a_required_request_that_is_unmet_fails_the_commit_and_changes_nothing() {
    let node = FramePool::builder()
        .numa_node(u32::MAX)
        .require_memory_options(true);
    let allocator = PoolAllocator::from_builder(&node).unwrap();
    allocator.set_framing(&Framing::new(2, MIB)).unwrap();
    for _ in 0..2 {
        let error = allocator.commit().unwrap_err();
        assert!(matches!(error, CommitError::UnmetRequest { .. }), "{error}");
        assert!(allocator.commit_report().is_none());
        assert_eq!(allocator.framing().frames, 2);
    }
}

/// Other memory may be mapped at its addresses.
#[test]
fn nothing_of_unmapped_memory_is_resident() {
    for &mode in MODES {
        let allocator = PoolAllocator::from_builder(&builder(mode)).unwrap();
        allocator.commit().unwrap();
        let old = allocator.pool().unwrap();
        let bytes = old.segment().bytes;
        allocator.decommit();
        allocator.set_framing(&Framing::new(4, 3 * MIB)).unwrap();
        allocator.commit().unwrap();
        let report = old.commit_report();
        assert_eq!(
            (report.resident, report.huge, report.locked),
            (Some(0), Some(0), Some(0))
        );
        assert!(report.numa_nodes.is_empty());
        let resident = 0;
        assert_eq!(
            old.verify_resident(),
            Err(NotResident::Partly { resident, bytes })
        );
        if MEASURED {
            assert_eq!(allocator.pool().unwrap().verify_resident(), Ok(()));
        }
    }
}

#[test]
fn errors_convert_to_io_errors_of_a_fitting_kind() {
    let (resident, bytes) = (1, 2);
    let kind = |error: NotResident| std::io::Error::from(error).kind();
    let partly = NotResident::Partly { resident, bytes };
    assert_eq!(partly.to_string(), "only 1 of 2 bytes are resident");
    assert_eq!(kind(partly), std::io::ErrorKind::Other);
    let unknown = NotResident::Unknown { bytes };
    assert_eq!(kind(unknown), std::io::ErrorKind::Unsupported);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use ks_allocator::{BuildError, RemoteFrames};
    use rustix::io::Errno;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::support::open_descriptors::open_descriptors;
    use super::support::runs_alone::runs_alone;
    use super::*;

    const NR_HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";
    const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    const TRANSPARENT_SHARED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

    /// A changed setting of the system, restored on drop.
    struct Setting {
        path: &'static str,
        before: String,
    }

    impl Setting {
        /// Changes a setting. Returns `None` without the right to do so.
        fn change(path: &'static str, to: &str) -> Option<Self> {
            let before = setting(path)?;
            let changed = Self { path, before };
            fs::write(path, to).ok()?;
            Some(changed)
        }
    }

    impl Drop for Setting {
        fn drop(&mut self) {
            fs::write(self.path, &self.before).unwrap();
        }
    }

    /// Returns the current value of a setting: the word in brackets, or the only word.
    fn setting(path: &str) -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        let word = text.split(['[', ']']).nth(1).unwrap_or(text.trim());
        Some(word.to_owned())
    }

    /// Returns the number after a name in a file of the system.
    fn number(path: &str, name: &str) -> usize {
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Returns the number of open descriptors, and the size of all mappings in KiB.
    fn resources() -> (usize, usize) {
        (open_descriptors(), number("/proc/self/status", "VmSize:"))
    }

    fn errno(error: &std::io::Error) -> Option<Errno> {
        Errno::from_io_error(error)
    }

    /// Builds a pool whose requests are required, and returns the request that fails the build.
    fn required_request_error(
        builder: FramePoolBuilder,
    ) -> (MemoryRequest, &'static str, std::io::Error) {
        match builder.require_memory_options(true).build().unwrap_err() {
            BuildError::Commit(CommitError::UnmetRequest {
                request,
                call,
                source,
            }) => (request, call, source),
            other => panic!("{other}"),
        }
    }

    /// Checks that `request` is the only unmet one, and that it fails the build if requests are
    /// required. Returns the failed call and its error.
    fn unmet(builder: &FramePoolBuilder, request: MemoryRequest) -> (&'static str, Option<Errno>) {
        let pool = builder.build().unwrap();
        let report = pool.commit_report();
        assert_eq!(unmet_requests(&report), [request], "{report}");
        let unmet = (report.unmet[0].call, errno(report.unmet[0].source()));
        let (required, call, source) = required_request_error(builder.clone());
        assert_eq!(required, request);
        assert_eq!((call, errno(&source)), unmet);
        unmet
    }

    /// Builds a pool and checks that all its requests are met, required or not.
    fn with_all_met(builder: &FramePoolBuilder) -> FramePool {
        let report = builder.build().unwrap().commit_report();
        assert!(report.unmet.is_empty(), "{report}");
        builder
            .clone()
            .require_memory_options(true)
            .build()
            .unwrap()
    }

    fn transparent(mode: AllocatorMode) -> FramePoolBuilder {
        builder(mode).huge_pages(HugePages::Transparent)
    }

    /// Returns whether the system provides transparent huge pages on request.
    fn transparent_are_available(mode: AllocatorMode) -> bool {
        let value = match mode {
            AllocatorMode::User => setting(TRANSPARENT),
            AllocatorMode::Kernel => setting(TRANSPARENT_SHARED),
        };
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let allows = |word: String| {
            ["always", "madvise", "advise", "within_size", "force"].contains(&word.as_str())
        };
        value.is_some_and(allows) && !status.contains("THP_enabled:\t0")
    }

    /// Fragmented memory may lack one of the seven huge pages, but not all of them while much
    /// memory is free.
    fn transparent_huge_pages_are_provided_or_unmet(mode: AllocatorMode) {
        let pool = transparent(mode).build().unwrap();
        assert_eq!(pool.segment().base.addr().get() % (2 * MIB), 0);
        assert_eq!(pool.verify_resident(), Ok(()));
        let report = pool.commit_report();
        let huge = report.huge.unwrap();
        assert_eq!(huge > 0, transparent_are_available(mode), "{report}");
        let is_unmet = !report.unmet.is_empty();
        assert_eq!(is_unmet, huge < report.bytes, "{report}");
        drop(pool);
        // Locking keeps them.
        let locked = transparent(mode).lock_in_memory(true).build().unwrap();
        let unmet_when_locked = unmet_requests(&locked.commit_report());
        if !unmet_when_locked.contains(&MemoryRequest::Locked) {
            assert_eq!(
                !unmet_when_locked.is_empty(),
                is_unmet,
                "{}",
                locked.commit_report()
            );
        }
        drop(locked);
        if huge == 0 {
            let (call, _) = unmet(&transparent(mode), MemoryRequest::TransparentHugePages);
            assert_eq!(call, "madvise(MADV_HUGEPAGE)");
            let (_, _, source) = required_request_error(transparent(mode));
            assert!(
                source.to_string().contains("bytes are in huge pages"),
                "{source}"
            );
        } else if !is_unmet {
            with_all_met(&transparent(mode));
        }
    }

    #[test]
    fn transparent_huge_pages_are_provided_or_reported_as_unmet() {
        let _huge_pages = lock_huge_pages();
        if !runs_alone("linux::transparent_huge_pages_are_provided_or_reported_as_unmet") {
            return;
        }
        for &mode in MODES {
            transparent_huge_pages_are_provided_or_unmet(mode);
        }
        for (path, settings, mode) in [
            (TRANSPARENT, ["never", "madvise"], AllocatorMode::User),
            (
                TRANSPARENT_SHARED,
                ["never", "advise"],
                AllocatorMode::Kernel,
            ),
        ] {
            for value in settings {
                // Only root may do so.
                let Some(_setting) = Setting::change(path, value) else {
                    continue;
                };
                assert_eq!(transparent_are_available(mode), value != "never");
                transparent_huge_pages_are_provided_or_unmet(mode);
            }
        }
    }

    #[test]
    fn transparent_huge_pages_come_with_the_first_touch_without_prefault() {
        let _huge_pages = lock_huge_pages();
        let pool = transparent(AllocatorMode::User)
            .prefault(false)
            .build()
            .unwrap();
        assert_eq!(pool.commit_report().resident, Some(0));
        assert!(pool.commit_report().unmet.is_empty());
        let mut frame = pool.acquire().unwrap();
        frame[0] = 1;
        let resident = pool.commit_report().resident.unwrap();
        let expected = if transparent_are_available(AllocatorMode::User) {
            2 * MIB
        } else {
            4096
        };
        assert!(
            resident >= expected,
            "{resident} bytes are resident after one touch"
        );
    }

    fn explicit(mode: AllocatorMode) -> FramePoolBuilder {
        builder(mode).huge_pages(HugePages::Explicit)
    }

    fn huge_page() -> usize {
        number("/proc/meminfo", "Hugepagesize:") * 1024
    }

    fn free_huge_pages() -> usize {
        number("/proc/meminfo", "HugePages_Free:") - number("/proc/meminfo", "HugePages_Rsvd:")
    }

    fn more_explicit_huge_pages_than_reserved_are_unmet() {
        for (mode, call) in [
            (AllocatorMode::User, "mmap(MAP_HUGETLB)"),
            (AllocatorMode::Kernel, "mmap"),
        ] {
            let too_much = (free_huge_pages() + 1) * huge_page();
            let requested = explicit(mode)
                .frames(1)
                .frame_size(too_much)
                .prefault(false);
            let expected = (call, Some(Errno::NOMEM));
            assert_eq!(
                unmet(&requested, MemoryRequest::ExplicitHugePages),
                expected
            );
        }
    }

    fn reserved_huge_pages_are_used() {
        let page = huge_page();
        let need = builder(AllocatorMode::User)
            .build()
            .unwrap()
            .segment()
            .bytes;
        let before: usize = setting(NR_HUGE_PAGES).unwrap().parse().unwrap();
        let wanted = (before + need.div_ceil(page)).to_string();
        // Only root may do so, and only if enough contiguous memory is free.
        let Some(_setting) = Setting::change(NR_HUGE_PAGES, &wanted) else {
            return;
        };
        if setting(NR_HUGE_PAGES).unwrap() != wanted {
            return;
        }
        let free = free_huge_pages();
        for (mode, prefault) in MODES.iter().flat_map(|&mode| [(mode, true), (mode, false)]) {
            let pool = with_all_met(&explicit(mode).prefault(prefault));
            let report = pool.commit_report();
            assert_eq!(report.page_size, page, "{report}");
            assert_eq!(report.huge, Some(report.bytes));
            assert_eq!(report.locked, Some(report.bytes));
            assert_eq!(pool.verify_resident(), Ok(()));
            assert_eq!(free - free_huge_pages(), report.bytes.div_ceil(page));
            for mut frame in pool.acquire_many(4).unwrap() {
                assert!(frame.iter().all(|&byte| byte == 0));
                frame.fill(7);
            }
            if let Some(handle) = pool.handle() {
                let token = pool.acquire().unwrap().lend().unwrap();
                #[expect(unsafe_code, reason = "borrows frames")]
                // SAFETY: no thread writes to the frames while they are borrowed.
                let frames = unsafe { RemoteFrames::open(handle) }.unwrap();
                assert!(frames.get(token).unwrap().iter().all(|&byte| byte == 7));
                drop(pool.redeem(token).unwrap());
            }
            drop(pool);
            assert_eq!(free_huge_pages(), free);
            // A node that does not exist is unmet, and the huge pages are used anyway.
            let nowhere = explicit(mode).numa_node(1023).build().unwrap();
            let report = nowhere.commit_report();
            assert_eq!(unmet_requests(&report), [MemoryRequest::NumaNode(1023)]);
            assert_eq!(report.page_size, page);
        }
    }

    #[test]
    fn explicit_huge_pages_must_be_reserved() {
        let _huge_pages = lock_huge_pages();
        if runs_alone("linux::explicit_huge_pages_must_be_reserved") {
            more_explicit_huge_pages_than_reserved_are_unmet();
            reserved_huge_pages_are_used();
            more_explicit_huge_pages_than_reserved_are_unmet();
        }
    }

    fn limit_locked_memory(limit: usize) {
        let current = Some(u64::try_from(limit).unwrap());
        let before = getrlimit(Resource::Memlock);
        setrlimit(Resource::Memlock, Rlimit { current, ..before }).unwrap();
    }

    #[test]
    fn locking_is_unmet_above_the_limit() {
        if !runs_alone("linux::locking_is_unmet_above_the_limit") {
            return;
        }
        // A process with this capability may lock any amount of memory.
        let mut may = capabilities(None).unwrap();
        may.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, may).unwrap();

        for &mode in MODES {
            let locked = builder(mode).lock_in_memory(true);
            limit_locked_memory(64 << 10);
            let expected = ("mlock", Some(Errno::NOMEM));
            assert_eq!(unmet(&locked, MemoryRequest::Locked), expected);
            limit_locked_memory(0);
            let expected = ("mlock", Some(Errno::PERM));
            assert_eq!(unmet(&locked, MemoryRequest::Locked), expected);
            assert_eq!(number("/proc/self/status", "VmLck:"), 0);

            // The usual limit of ordinary users.
            limit_locked_memory(8 * MIB);
            let small = locked.frame_size(MIB).prefault(false);
            let pool = with_all_met(&small);
            let report = pool.commit_report();
            assert_eq!(report.locked, Some(report.bytes), "{report}");
            assert_eq!(pool.verify_resident(), Ok(()));
            assert!(number("/proc/self/status", "VmLck:") * 1024 >= report.bytes);
            drop(pool);
            assert_eq!(number("/proc/self/status", "VmLck:"), 0);
        }
    }

    #[test]
    fn memory_comes_from_the_requested_numa_node() {
        for &mode in MODES {
            let expected = ("mbind", Some(Errno::INVAL));
            for nowhere in [1023, 1024, u32::MAX] {
                let requested = builder(mode).numa_node(nowhere);
                assert_eq!(
                    unmet(&requested, MemoryRequest::NumaNode(nowhere)),
                    expected
                );
            }
            let options = builder(mode).numa_node(0);
            let report = options.build().unwrap().commit_report();
            if let [unmet] = &*report.unmet {
                // Some containers forbid this call.
                let error = errno(unmet.source());
                assert!(
                    matches!(error, Some(Errno::PERM | Errno::NOSYS)),
                    "{report}"
                );
                continue;
            }
            assert_eq!(with_all_met(&options).commit_report().numa_nodes, [0]);
        }
    }

    #[test]
    fn a_thousand_pools_leak_no_descriptor_and_no_mapping() {
        let _huge_pages = lock_huge_pages();
        if !runs_alone("linux::a_thousand_pools_leak_no_descriptor_and_no_mapping") {
            return;
        }
        let kinds = || {
            MODES.iter().flat_map(|&mode| {
                let small = builder(mode).frames(2).frame_size(MIB);
                [
                    small.clone(),
                    small.clone().prefault(false),
                    small
                        .clone()
                        .huge_pages(HugePages::Transparent)
                        .lock_in_memory(true),
                    small.clone().huge_pages(HugePages::Explicit),
                    small.clone().numa_node(0),
                    // Fails after everything else has succeeded.
                    small.numa_node(1023).require_memory_options(true),
                ]
            })
        };
        for kind in kinds() {
            drop(kind.build());
        }
        let (descriptors, mapped) = resources();
        let mut built = 0;
        for kind in kinds().cycle().take(1000) {
            built += usize::from(kind.build().is_ok());
        }
        assert!((800..1000).contains(&built), "{built}");
        let (descriptors_now, mapped_now) = resources();
        assert_eq!(descriptors_now, descriptors);
        // The pools of one kind have about 160 MiB in all. The heap grows as well: that of a
        // sanitizer by tens of MiB.
        assert!(
            mapped_now < mapped + 100 * 1024,
            "{mapped} KiB, and then {mapped_now}"
        );
    }
}
