//! What somebody could try who was given the handle of a pool's memory; and handles of other things.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{DuplicateHandle, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_ALL_ACCESS, FILE_MAP_READ, FILE_MAP_WRITE, PAGE_READWRITE,
    SEC_RESERVE, VirtualProtect,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::line::Line;
use super::{FrameToken, Peer, SIZE, filled, next, open_object, open_to_write, pool};

/// Another handle on the same object, with these rights.
fn duplicate(object: BorrowedHandle<'_>, access: u32) -> io::Result<OwnedHandle> {
    // SAFETY: takes no arguments; the pseudo handle need not be closed.
    let process = unsafe { GetCurrentProcess() };
    let mut duplicate = ptr::null_mut();
    // SAFETY: the handle is open, and `duplicate` can be written.
    let done = unsafe {
        DuplicateHandle(
            process,
            object.as_raw_handle(),
            process,
            &raw mut duplicate,
            access,
            0,
            0,
        )
    };
    match done {
        0 => Err(io::Error::last_os_error()),
        // SAFETY: a new handle, which nobody else has.
        _ => Ok(unsafe { OwnedHandle::from_raw_handle(duplicate) }),
    }
}

/// Tries to get at the memory to write to it, as long as the starter lends frames.
pub(super) fn attack(line: &mut Line, object: &OwnedHandle) {
    let frames = open_object(object.as_handle()).unwrap();
    while let Some(token) = next(line) {
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
        // SAFETY: the mapping lives as long as `frames`, and stays readable.
        let writable = unsafe { VirtualProtect(start, SIZE, PAGE_READWRITE, &raw mut before) };
        assert_eq!(writable, 0);
        assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
        line.send(&token.to_bytes()).unwrap();
    }
}

#[test]
fn a_process_that_attacks_the_memory_changes_nothing() {
    let pool = pool();
    let mut peer = Peer::of("attack", &pool);
    let token = peer.lend(filled(&pool, 7));
    assert_eq!(peer.returned(), Some(token));
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
    peer.finish();
}

fn invalid(object: BorrowedHandle<'_>) {
    let error = open_object(object).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
}

#[test]
fn what_is_no_memory_is_not_opened() {
    invalid(
        File::open(std::env::current_exe().unwrap())
            .unwrap()
            .as_handle(),
    );
    invalid(io::stderr().as_handle());
    let thread = std::thread::spawn(|| ());
    invalid(thread.as_handle());
    thread.join().unwrap();
}

#[test]
fn memory_that_need_not_be_there_is_not_opened() {
    // SAFETY: no file, no security attributes and no name.
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
    // SAFETY: a new handle, which nobody else has.
    let section = unsafe { OwnedHandle::from_raw_handle(section) };
    if let Ok(frames) = open_object(section.as_handle()) {
        // Reading it would end the process.
        frames.get(FrameToken::from_bytes([0; 32])).unwrap();
        panic!("{frames:?}");
    }
}
