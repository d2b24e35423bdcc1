//! System calls that concern memory. Each platform has the same modules:
//!
//! | module | contents | Linux, Android | other Unix | Windows |
//! |---|---|---|---|---|
//! | `pages` | private pages, protection of pages | `unix` | `unix` | `windows` |
//! | `handle` | handles of kernel objects | `unix` | `unix` | `windows` |
//! | `object` | kernel objects that own memory | `linux` | `other_unix` | `windows` |
//! | `options` | huge pages, NUMA nodes, locking, forks | `linux` | `other_unix` | `windows` |
//! | `measure` | measurement of memory | `linux` | `other_unix` | `windows` |
//! | `faults` | handlers of memory access faults | `unix` | `unix` | `windows` |
//! | `standard_error` | messages from such handlers | `unix` | `unix` | `windows` |
//! | `task` | allocator of COM | `unix` | `unix` | `windows` |

#[cfg(any(target_os = "linux", target_os = "android", windows))]
mod address_range;
mod call_error;
mod measurement;

#[cfg(unix)]
mod unix;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod other_unix;
#[cfg(windows)]
mod windows;

pub(super) use self::call_error::CallError;
pub(super) use self::measurement::Measurement;

#[cfg(all(unix, not(all(test, loom))))]
pub(super) use self::unix::faults;
#[cfg(all(unix, feature = "windows"))]
pub(super) use self::unix::task;
#[cfg(unix)]
pub(super) use self::unix::{handle, pages, standard_error};

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use self::linux::{measure, object, options};
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(super) use self::other_unix::{measure, object, options};

#[cfg(all(windows, not(all(test, loom))))]
pub(super) use self::windows::faults;
#[cfg(all(windows, feature = "windows"))]
pub(super) use self::windows::task;
#[cfg(windows)]
pub(super) use self::windows::{handle, measure, object, options, pages, standard_error};
