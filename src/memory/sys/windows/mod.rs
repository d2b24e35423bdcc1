//! System calls of Windows.

mod calls;

#[cfg(not(all(test, loom)))]
pub(crate) mod faults;
pub(crate) mod handle;
pub(crate) mod measure;
pub(crate) mod object;
pub(crate) mod options;
pub(crate) mod pages;
pub(crate) mod standard_error;
#[cfg(feature = "windows")]
pub(crate) mod task;
