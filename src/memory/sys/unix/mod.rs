//! System calls that all Unix systems share.

#[cfg(not(all(test, loom)))]
pub(crate) mod faults;
pub(crate) mod handle;
pub(crate) mod limits;
pub(crate) mod pages;
pub(crate) mod standard_error;
#[cfg(feature = "windows")]
pub(crate) mod task;
