//! The system's id and name of a thread.

/// Returns the id under which the system's tools list the calling thread, if the system has such
/// ids.
pub(crate) fn id() -> Option<u32> {
    system::id()
}

/// Returns the name of the thread with this id, if the thread still runs and the system gives
/// names.
pub(crate) fn name(id: u32) -> Option<String> {
    system::name(id)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::fs;

    use rustix::thread::gettid;

    pub(super) fn id() -> Option<u32> {
        u32::try_from(gettid().as_raw_nonzero().get()).ok()
    }

    pub(super) fn name(id: u32) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }
}

#[cfg(windows)]
mod system {
    use windows_sys::Win32::System::Threading::GetCurrentThreadId;

    #[expect(unsafe_code, reason = "a system call without arguments")]
    pub(super) fn id() -> Option<u32> {
        // SAFETY: the function has no arguments and no preconditions, and cannot fail.
        Some(unsafe { GetCurrentThreadId() })
    }

    pub(super) fn name(_id: u32) -> Option<String> {
        None
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
mod system {
    pub(super) fn id() -> Option<u32> {
        None
    }

    pub(super) fn name(_id: u32) -> Option<String> {
        None
    }
}
