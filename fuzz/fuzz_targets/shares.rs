//! Sequences of operations on an allocator with shares, compared with the model of the tests.
//!
//! The model knows who is served, in which order, and all numbers, also through flushes, changes
//! of framing and changes of the shares.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/share_model.rs"]
mod share_model;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.iter();
    share_model::run(&mut |limit| bytes.next().map(|&byte| usize::from(byte) % limit));
});
