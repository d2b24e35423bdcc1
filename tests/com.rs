//! The COM face, driven as a client does that knows nothing of this crate: through raw tables.
//!
//! Every row of the contract has a test: the interfaces in the files named after them, the state
//! machine in those named after its calls. `vtables` writes the binary interface down once more,
//! `client` makes calls of it, and `objects` is what the tests themselves implement.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "calls through tables of functions")]
#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

#[path = "com/client.rs"]
mod client;
#[path = "com/objects.rs"]
mod objects;
#[path = "com/vtables.rs"]
mod vtables;

#[path = "com/commit.rs"]
mod commit;
#[path = "com/errors.rs"]
mod errors;
#[path = "com/frames.rs"]
mod frames;
#[path = "com/free_count.rs"]
mod free_count;
#[path = "com/get_buffer.rs"]
mod get_buffer;
#[path = "com/hostile.rs"]
mod hostile;
#[path = "com/identity.rs"]
mod identity;
#[path = "com/ks_allocator.rs"]
mod ks_allocator_ex;
#[path = "com/lifetime.rs"]
mod lifetime;
#[path = "com/media_type.rs"]
mod media_type;
#[path = "com/notify.rs"]
mod notify;
#[path = "com/properties.rs"]
mod properties;
#[path = "com/recycling.rs"]
mod recycling;
#[path = "com/release_buffer.rs"]
mod release_buffer;
#[path = "com/sample.rs"]
mod sample;
#[path = "com/sample2.rs"]
mod sample2;
#[path = "com/sharing.rs"]
mod sharing;
#[path = "com/stress.rs"]
mod stress;
