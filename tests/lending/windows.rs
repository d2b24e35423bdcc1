//! Attacks by a process that has the handle of a pool's memory, and handles of other objects.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle,
};
use std::process::Child;
use std::ptr;

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_ALL_ACCESS, FILE_MAP_READ, FILE_MAP_WRITE, PAGE_READWRITE,
    SEC_RESERVE, VirtualProtect,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};

use super::{FrameToken, Parent, Peer, SIZE, filled, open_object, open_to_write, pool};

pub(super) fn borrow(object: &OwnedHandle) -> BorrowedHandle<'_> {
    object.as_handle()
}

/// Does nothing: the handle is duplicated after the start.
pub(super) fn before_start(_object: &OwnedHandle) {}

/// Duplicates the handle into the other process, and returns its number there.
pub(super) fn number_for(process: &Child, object: &OwnedHandle) -> u64 {
    let target = process.as_raw_handle();
    let handle = duplicate_into(target, object.as_handle(), 0, DUPLICATE_SAME_ACCESS).unwrap();
    handle.expose_provenance() as u64
}

pub(super) fn from_number(number: u64) -> OwnedHandle {
    let number = number.try_into().unwrap();
    let handle = ptr::with_exposed_provenance_mut(number);
    // SAFETY: the parent made this handle for this process, which takes it by its number once.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

/// Counts the open handles of this process. Mappings cannot be counted.
pub(super) fn open_resources() -> (u32, usize) {
    let mut handles = 0;
    // SAFETY: `handles` is a valid place for a number.
    let done = unsafe { GetProcessHandleCount(this_process(), &raw mut handles) };
    assert_ne!(done, 0);
    (handles, 0)
}

/// Returns a pseudo handle, which is not closed.
fn this_process() -> RawHandle {
    // SAFETY: the call has no preconditions.
    unsafe { GetCurrentProcess() }
}

fn duplicate_into(
    process: RawHandle,
    object: BorrowedHandle<'_>,
    access: u32,
    options: u32,
) -> io::Result<RawHandle> {
    let mut duplicate = ptr::null_mut();
    // SAFETY: the handles are open, and `duplicate` is a valid place for a handle.
    let done = unsafe {
        DuplicateHandle(
            this_process(),
            object.as_raw_handle(),
            process,
            &raw mut duplicate,
            access,
            0,
            options,
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(duplicate)
}

/// Returns another handle of the same object, with these rights.
fn duplicate(object: BorrowedHandle<'_>, access: u32) -> io::Result<OwnedHandle> {
    let duplicate = duplicate_into(this_process(), object, access, 0)?;
    // SAFETY: the handle is new and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(duplicate) })
}

/// Tries to get write access to the memory while the parent lends frames.
pub(super) fn attack(parent: &mut Parent, object: &OwnedHandle) {
    let frames = open_object(object.as_handle()).unwrap();
    while let Some(token) = parent.next() {
        open_to_write(object.as_handle()).unwrap_err();
        for access in [
            FILE_MAP_WRITE,
            FILE_MAP_READ | FILE_MAP_WRITE,
            FILE_MAP_ALL_ACCESS,
        ] {
            let more = duplicate(object.as_handle(), access);
            assert!(more.is_err(), "{access:#x}: {more:?}");
        }
        let start = frames.get(token).unwrap().as_ptr().cast_mut().cast();
        let mut before = 0;
        // SAFETY: the mapping is alive as long as `frames`, and stays readable.
        let writable = unsafe { VirtualProtect(start, SIZE, PAGE_READWRITE, &raw mut before) };
        assert_eq!(writable, 0);
        assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
        parent.give_back(token);
    }
}

#[test]
fn a_process_that_attacks_the_memory_changes_nothing() {
    let pool = pool();
    let mut peer = Peer::start("attack", &pool);
    let token = peer.lend(filled(&pool, 7));
    assert_eq!(peer.returned(), Some(token));
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
    peer.finish();
}

fn assert_invalid(object: BorrowedHandle<'_>) {
    let error = open_object(object).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[test]
fn objects_other_than_memory_are_not_opened() {
    assert_invalid(
        File::open(std::env::current_exe().unwrap())
            .unwrap()
            .as_handle(),
    );
    assert_invalid(io::stderr().as_handle());
    let thread = std::thread::spawn(|| ());
    assert_invalid(thread.as_handle());
    thread.join().unwrap();
}

#[test]
fn reserved_memory_is_not_opened() {
    // SAFETY: both pointers may be null: the section has no security attributes and no name.
    let section = unsafe {
        CreateFileMappingW(
            INVALID_HANDLE_VALUE,
            ptr::null(),
            PAGE_READWRITE | SEC_RESERVE,
            0,
            1 << 16,
            ptr::null(),
        )
    };
    assert!(!section.is_null());
    // SAFETY: the handle is new and has no other owner.
    let section = unsafe { OwnedHandle::from_raw_handle(section) };
    if let Ok(frames) = open_object(section.as_handle()) {
        // A read would crash the process.
        frames.get(FrameToken::from_bytes([0; 32])).unwrap();
        panic!("{frames:?}");
    }
}
