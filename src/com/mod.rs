//! The allocator as a COM object: what DirectShow and kernel-streaming clients call.
//!
//! [`into_unknown`] makes one object of a [`PoolAllocator`](crate::PoolAllocator), with the interfaces
//! [`IKsAllocator`] and [`IKsAllocatorEx`], [`IMemAllocator`] and [`IMemAllocatorCallbackTemp`]. Its
//! samples, with [`IMediaSample`] and [`IMediaSample2`], are the pool's frames: neither `GetBuffer` nor
//! the last `Release` allocates or takes a lock. [`ComAllocator`] is the same object in Rust's hands,
//! so that Rust code and COM clients share a pool, and pass each other its frames.
//!
//! Nothing in here needs Windows: it is built, called and tested on every system. Off Windows, media
//! types are copied to memory of the C library's `malloc`, in the place of `CoTaskMemAlloc`.
//!
//! # What a client can rely on
//!
//! It finds what the documentation of the interfaces says, and DirectShow's own base classes do,
//! except where a client would be the worse for it:
//!
//! | | here | there |
//! |---|---|---|
//! | `KsSetAllocatorMode` | returns an `HRESULT`; callers of the `void` prototype do not mind | `void` in the header |
//! | `Decommit` | every waiting `GetBuffer` returns `VFW_E_NOT_COMMITTED`, even if a `Commit` follows at once | some wait on |
//! | `GetBuffer` | first come, first served | whoever wakes first |
//! | prefix start | a multiple of the alignment, for any from 1 to 65536 | only for powers of two |
//! | last `Release` of the allocator | decommits; samples that are out stay valid | leaks what is committed |
//! | `ReleaseBuffer` by an application | refused: `E_UNEXPECTED`, or `E_INVALIDARG` for another's sample | the sample is handed out twice |
//! | `Release` of a sample that is free | 0, and nothing happens | |
//! | NULL, lies about sizes, requests beyond 2 GiB | an `HRESULT`, and nothing changes | a crash, or worse |
//!
//! Buffers are not cleared between owners, and a sample keeps its actual length when it goes back, as
//! there.
//!
//! # How it is built
//!
//! `boundary` makes the entries of the vtables out of safe methods: it is where a client's pointers
//! are taken on trust, and where a panic ends. `sample` has the protocol by which a frame becomes a
//! sample and a frame again; `samples` keeps one for each slot; `allocator_object` is the
//! allocator; the rest are their parts.

mod constants;
mod layouts;

mod interfaces;

mod errors;

#[expect(unsafe_code, reason = "follows pointers of the clients'")]
mod boundary;

mod driver;
mod ks_framing;
#[expect(unsafe_code, reason = "owns what a media type points to")]
mod media_type;
#[expect(unsafe_code, reason = "calls the client's object")]
mod notify;
mod object_count;
mod properties;
#[expect(unsafe_code, reason = "copies what the clients point to")]
mod sample_properties;

#[expect(unsafe_code, reason = "is called by COM clients, and owns frames")]
mod sample;
#[expect(unsafe_code, reason = "knows what a core keeps for it")]
mod samples;

#[expect(unsafe_code, reason = "is called by COM clients, and frees itself")]
mod allocator_object;
#[expect(unsafe_code, reason = "counts references on the object")]
mod com_allocator;

pub use self::com_allocator::{ComAllocator, into_unknown};
pub use self::constants::*;
pub use self::driver::KsDriver;
pub use self::interfaces::{
    IKsAllocator, IKsAllocatorEx, IMediaSample, IMediaSample2, IMemAllocator,
    IMemAllocatorCallbackTemp, IMemAllocatorNotifyCallbackTemp,
};
pub use self::layouts::*;
pub use self::object_count::object_count;

/// The version that this crate was built with.
#[doc(no_inline)]
pub use windows_core;
