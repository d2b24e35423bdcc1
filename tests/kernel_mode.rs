//! Kernel mode: the same frames as in User mode, in memory that a kernel object owns, and the
//! access that handles of that object give.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, Frame, FramePool, FramePoolBuilder, Framing,
    KsAllocator, ModeError, PoolAllocator,
};

use AllocatorMode::{Kernel, User};
use support::allocator_in_mode::allocator_in_mode;

mod support {
    pub(crate) mod allocator_in_mode;
}

/// Modes of this system.
const MODES: &[AllocatorMode] = if cfg!(any(target_os = "linux", target_os = "android", windows)) {
    &[User, Kernel]
} else {
    &[User]
};

fn builder(mode: AllocatorMode, frames: usize, frame_size: usize) -> FramePoolBuilder {
    FramePool::builder()
        .frames(frames)
        .frame_size(frame_size)
        .mode(mode)
}

/// A pool in Kernel mode whose frames other processes may write to.
#[cfg(any(target_os = "linux", windows))]
#[expect(unsafe_code, reason = "the peers are known here only")]
fn shared_with_writers(frames: usize) -> FramePool {
    let builder = builder(Kernel, frames, 4096);
    // SAFETY: only the tests have a handle, and no frame is accessed while they write to it.
    let builder = unsafe { builder.peers_may_write(true) };
    builder.build().unwrap()
}

/// Acquires every free frame of a pool.
fn all(pool: &FramePool) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Ok(batch) = pool.try_acquire_many(62) {
        frames.extend(batch);
    }
    frames
}

fn is_zeroed(frame: &Frame) -> bool {
    frame.iter().chain(frame.prefix()).all(|&byte| byte == 0)
}

#[test]
fn frames_are_acquired_filled_shared_and_released() {
    for &mode in MODES {
        let pool = builder(mode, 2, 1000).build().unwrap();
        assert_eq!(pool.mode(), mode);
        let mut frame = pool.acquire().unwrap();
        frame.fill(7);
        let shared = frame.share();
        let reader = shared.clone();
        let read = std::thread::spawn(move || reader.iter().all(|&byte| byte == 7));
        assert!(read.join().unwrap());
        assert_eq!(pool.free_frames(), 1);
        drop(shared);
        assert_eq!(pool.free_frames(), 2);
    }
}

#[test]
fn a_copy_on_write_uses_another_frame() {
    for &mode in MODES {
        let pool = builder(mode, 2, 64).build().unwrap();
        let mut mine = pool.acquire().unwrap().share();
        let yours = mine.clone();
        mine.make_mut().unwrap().fill(1);
        assert_eq!((mine[63], yours[63]), (1, 0));
    }
}

#[test]
fn fresh_frames_are_zeroed_whether_prefaulted_or_not() {
    for &mode in MODES {
        for prefault in [true, false] {
            let builder = builder(mode, 5, 10_000).prefix(11).prefault(prefault);
            let frames = all(&builder.build().unwrap());
            assert_eq!(frames.len(), 5);
            assert!(frames.iter().all(is_zeroed), "{mode}, {prefault}");
        }
    }
}

#[test]
fn bytes_survive_decommit_and_commit() {
    for &mode in MODES {
        let allocator = allocator_in_mode(mode, Framing::new(1, 4));
        allocator.commit().unwrap();
        allocator.acquire().unwrap().copy_from_slice(b"kept");
        allocator.decommit();
        assert_eq!(allocator.acquire().unwrap_err(), AcquireError::NotCommitted);
        allocator.commit().unwrap();
        assert_eq!(&*allocator.acquire().unwrap(), b"kept");
    }
}

#[test]
fn frames_are_zeroed_after_a_change_of_framing() {
    for &mode in MODES {
        let allocator = allocator_in_mode(mode, Framing::new(1, 4096));
        for frame_size in [4096, 4096, 1000, 100_000] {
            let framing = Framing::new(1, frame_size).prefix(5);
            allocator.set_framing(&framing).unwrap();
            allocator.commit().unwrap();
            let mut frame = allocator.acquire().unwrap();
            assert!(is_zeroed(&frame));
            frame.fill(0xAA);
            frame.prefix_mut().fill(0xAA);
            drop(frame);
            allocator.decommit();
        }
    }
}

#[test]
fn frames_are_zeroed_after_a_change_of_mode() {
    let modes = [MODES, MODES, MODES].concat();
    let allocator = PoolAllocator::with_framing(Framing::new(1, 4096)).unwrap();
    for mode in modes.into_iter().filter(|_| MODES.len() > 1) {
        allocator.set_allocator_mode(mode).unwrap();
        allocator.commit().unwrap();
        assert_eq!(allocator.pool().unwrap().mode(), mode);
        let mut frame = allocator.acquire().unwrap();
        assert!(is_zeroed(&frame));
        frame.fill(0xAA);
        drop(frame);
        allocator.decommit();
    }
}

#[test]
fn every_prefix_start_is_aligned() {
    for &mode in MODES {
        for alignment in [1, 3, 64, 4096, 5000, 8192, 65_535, 65_536] {
            for prefix in [0, 1, 64] {
                let builder = builder(mode, 5, 1000).alignment(alignment).prefix(prefix);
                for mut frame in all(&builder.build().unwrap()) {
                    assert_eq!(frame.prefix().as_ptr().addr() % alignment, 0);
                    assert!(frame.capacity() >= 1000);
                    frame.fill(1);
                    frame.prefix_mut().fill(1);
                }
            }
        }
    }
}

#[test]
fn frames_do_not_overlap() {
    for &mode in MODES {
        let pool = builder(mode, 1000, 100).prefix(3).build().unwrap();
        let mut frames = all(&pool);
        for (number, frame) in (0_u16..).zip(&mut frames) {
            frame.fill(number.to_le_bytes()[0]);
            frame.prefix_mut().fill(number.to_le_bytes()[1]);
        }
        for (number, frame) in (0_u16..1000).zip(&frames) {
            let [low, high] = number.to_le_bytes();
            assert!(frame.iter().all(|&byte| byte == low));
            assert!(frame.prefix().iter().all(|&byte| byte == high));
        }
        let slots: HashSet<_> = frames.iter().map(Frame::slot).collect();
        assert_eq!(slots.len(), 1000);
    }
}

#[test]
fn frames_outlive_their_pool() {
    for &mode in MODES {
        let pool = builder(mode, 3, 4096).build().unwrap();
        let mut frames = all(&pool);
        drop(pool);
        for frame in &mut frames {
            frame.fill(0xA5);
        }
        assert!(frames.iter().all(|frame| frame[4095] == 0xA5));
    }
}

/// Follows the state table of `KsAllocator`.
#[test]
fn the_mode_changes_only_while_uncommitted() {
    for &from in MODES {
        let allocator = allocator_in_mode(from, Framing::new(2, 64));
        let to = if from == User { Kernel } else { User };
        let refused = Err(ModeError::AlreadyCommitted {
            current: from,
            requested: to,
        });

        allocator.commit().unwrap();
        let frame = allocator.acquire().unwrap();
        assert_eq!(allocator.set_allocator_mode(to), refused);
        assert_eq!(allocator.set_allocator_mode(from), Ok(()));
        allocator.decommit();
        assert_eq!(
            allocator.allocator_status().state,
            AllocatorState::Decommitting
        );
        assert_eq!(allocator.set_allocator_mode(to), refused);
        assert_eq!(allocator.allocator_mode(), from);

        drop(frame);
        assert_eq!(allocator.set_allocator_mode(to), Ok(()));
        assert_eq!(allocator.allocator_mode(), to);
        // A commit uses the mode that was set last.
        assert_eq!(allocator.set_allocator_mode(from), Ok(()));
        allocator.commit().unwrap();
        assert_eq!(allocator.pool().unwrap().mode(), from);
    }
}

#[test]
fn frames_in_user_mode_have_no_handle() {
    let allocator = allocator_in_mode(User, Framing::new(2, 64));
    assert!(allocator.allocator_handle().is_none());
    allocator.commit().unwrap();
    assert!(allocator.allocator_handle().is_none());
    let pool = allocator.pool().unwrap();
    assert!(pool.handle().is_none());
    let error = pool.try_clone_handle().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}

#[test]
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
fn kernel_mode_is_unsupported_here() {
    let allocator = allocator_in_mode(Kernel, Framing::new(2, 64));
    let error = allocator.commit().unwrap_err();
    assert!(
        matches!(
            error,
            ks_allocator::CommitError::ModeUnsupported { mode: Kernel, .. }
        ),
        "{error}"
    );
    assert!(allocator.allocator_handle().is_none());
    allocator.set_allocator_mode(User).unwrap();
    allocator.commit().unwrap();
}

/// A second mapping of the memory that a handle names, as another process would have it.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "maps memory and reads it")]
mod mapping {
    use std::ffi::c_void;
    use std::os::fd::AsFd;
    use std::ptr;

    use rustix::fs::fstat;
    use rustix::io::Result;
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};

    pub(crate) use std::os::fd::AsFd as AsObject;

    pub(crate) const READ: ProtFlags = ProtFlags::READ;
    pub(crate) const READ_AND_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

    pub(crate) struct Mapping {
        base: *mut c_void,
        bytes: usize,
    }

    impl Mapping {
        /// Maps all of the memory for reading.
        pub(crate) fn of(handle: impl AsFd) -> Self {
            Self::with(handle, READ, MapFlags::SHARED).expect("it can be read")
        }

        pub(crate) fn with(handle: impl AsFd, access: ProtFlags, flags: MapFlags) -> Result<Self> {
            let bytes = usize::try_from(fstat(&handle)?.st_size).expect("the size of a mapping");
            // SAFETY: the system chooses the address, so no existing mapping is replaced.
            let base = unsafe { mmap(ptr::null_mut(), bytes, access, flags, handle, 0) }?;
            Ok(Self { base, bytes })
        }

        pub(crate) fn bytes(&self) -> usize {
            self.bytes
        }

        pub(crate) fn read(&self, at: usize) -> u8 {
            // SAFETY: the byte is in the mapping, which is readable. No reference to it exists.
            unsafe { self.byte(at).read_volatile() }
        }

        /// Must only be called on a mapping for writing.
        pub(crate) fn write(&self, at: usize, value: u8) {
            // SAFETY: the byte is in the mapping, which the caller made writable. No reference to
            // it exists.
            unsafe { self.byte(at).write_volatile(value) };
        }

        fn byte(&self, at: usize) -> *mut u8 {
            assert!(at < self.bytes);
            self.base.cast::<u8>().wrapping_add(at)
        }

        pub(crate) fn make_writable(&self) -> Result<()> {
            let access = MprotectFlags::READ | MprotectFlags::WRITE;
            // SAFETY: `with` mapped exactly this range, and it stays readable.
            unsafe { mprotect(self.base, self.bytes, access) }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: `with` mapped exactly this range, and no pointer into it is used any more.
            unsafe { munmap(self.base, self.bytes) }.expect("it was mapped");
        }
    }
}

/// A second view of the memory that a handle names, as another process would have it.
#[cfg(windows)]
#[expect(unsafe_code, reason = "maps memory and reads it")]
mod mapping {
    use std::io;
    use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
    use std::ptr;

    use windows_sys::Win32::Foundation::DuplicateHandle;
    use windows_sys::Win32::System::Memory::{
        FILE_MAP, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
        UnmapViewOfFile,
    };
    use windows_sys::Win32::System::Threading::GetCurrentProcess;

    pub(crate) use std::os::windows::io::AsHandle as AsObject;

    pub(crate) const READ: FILE_MAP = FILE_MAP_READ;
    pub(crate) const READ_AND_WRITE: FILE_MAP = FILE_MAP_READ | FILE_MAP_WRITE;

    /// Returns another handle with these rights, which the given handle may lack.
    pub(crate) fn clone_with(handle: impl AsHandle, access: FILE_MAP) -> io::Result<OwnedHandle> {
        let handle = handle.as_handle().as_raw_handle();
        let mut clone = ptr::null_mut();
        // SAFETY: the call has no preconditions, and its pseudo handle is not closed.
        let process = unsafe { GetCurrentProcess() };
        // SAFETY: the handle is open, and `clone` is a valid place for a handle.
        let done =
            unsafe { DuplicateHandle(process, handle, process, &raw mut clone, access, 0, 0) };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is new and has no other owner.
        Ok(unsafe { OwnedHandle::from_raw_handle(clone) })
    }

    pub(crate) struct Mapping(MEMORY_MAPPED_VIEW_ADDRESS);

    impl Mapping {
        /// Maps all of the memory for reading.
        pub(crate) fn of(handle: impl AsHandle) -> Self {
            Self::with(handle, READ).expect("it can be read")
        }

        pub(crate) fn with(handle: impl AsHandle, access: FILE_MAP) -> io::Result<Self> {
            let handle = handle.as_handle().as_raw_handle();
            // SAFETY: the system chooses the address, so no existing mapping is replaced.
            let view = unsafe { MapViewOfFile(handle, access, 0, 0, 0) };
            if view.Value.is_null() {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(view))
        }

        /// `at` must be within a frame.
        pub(crate) fn read(&self, at: usize) -> u8 {
            // SAFETY: the byte is in the mapping, which is readable. No reference to it exists.
            unsafe { self.byte(at).read_volatile() }
        }

        /// `at` must be within a frame, and the mapping one for writing.
        pub(crate) fn write(&self, at: usize, value: u8) {
            // SAFETY: the byte is in the mapping, which the caller made writable. No reference to
            // it exists.
            unsafe { self.byte(at).write_volatile(value) };
        }

        fn byte(&self, at: usize) -> *mut u8 {
            self.0.Value.cast::<u8>().wrapping_add(at)
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: `with` mapped exactly this range, and no pointer into it is used any more.
            let unmapped = unsafe { UnmapViewOfFile(self.0) };
            assert_ne!(unmapped, 0);
        }
    }
}

/// The handle of the memory, on every system that has one.
#[cfg(any(target_os = "linux", windows))]
mod handle {
    use ks_allocator::{BuildError, CommitError, KernelHandle};

    use super::mapping::{AsObject, Mapping};
    use super::*;

    /// Commits an allocator in Kernel mode with one frame, which begins with `bytes`.
    fn committed_with(bytes: &[u8; 4]) -> PoolAllocator {
        let allocator = allocator_in_mode(Kernel, Framing::new(1, 4096));
        allocator.commit().unwrap();
        allocator.acquire().unwrap()[..4].copy_from_slice(bytes);
        allocator
    }

    fn first_bytes(handle: impl AsObject) -> [u8; 4] {
        let mapping = Mapping::of(handle);
        [0, 1, 2, 3].map(|at| mapping.read(at))
    }

    #[test]
    fn the_handle_exists_from_the_first_commit_on() {
        let allocator = allocator_in_mode(Kernel, Framing::new(1, 64));
        assert!(allocator.allocator_handle().is_none());
        allocator.commit().unwrap();
        assert!(allocator.allocator_handle().is_some());
        allocator.decommit();
        assert!(allocator.allocator_handle().is_some());
    }

    #[test]
    fn the_handle_exists_only_in_kernel_mode() {
        let allocator = committed_with(b"old.");
        allocator.decommit();
        allocator.set_allocator_mode(User).unwrap();
        assert!(allocator.allocator_handle().is_none());
        allocator.commit().unwrap();
        assert!(allocator.allocator_handle().is_none());

        allocator.decommit();
        allocator.set_allocator_mode(Kernel).unwrap();
        assert!(allocator.allocator_handle().is_none(), "the memory is User");
        allocator.commit().unwrap();
        assert_eq!(first_bytes(allocator.allocator_handle().unwrap()), [0; 4]);
    }

    #[test]
    fn the_handle_names_the_same_memory_after_decommit_and_commit() {
        let allocator = committed_with(b"kept");
        allocator.decommit();
        allocator.commit().unwrap();
        assert_eq!(first_bytes(allocator.allocator_handle().unwrap()), *b"kept");
        assert_eq!(&allocator.acquire().unwrap()[..4], b"kept");
    }

    #[test]
    fn a_change_of_framing_replaces_the_memory() {
        let allocator = committed_with(b"old.");
        let old = allocator.allocator_handle().unwrap();
        allocator.decommit();
        allocator.set_framing(&Framing::new(1, 4096)).unwrap();
        allocator.commit().unwrap();
        allocator.acquire().unwrap()[..4].copy_from_slice(b"new.");
        assert_eq!(first_bytes(&old), *b"old.");
        assert_eq!(first_bytes(allocator.allocator_handle().unwrap()), *b"new.");
    }

    #[test]
    fn a_handle_and_its_bytes_outlive_framing_mode_and_allocator() {
        let allocator = committed_with(b"stay");
        let handle = allocator.allocator_handle().unwrap();
        let clone = handle.clone();
        allocator.decommit();
        allocator.set_framing(&Framing::new(3, 64)).unwrap();
        allocator.commit().unwrap();
        assert_eq!(first_bytes(&handle), *b"stay");
        allocator.decommit();
        allocator.set_allocator_mode(User).unwrap();
        allocator.commit().unwrap();
        assert_eq!(first_bytes(&handle), *b"stay");
        drop(allocator);
        assert_eq!(first_bytes(&handle), *b"stay");
        drop(handle);
        assert_eq!(first_bytes(&clone), *b"stay");
    }

    #[test]
    fn a_clone_of_a_handle_and_its_bytes_outlive_the_pool() {
        let pool = builder(Kernel, 1, 4096).build().unwrap();
        pool.acquire().unwrap()[..4].copy_from_slice(b"stay");
        let object = pool.try_clone_handle().unwrap();
        drop(pool);
        assert_eq!(first_bytes(&object), *b"stay");
    }

    #[test]
    fn a_second_mapping_outlives_handle_and_pool() {
        let pool = builder(Kernel, 1, 4096).build().unwrap();
        let mapping = Mapping::of(pool.handle().unwrap());
        let mut frame = pool.acquire().unwrap();
        drop(pool);
        frame[9] = 9;
        drop(frame);
        assert_eq!(mapping.read(9), 9);
    }

    #[test]
    fn a_pool_of_an_earlier_commit_keeps_its_memory() {
        let allocator = committed_with(b"old.");
        let stale = allocator.pool().unwrap();
        allocator.decommit();
        allocator.set_framing(&Framing::new(2, 64)).unwrap();
        allocator.commit().unwrap();
        assert_eq!(stale.acquire().unwrap_err(), AcquireError::NotCommitted);
        assert_eq!(first_bytes(stale.handle().unwrap()), *b"old.");
        assert_eq!(first_bytes(stale.try_clone_handle().unwrap()), *b"old.");
        drop(allocator);
        assert_eq!(first_bytes(stale.handle().unwrap()), *b"old.");
    }

    #[test]
    fn a_second_mapping_shows_the_bytes_of_frames() {
        let pool = builder(Kernel, 3, 4096).alignment(4096).build().unwrap();
        let mapping = Mapping::of(pool.handle().unwrap());
        let mut frames = all(&pool);
        frames.sort_by_key(Frame::slot);
        for number in [1, 2] {
            for (value, frame) in (number..).zip(&mut frames) {
                frame.fill(value);
            }
            for (value, slot) in (number..).zip(0..3) {
                assert_eq!(mapping.read(slot * 4096), value);
                assert_eq!(mapping.read(slot * 4096 + 4095), value);
            }
        }
    }

    #[test]
    fn peers_write_to_frames_where_the_pool_lets_them() {
        let pool = shared_with_writers(1);
        let object = pool.try_clone_handle().unwrap();
        #[cfg(unix)]
        let shared = rustix::mm::MapFlags::SHARED;
        #[cfg(unix)]
        let peer = Mapping::with(&object, mapping::READ_AND_WRITE, shared).unwrap();
        #[cfg(windows)]
        let peer = Mapping::with(&object, mapping::READ_AND_WRITE).unwrap();
        peer.write(4095, 42);
        assert_eq!(pool.acquire().unwrap()[4095], 42);
    }

    #[test]
    fn the_error_for_too_much_memory_names_the_bytes() {
        let builder = builder(Kernel, 2, isize::MAX as usize / 4).prefault(false);
        match builder.build().unwrap_err() {
            BuildError::Commit(CommitError::OutOfMemory { bytes }) => {
                assert!(bytes > isize::MAX as usize / 3, "{bytes}");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_handle_can_be_sent_to_another_thread_and_dropped_there() {
        let allocator: Box<dyn KsAllocator> = Box::new(committed_with(b"away"));
        let handle = allocator.allocator_handle().unwrap();
        drop(allocator);
        let read = move |handle: &KernelHandle| first_bytes(handle);
        let thread = std::thread::spawn(move || read(&handle));
        assert_eq!(thread.join().unwrap(), *b"away");
    }

    #[test]
    #[cfg(windows)]
    fn a_clone_cannot_be_mapped_for_writing() {
        let pool = builder(Kernel, 1, 4096).build().unwrap();
        let object = pool.try_clone_handle().unwrap();
        assert!(Mapping::with(&object, mapping::READ).is_ok());
        assert!(Mapping::with(&object, mapping::READ_AND_WRITE).is_err());
    }

    #[test]
    #[cfg(windows)]
    fn a_clone_of_a_clone_cannot_be_mapped_for_writing() {
        let pool = builder(Kernel, 1, 4096).build().unwrap();
        let object = pool.try_clone_handle().unwrap();
        match mapping::clone_with(&object, mapping::READ_AND_WRITE) {
            Ok(more) => assert!(Mapping::with(&more, mapping::READ_AND_WRITE).is_err()),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        }
    }
}

/// Access that a file descriptor of the memory gives on Linux.
#[cfg(target_os = "linux")]
mod sealed {
    use std::fs::{File, OpenOptions};
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};

    use rustix::fs::{
        FallocateFlags, MemfdFlags, Mode, SealFlags, fallocate, fchmod, fcntl_add_seals,
        fcntl_get_seals, fstat, ftruncate, memfd_create,
    };
    use rustix::io::{Errno, FdFlags, fcntl_getfd, pwrite, write};
    use rustix::mm::MapFlags;

    use super::mapping::{Mapping, READ, READ_AND_WRITE};
    use super::*;

    fn pool() -> FramePool {
        builder(Kernel, 2, 4096).build().unwrap()
    }

    /// Opens the object of a descriptor again, as a process with access to `/proc` can.
    fn reopened(object: impl AsFd) -> File {
        let path = format!("/proc/self/fd/{}", object.as_fd().as_raw_fd());
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(path).unwrap()
    }

    /// Returns descriptors of a pool's object, obtained in every possible way.
    fn descriptors(pool: &FramePool) -> [OwnedFd; 3] {
        let handle = pool.handle().unwrap();
        [
            handle.try_clone_to_owned().unwrap(),
            pool.try_clone_handle().unwrap(),
            reopened(handle).into(),
        ]
    }

    /// Returns whether this kernel can seal memory against execution.
    fn can_seal_against_execution() -> bool {
        memfd_create(c"probe", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL).is_ok()
    }

    fn bytes_of(object: impl AsFd) -> u64 {
        fstat(object).unwrap().st_size.try_into().unwrap()
    }

    /// Returns the offset of a frame in the object, according to `/proc/self/maps`.
    fn offset_of(bytes: &[u8]) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
        let address = bytes.as_ptr().addr();
        let offset_in = |line: &str| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let offset = number(fields.nth(1)?);
            let inside = number(start) <= address && address < number(end);
            (inside && line.contains("memfd:ks-allocator"))
                .then(|| address - number(start) + offset)
        };
        maps.lines().find_map(offset_in).unwrap()
    }

    #[test]
    fn the_seals_cannot_be_changed() {
        for (pool, may_write) in [(pool(), false), (shared_with_writers(2), true)] {
            let handle = pool.handle().unwrap();
            let seals = fcntl_get_seals(handle).unwrap();
            let always = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            assert!(seals.contains(always), "{seals:?}");
            assert_eq!(seals.contains(SealFlags::FUTURE_WRITE), !may_write);
            assert!(!seals.contains(SealFlags::WRITE));
            assert_eq!(
                seals.contains(SealFlags::EXEC),
                can_seal_against_execution()
            );
            for more in [SealFlags::FUTURE_WRITE, SealFlags::WRITE, SealFlags::SHRINK] {
                assert_eq!(fcntl_add_seals(handle, more), Err(Errno::PERM));
            }
            assert_eq!(fcntl_get_seals(handle).unwrap(), seals);
        }
    }

    #[test]
    fn the_size_cannot_be_changed() {
        for pool in [pool(), shared_with_writers(2)] {
            for object in descriptors(&pool) {
                let bytes = bytes_of(&object);
                assert!(bytes >= 2 * 4096);
                for other in [0, 1, bytes - 4096, bytes - 1, bytes + 1, bytes * 2] {
                    assert_eq!(ftruncate(&object, other), Err(Errno::PERM), "to {other}");
                }
                let grow = fallocate(&object, FallocateFlags::empty(), bytes, 4096);
                assert_eq!(grow, Err(Errno::PERM));
                assert_eq!(bytes_of(&object), bytes);
            }
        }
    }

    #[test]
    fn memory_cannot_be_made_executable() {
        if can_seal_against_execution() {
            for object in descriptors(&pool()) {
                let everything = Mode::RWXU | Mode::RWXG | Mode::RWXO;
                assert_eq!(fchmod(&object, everything), Err(Errno::PERM));
            }
        }
    }

    #[test]
    fn memory_cannot_be_mapped_for_writing() {
        let pool = pool();
        for object in descriptors(&pool) {
            let refused = Mapping::with(&object, READ_AND_WRITE, MapFlags::SHARED);
            assert_eq!(refused.err(), Some(Errno::PERM));
        }
    }

    #[test]
    fn a_mapping_for_reading_cannot_be_made_writable() {
        let pool = pool();
        for object in descriptors(&pool) {
            let mapping = Mapping::with(&object, READ, MapFlags::SHARED).unwrap();
            assert_eq!(mapping.make_writable(), Err(Errno::ACCESS));
        }
    }

    #[test]
    fn a_descriptor_cannot_be_written_to() {
        let pool = pool();
        let frames = all(&pool);
        for object in descriptors(&pool) {
            assert_eq!(write(&object, b"no"), Err(Errno::PERM));
            for at in [0, 4096, bytes_of(&object) - 1, bytes_of(&object)] {
                assert_eq!(pwrite(&object, b"no", at), Err(Errno::PERM));
            }
        }
        assert!(frames.iter().all(is_zeroed));
    }

    #[test]
    fn holes_cannot_be_punched_into_frames() {
        let pool = pool();
        let mut frame = pool.acquire().unwrap();
        frame.fill(1);
        for object in descriptors(&pool) {
            for how in [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE] {
                let how = how | FallocateFlags::KEEP_SIZE;
                assert!(fallocate(&object, how, 0, 4096).is_err());
            }
        }
        assert!(frame.iter().all(|&byte| byte == 1));
    }

    #[test]
    fn writes_to_a_private_mapping_do_not_reach_frames() {
        let pool = pool();
        let mut frame = pool.acquire().unwrap();
        frame.fill(1);
        let handle = pool.handle().unwrap();
        let copy = Mapping::with(handle, READ_AND_WRITE, MapFlags::PRIVATE).unwrap();
        (0..copy.bytes()).for_each(|at| copy.write(at, 9));
        assert!(frame.iter().all(|&byte| byte == 1));
    }

    #[test]
    fn peers_write_through_every_descriptor_where_the_pool_lets_them() {
        let pool = shared_with_writers(2);
        let mut frame = pool.acquire().unwrap();
        let offset = offset_of(&frame);
        for (value, object) in (1..).zip(descriptors(&pool)) {
            let mapping = Mapping::with(&object, READ_AND_WRITE, MapFlags::SHARED).unwrap();
            mapping.write(offset, value);
            assert_eq!(frame[0], value);
            let at = u64::try_from(offset).unwrap() + 1;
            assert_eq!(pwrite(&object, &[value], at), Ok(1));
            assert_eq!(frame[1], value);
            frame[2] = value;
            assert_eq!(mapping.read(offset + 2), value);
        }
    }

    #[test]
    fn every_descriptor_shows_the_bytes_of_frames_at_any_alignment_and_prefix() {
        for (alignment, prefix) in [(1, 0), (64, 3), (5000, 7), (65_535, 1), (65_536, 64)] {
            let builder = builder(Kernel, 3, 5000).alignment(alignment).prefix(prefix);
            let pool = builder.build().unwrap();
            for (value, mut frame) in (1..).zip(all(&pool)) {
                frame.fill(value);
                let (offset, last) = (offset_of(&frame), frame.len() - 1);
                for object in descriptors(&pool) {
                    let mapping = Mapping::of(object);
                    assert_eq!(mapping.read(offset), value);
                    assert_eq!(mapping.read(offset + last), value);
                }
            }
        }
    }

    #[test]
    fn descriptors_are_closed_on_exec() {
        let pool = pool();
        let clone = pool.try_clone_handle().unwrap();
        for object in [pool.handle().unwrap(), clone.as_fd()] {
            assert_eq!(fcntl_getfd(object), Ok(FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn only_prefaulted_memory_is_allocated() {
        for prefault in [true, false] {
            let builder = builder(Kernel, 4, 1 << 20).prefault(prefault);
            let pool = builder.build().unwrap();
            let object = fstat(pool.handle().unwrap()).unwrap();
            // The types of the two fields depend on the processor.
            let allocated = i128::from(object.st_blocks) * 512;
            let size = i128::from(object.st_size);
            if prefault {
                assert!(allocated >= size, "{allocated} of {size}");
            } else {
                assert_eq!(allocated, 0);
            }
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn segments_can_exceed_two_gigabytes() {
        const GIB: usize = 1 << 30;
        let pool = builder(Kernel, 3, GIB).prefault(false).build().unwrap();
        let mapping = Mapping::of(pool.handle().unwrap());
        for (value, mut frame) in (1..).zip(all(&pool)) {
            assert_eq!((frame[0], frame[GIB - 1]), (0, 0));
            frame[0] = value;
            frame[GIB - 1] = value;
            let offset = offset_of(&frame);
            assert_eq!(mapping.read(offset), value);
            assert_eq!(mapping.read(offset + GIB - 1), value);
        }
    }
}
