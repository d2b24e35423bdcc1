//! What the system calls a thread.

/// The system's number for the calling thread, where it has one that people can make use of.
pub(crate) fn number() -> Option<u32> {
    system::number()
}

/// What the thread of this number is called, if it still runs and the system says.
pub(crate) fn name(number: u32) -> Option<String> {
    system::name(number)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::fs;

    use rustix::thread::gettid;

    pub(super) fn number() -> Option<u32> {
        u32::try_from(gettid().as_raw_nonzero().get()).ok()
    }

    pub(super) fn name(number: u32) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/self/task/{number}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }
}

#[cfg(windows)]
mod system {
    use windows_sys::Win32::System::Threading::GetCurrentThreadId;

    #[expect(unsafe_code, reason = "a system call without arguments")]
    pub(super) fn number() -> Option<u32> {
        // SAFETY: takes nothing, and always works.
        Some(unsafe { GetCurrentThreadId() })
    }

    pub(super) fn name(_number: u32) -> Option<String> {
        None
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
mod system {
    pub(super) fn number() -> Option<u32> {
        None
    }

    pub(super) fn name(_number: u32) -> Option<String> {
        None
    }
}
