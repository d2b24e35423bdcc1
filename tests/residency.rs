//! What is asked of memory, what of it is got, and that the report on it is true.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use ks_allocator::{
    AllocatorMode, CommitError, CommitReport, FramePool, FramePoolBuilder, Framing, HugePages,
    KsAllocator as _, MemoryRequest, NotResident, PoolAllocator,
};

const MIB: usize = 1 << 20;

/// What this system has.
const MODES: &[AllocatorMode] = if cfg!(any(target_os = "linux", windows)) {
    &[AllocatorMode::User, AllocatorMode::Kernel]
} else {
    &[AllocatorMode::User]
};

const MEASURED: bool = cfg!(any(target_os = "linux", windows));

/// For tests that take huge pages, of which the system has few, or change what it gives.
fn huge_pages_for_me_alone() -> MutexGuard<'static, ()> {
    static TAKEN: Mutex<()> = Mutex::new(());
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(mode: AllocatorMode) -> FramePoolBuilder {
    let builder = FramePool::builder().frames(4).frame_size(3 * MIB);
    builder.mode(mode)
}

fn unmet_requests(report: &CommitReport) -> Vec<MemoryRequest> {
    let missed = report.unmet.iter();
    missed.map(|shortfall| shortfall.request).collect()
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
fn a_pool_is_resident_as_far_as_it_was_touched() {
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
        // Where the system gives huge pages to all, or a section is there from the start.
        assert!(untouched < bytes || cfg!(windows), "{untouched} of {bytes}");
        let mut frames: Vec<_> = pool.acquire_many(4).unwrap().collect();
        frames[0].fill(1);
        if MEASURED {
            assert!(resident(&pool) >= 3 * MIB);
        }
        assert!(resident(&pool) < bytes || cfg!(windows));
        for frame in &mut frames {
            frame.fill(2);
        }
        if MEASURED {
            assert_eq!(pool.verify_resident(), Ok(()));
        }
    }
}

#[test]
fn whatever_is_asked_softly_there_is_a_pool_and_a_report() {
    let _alone = huge_pages_for_me_alone();
    for &mode in MODES {
        for huge_pages in [HugePages::Off, HugePages::Transparent, HugePages::Explicit] {
            for (locked, node) in [(false, None), (true, Some(0)), (false, Some(u32::MAX))] {
                let mut options = builder(mode).huge_pages(huge_pages).lock_in_memory(locked);
                if let Some(node) = node {
                    options = options.numa_node(node);
                }
                let pool = options.build().unwrap();
                let report = pool.commit_report();
                let missed = unmet_requests(&report);
                assert_eq!(report.requested.huge_pages, huge_pages);
                assert_eq!(report.requested.locked, locked);
                assert_eq!(report.requested.numa_node, node);
                assert_eq!(
                    missed.contains(&MemoryRequest::NumaNode(u32::MAX)),
                    node == Some(u32::MAX)
                );
                assert!(missed.len() <= 3, "each is missed once: {report}");
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
fn a_report_can_be_read() {
    let pool = builder(AllocatorMode::User)
        .numa_node(u32::MAX)
        .build()
        .unwrap();
    let text = pool.commit_report().to_string();
    let requested =
        text.starts_with("asked for: prefaulted, NUMA node 4294967295\nnot got: NUMA node");
    assert!(requested, "{text}");
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
        // Its memory is kept for the next commit.
        assert_eq!(allocator.commit_report().unwrap().bytes, report.bytes);
    }
}

#[test]
fn a_required_wish_fails_the_commit_and_leaves_the_allocator_fit_for_another() {
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

/// Where it was, there may be other memory now.
#[test]
fn of_memory_that_is_gone_nothing_is_resident() {
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
fn errors_have_a_kind() {
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
    use std::env;
    use std::fs;
    use std::process::Command;

    use ks_allocator::{BuildError, RemoteFrames};
    use rustix::io::Errno;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    const NR_HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";
    const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    const TRANSPARENT_SHARED: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

    /// Runs a test again in a process of its own, for it changes or counts what is all of a process's.
    /// `true` in that process.
    fn alone(test: &str) -> bool {
        const ALONE: &str = "KS_ALLOCATOR_ALONE";
        if env::var_os(ALONE).is_some() {
            return true;
        }
        let mut again = Command::new(env::current_exe().unwrap());
        let name = format!("linux::{test}");
        let again = again
            .args([&name, "--exact", "--nocapture"])
            .env(ALONE, "1");
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said.contains(" 1 passed;") && output.status.success(),
            "{output:?}"
        );
        false
    }

    /// A setting of the system's, which is put back as it was.
    struct Setting {
        path: &'static str,
        before: String,
    }

    impl Setting {
        /// `None` for those who may not.
        fn change(path: &'static str, to: &str) -> Option<Self> {
            let before = chosen(path)?;
            let setting = Self { path, before };
            fs::write(path, to).ok()?;
            Some(setting)
        }
    }

    impl Drop for Setting {
        fn drop(&mut self) {
            fs::write(self.path, &self.before).unwrap();
        }
    }

    /// The word in brackets, or the only one.
    fn chosen(path: &str) -> Option<String> {
        let text = fs::read_to_string(path).ok()?;
        let chosen = text.split(['[', ']']).nth(1).unwrap_or(text.trim());
        Some(chosen.to_owned())
    }

    /// The number after a name, in a file of the system's.
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

    /// Descriptors that are open, and KiB that are mapped.
    fn left_behind() -> (usize, usize) {
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        (descriptors, number("/proc/self/status", "VmSize:"))
    }

    fn errno(error: &std::io::Error) -> Option<Errno> {
        Errno::from_io_error(error)
    }

    /// What a pool that requires all it asks for was refused for.
    fn refused(builder: FramePoolBuilder) -> (MemoryRequest, &'static str, std::io::Error) {
        match builder.require_memory_options(true).build().unwrap_err() {
            BuildError::Commit(CommitError::UnmetRequest {
                request,
                call,
                source,
            }) => (request, call, source),
            other => panic!("{other}"),
        }
    }

    /// A soft pool that fell short of one request, and how; it was refused for the same if that was
    /// required.
    fn missed(builder: &FramePoolBuilder, request: MemoryRequest) -> (&'static str, Option<Errno>) {
        let pool = builder.build().unwrap();
        let report = pool.commit_report();
        assert_eq!(unmet_requests(&report), [request], "{report}");
        let soft = (report.unmet[0].call, errno(report.unmet[0].source()));
        let (refused_for, call, source) = refused(builder.clone());
        assert_eq!(refused_for, request);
        assert_eq!((call, errno(&source)), soft);
        soft
    }

    /// A pool that got all it asked for, required or not.
    fn got(builder: &FramePoolBuilder) -> FramePool {
        let soft = builder.build().unwrap().commit_report();
        assert!(soft.unmet.is_empty(), "{soft}");
        builder
            .clone()
            .require_memory_options(true)
            .build()
            .unwrap()
    }

    fn transparent(mode: AllocatorMode) -> FramePoolBuilder {
        builder(mode).huge_pages(HugePages::Transparent)
    }

    /// Whether the system gives transparent huge pages to those who ask.
    fn are_transparent_to_be_had(mode: AllocatorMode) -> bool {
        let setting = match mode {
            AllocatorMode::User => chosen(TRANSPARENT),
            AllocatorMode::Kernel => chosen(TRANSPARENT_SHARED),
        };
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let is_known = |word: String| {
            ["always", "madvise", "advise", "within_size", "force"].contains(&word.as_str())
        };
        setting.is_some_and(is_known) && !status.contains("THP_enabled:\t0")
    }

    /// That none of seven can be had because memory is in pieces does not happen while there is much of
    /// it; that one of them cannot, may.
    fn transparent_huge_pages_are_got_or_reported(mode: AllocatorMode) {
        let pool = transparent(mode).build().unwrap();
        assert_eq!(pool.segment().base.addr().get() % (2 * MIB), 0);
        assert_eq!(pool.verify_resident(), Ok(()));
        let report = pool.commit_report();
        let huge = report.huge.unwrap();
        assert_eq!(huge > 0, are_transparent_to_be_had(mode), "{report}");
        let is_missed = !report.unmet.is_empty();
        assert_eq!(is_missed, huge < report.bytes, "{report}");
        drop(pool);
        // Locking takes none of them away.
        let locked = transparent(mode).lock_in_memory(true).build().unwrap();
        let missed_then = unmet_requests(&locked.commit_report());
        if !missed_then.contains(&MemoryRequest::Locked) {
            assert_eq!(
                !missed_then.is_empty(),
                is_missed,
                "{}",
                locked.commit_report()
            );
        }
        drop(locked);
        if huge == 0 {
            let (call, _) = missed(&transparent(mode), MemoryRequest::TransparentHugePages);
            assert_eq!(call, "madvise(MADV_HUGEPAGE)");
            let (_, _, source) = refused(transparent(mode));
            assert!(
                source.to_string().contains("bytes are in huge pages"),
                "{source}"
            );
        } else if !is_missed {
            got(&transparent(mode));
        }
    }

    #[test]
    fn of_transparent_huge_pages_the_report_says_what_was_got() {
        let _alone = huge_pages_for_me_alone();
        if !alone("of_transparent_huge_pages_the_report_says_what_was_got") {
            return;
        }
        for &mode in MODES {
            transparent_huge_pages_are_got_or_reported(mode);
        }
        for (path, settings, mode) in [
            (TRANSPARENT, ["never", "madvise"], AllocatorMode::User),
            (
                TRANSPARENT_SHARED,
                ["never", "advise"],
                AllocatorMode::Kernel,
            ),
        ] {
            for setting in settings {
                // By root only.
                let Some(_setting) = Setting::change(path, setting) else {
                    continue;
                };
                assert_eq!(are_transparent_to_be_had(mode), setting != "never");
                transparent_huge_pages_are_got_or_reported(mode);
            }
        }
    }

    #[test]
    fn untouched_transparent_huge_pages_come_with_the_first_touch() {
        let _alone = huge_pages_for_me_alone();
        let pool = transparent(AllocatorMode::User)
            .prefault(false)
            .build()
            .unwrap();
        assert_eq!(pool.commit_report().resident, Some(0));
        assert!(pool.commit_report().unmet.is_empty());
        let mut frame = pool.acquire().unwrap();
        frame[0] = 1;
        let resident = pool.commit_report().resident.unwrap();
        let expected = if are_transparent_to_be_had(AllocatorMode::User) {
            2 * MIB
        } else {
            4096
        };
        assert!(resident >= expected, "{resident} bytes by one touch");
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

    fn without_reserved_huge_pages_there_are_none() {
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
                missed(&requested, MemoryRequest::ExplicitHugePages),
                expected
            );
        }
    }

    fn reserved_huge_pages_are_got() {
        let page = huge_page();
        let need = builder(AllocatorMode::User)
            .build()
            .unwrap()
            .segment()
            .bytes;
        let before: usize = chosen(NR_HUGE_PAGES).unwrap().parse().unwrap();
        let wanted = (before + need.div_ceil(page)).to_string();
        // By root only, and if there is so much memory in so large pieces.
        let Some(_setting) = Setting::change(NR_HUGE_PAGES, &wanted) else {
            return;
        };
        if chosen(NR_HUGE_PAGES).unwrap() != wanted {
            return;
        }
        let free = free_huge_pages();
        for (mode, prefault) in MODES.iter().flat_map(|&mode| [(mode, true), (mode, false)]) {
            let pool = got(&explicit(mode).prefault(prefault));
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
                // SAFETY: nobody writes to them.
                let frames = unsafe { RemoteFrames::open(handle) }.unwrap();
                assert!(frames.get(token).unwrap().iter().all(|&byte| byte == 7));
                drop(pool.redeem(token).unwrap());
            }
            drop(pool);
            assert_eq!(free_huge_pages(), free);
            // And none on a node that there is not.
            let nowhere = explicit(mode).numa_node(1023).build().unwrap();
            let report = nowhere.commit_report();
            assert_eq!(unmet_requests(&report), [MemoryRequest::NumaNode(1023)]);
            assert_eq!(report.page_size, page);
        }
    }

    #[test]
    fn explicit_huge_pages_are_those_that_are_reserved() {
        let _alone = huge_pages_for_me_alone();
        if alone("explicit_huge_pages_are_those_that_are_reserved") {
            without_reserved_huge_pages_there_are_none();
            reserved_huge_pages_are_got();
            without_reserved_huge_pages_there_are_none();
        }
    }

    fn limit_locked_memory(limit: usize) {
        let current = Some(u64::try_from(limit).unwrap());
        let before = getrlimit(Resource::Memlock);
        setrlimit(Resource::Memlock, Rlimit { current, ..before }).unwrap();
    }

    #[test]
    fn memory_is_locked_as_far_as_the_limit_allows() {
        if !alone("memory_is_locked_as_far_as_the_limit_allows") {
            return;
        }
        // Acquirer may lock anything is held by no limit.
        let mut may = capabilities(None).unwrap();
        may.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, may).unwrap();

        for &mode in MODES {
            let locked = builder(mode).lock_in_memory(true);
            limit_locked_memory(64 << 10);
            let expected = ("mlock", Some(Errno::NOMEM));
            assert_eq!(missed(&locked, MemoryRequest::Locked), expected);
            limit_locked_memory(0);
            let expected = ("mlock", Some(Errno::PERM));
            assert_eq!(missed(&locked, MemoryRequest::Locked), expected);
            assert_eq!(number("/proc/self/status", "VmLck:"), 0);

            // As much as ordinary users may on most systems.
            limit_locked_memory(8 * MIB);
            let small = locked.frame_size(MIB).prefault(false);
            let pool = got(&small);
            let report = pool.commit_report();
            assert_eq!(report.locked, Some(report.bytes), "{report}");
            assert_eq!(pool.verify_resident(), Ok(()));
            assert!(number("/proc/self/status", "VmLck:") * 1024 >= report.bytes);
            drop(pool);
            assert_eq!(number("/proc/self/status", "VmLck:"), 0);
        }
    }

    #[test]
    fn memory_comes_from_the_node_that_was_asked_for() {
        for &mode in MODES {
            let expected = ("mbind", Some(Errno::INVAL));
            for nowhere in [1023, 1024, u32::MAX] {
                let requested = builder(mode).numa_node(nowhere);
                assert_eq!(
                    missed(&requested, MemoryRequest::NumaNode(nowhere)),
                    expected
                );
            }
            let options = builder(mode).numa_node(0);
            let report = options.build().unwrap().commit_report();
            if let [shortfall] = &*report.unmet {
                // A container that keeps such calls from everybody in it.
                let why = errno(shortfall.source());
                assert!(matches!(why, Some(Errno::PERM | Errno::NOSYS)), "{report}");
                continue;
            }
            assert_eq!(got(&options).commit_report().numa_nodes, [0]);
        }
    }

    #[test]
    fn a_thousand_pools_of_every_kind_leave_nothing_behind() {
        let _alone = huge_pages_for_me_alone();
        if !alone("a_thousand_pools_of_every_kind_leave_nothing_behind") {
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
                    // RejectedWaiters, at the latest moment there is.
                    small.numa_node(1023).require_memory_options(true),
                ]
            })
        };
        for kind in kinds() {
            drop(kind.build());
        }
        let (descriptors, mapped) = left_behind();
        let mut built = 0;
        for kind in kinds().cycle().take(1000) {
            built += usize::from(kind.build().is_ok());
        }
        assert!((800..1000).contains(&built), "{built}");
        let (descriptors_now, mapped_now) = left_behind();
        assert_eq!(descriptors_now, descriptors);
        // Those of any one kind have 160 MiB in all. The heap grows, too: a checker's by some tens.
        assert!(
            mapped_now < mapped + 100 * 1024,
            "{mapped} KiB, and then {mapped_now}"
        );
    }
}
