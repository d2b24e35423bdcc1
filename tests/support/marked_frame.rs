//! Ownership canary for stress tests.
//!
//! An owner fills its frame with a mark that no other owner uses, and the mark must be intact when
//! the owner gives the frame up. A second owner of the same frame, or a frame that was released
//! while its owner still used it, destroys the mark.

#![expect(clippy::disallowed_types, reason = "no model runs these tests")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ks_allocator::{Frame, Metadata};

static NEXT_MARK: AtomicU64 = AtomicU64::new(1);

/// A frame that is full of its owner's mark. Checked when it is dropped or unwrapped.
pub(crate) struct MarkedFrame {
    /// `None` after the frame was unwrapped.
    frame: Option<Frame>,
    mark: u64,
}

impl MarkedFrame {
    /// Marks a frame that was just acquired.
    pub(crate) fn new(mut frame: Frame) -> Self {
        assert_eq!(frame.len(), frame.capacity());
        assert_eq!(*frame.metadata(), Metadata::default(), "not cleared");
        let mark = NEXT_MARK.fetch_add(1, Ordering::Relaxed);
        for word in frame.chunks_exact_mut(size_of::<u64>()) {
            word.copy_from_slice(&mark.to_ne_bytes());
        }
        if sequence(mark) != 0 {
            frame.metadata_mut().sequence = sequence(mark);
        }
        Self {
            frame: Some(frame),
            mark,
        }
    }

    fn check(&self) {
        if let Some(frame) = &self.frame {
            assert_marked(frame, frame.metadata(), self.mark);
        }
    }
}

impl From<MarkedFrame> for Frame {
    fn from(mut marked: MarkedFrame) -> Self {
        marked.check();
        marked.frame.take().expect("a frame is unwrapped once")
    }
}

impl Drop for MarkedFrame {
    fn drop(&mut self) {
        // A second panic would abort the process before the first is reported.
        if !thread::panicking() {
            self.check();
        }
    }
}

/// Asserts that bytes and metadata are those of the owner with this mark.
#[track_caller]
pub(crate) fn assert_marked(bytes: &[u8], metadata: &Metadata, mark: u64) {
    assert_eq!(
        metadata.sequence,
        sequence(mark),
        "the metadata has another owner"
    );
    for word in bytes.chunks_exact(size_of::<u64>()) {
        assert_eq!(word, mark.to_ne_bytes(), "the bytes have another owner");
    }
}

/// Returns the sequence number that an owner writes. 0 means that it does not touch the metadata,
/// because a release takes another path then.
fn sequence(mark: u64) -> u64 {
    if mark % 2 == 0 { mark } else { 0 }
}
