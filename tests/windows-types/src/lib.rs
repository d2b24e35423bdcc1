//! Programs that use ks-allocator together with the `windows` crate.
//!
//! They compile only if both crates have the same `windows-core`, and so the same traits and types.

#![cfg(all(test, windows))]

use ks_allocator::com::{self, ComAllocator};
use ks_allocator::{Framing, PoolAllocator};
use windows::Win32::Foundation::E_NOINTERFACE;
use windows::Win32::Media::DirectShow::{IGraphBuilder, IMediaSample, IMemAllocator};
use windows::core::{HRESULT, IUnknown, Interface, Result};

fn allocator() -> ComAllocator {
    let framing = Framing::new(2, 100).alignment(64);
    ComAllocator::new(PoolAllocator::with_framing(framing).expect("64 is an alignment"))
}

#[test]
fn an_allocator_is_used_through_the_interfaces_of_the_windows_crate() -> Result<()> {
    let client: IMemAllocator = allocator().cast()?;
    let mut sample: Option<IMediaSample> = None;
    // SAFETY: the allocator takes no pointers here.
    unsafe { client.Commit() }?;
    // SAFETY: the pointer leads to a place for a sample.
    unsafe { client.GetBuffer(&mut sample, None, None, 0) }?;
    let sample = sample.expect("a buffer is free");
    // SAFETY: the sample takes no pointers here.
    assert_eq!(unsafe { sample.GetSize() }, 128);
    let object: IUnknown = sample.cast()?;
    assert!(object.cast::<com::IMediaSample2>().is_ok());
    Ok(())
}

#[test]
fn an_interface_of_this_crate_is_that_of_the_windows_crate() -> Result<()> {
    let ours: com::IMemAllocator = allocator().cast()?;
    let theirs: IMemAllocator = ours.cast()?;
    assert_eq!(IMemAllocator::IID, com::IMemAllocator::IID);
    assert_eq!(
        ours.cast::<IUnknown>()?,
        theirs.cast::<IUnknown>()?,
        "both are the same object"
    );
    Ok(())
}

#[test]
fn errors_and_results_are_those_of_the_windows_crate() {
    let error = allocator().cast::<IGraphBuilder>().unwrap_err();
    assert_eq!(error.code(), E_NOINTERFACE);
    assert_eq!(com::E_NOINTERFACE, E_NOINTERFACE);
    let result: HRESULT = com::S_OK;
    assert!(result.is_ok());
}
