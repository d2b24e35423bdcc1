//! Allocator of memory that crosses the COM boundary.

pub(crate) use windows_sys::Win32::System::Com::{
    CoTaskMemAlloc as allocate, CoTaskMemFree as free,
};
