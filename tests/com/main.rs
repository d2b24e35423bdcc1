//! Tests of the COM objects by a client that knows nothing of this crate: it calls through raw
//! vtables.
//!
//! The tests of an interface are in the file of its name, and those of a method with many cases in
//! the file of the method's name. `vtables` declares the binary interface a second time, `client`
//! calls it, and `objects` contains the COM objects that the tests implement.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "calls functions of vtables")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

mod client;
mod objects;
mod vtables;

mod commit;
mod errors;
mod format_change;
mod frames;
mod free_count;
mod get_buffer;
mod hostile;
mod identity;
mod ks_allocator_ex;
mod ks_framing;
mod lifetime;
mod media_type;
mod notify;
mod pipe;
mod properties;
mod recycling;
mod release_buffer;
mod sample;
mod sample2;
mod sharing;
mod stress;
mod video_info;

// `support` is beside this folder, because other test crates use it too.
#[path = "../support"]
mod support {
    pub(crate) mod committed_allocator;
    pub(crate) mod pool;
    pub(crate) mod wait_until;
}
