//! Properties of the COM objects under races, subscribers and failing allocations.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "calls interfaces as a client does")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

#[expect(unreachable_pub, reason = "the functions are exports of a DLL")]
#[path = "../../examples/ksallocator_dll.rs"]
mod ksallocator_dll;

mod commit_race;
mod dll;
mod no_memory;
mod padding;
#[cfg(feature = "tracing")]
mod subscriber;

#[path = "../support"]
mod support {
    pub(crate) mod com_client;
    #[cfg(feature = "tracing")]
    pub(crate) mod rerun;
    #[cfg(feature = "tracing")]
    pub(crate) mod runs_alone;
}

use std::ptr;

use ks_allocator::com::{ALLOCATOR_PROPERTIES, IMemAllocator, S_OK};
use windows_core::HRESULT;

/// Calls `SetProperties` with this number and size of buffers.
fn set_properties(client: &IMemAllocator, count: i32, size: i32) -> HRESULT {
    let request = ALLOCATOR_PROPERTIES {
        cBuffers: count,
        cbBuffer: size,
        cbAlign: 1,
        cbPrefix: 0,
    };
    let mut actual = ALLOCATOR_PROPERTIES::default();
    // SAFETY: both pointers lead to structures of this function.
    unsafe { client.SetProperties(ptr::from_ref(&request), &raw mut actual) }
}

/// Calls `Commit`.
fn commit(client: &IMemAllocator) -> HRESULT {
    // SAFETY: `client` is a reference to the object, and there are no arguments.
    unsafe { client.Commit() }
}

/// Calls `Decommit`, which never fails.
fn decommit(client: &IMemAllocator) {
    // SAFETY: `client` is a reference to the object, and there are no arguments.
    assert_eq!(unsafe { client.Decommit() }, S_OK);
}
