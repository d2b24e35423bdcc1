//! Registration of a pool's memory with a ring.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_uring::IoUring;
use ks_allocator::SegmentInfo;
use libc::iovec;

/// Ring that is used by a reader and by the registration of the buffers.
///
/// The last handle of a pool or frame unregisters the buffers, so it must not be dropped while the
/// ring is locked.
#[derive(Clone)]
pub(crate) struct Ring(Arc<Mutex<IoUring>>);

/// Buffers that are registered with a ring until this is dropped.
pub(crate) struct FixedBuffers(Ring);

impl Ring {
    /// Makes a ring for as many operations at a time.
    pub(crate) fn new(operations: u32) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(IoUring::new(operations)?))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, IoUring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a segment in buffers of as many frames each. The buffer of a frame is its slot
    /// divided by that number.
    pub(crate) fn register(
        &self,
        segment: &SegmentInfo,
        frames: usize,
    ) -> io::Result<FixedBuffers> {
        let chunks = segment.chunks(frames * segment.stride);
        let chunks = chunks.ok_or(io::ErrorKind::InvalidInput)?;
        let buffers: Vec<_> = chunks
            .map(|chunk| iovec {
                iov_base: chunk.base.as_ptr().cast(),
                iov_len: chunk.bytes,
            })
            .collect();
        // SAFETY: the memory exists until the registration is dropped, which unregisters it: the
        // pool promises so.
        unsafe { self.lock().submitter().register_buffers(&buffers) }?;
        Ok(FixedBuffers(self.clone()))
    }
}

impl Drop for FixedBuffers {
    /// No operation is in flight, because no frame is out when a pool drops the registration.
    fn drop(&mut self) {
        if let Err(error) = self.0.lock().submitter().unregister_buffers() {
            eprintln!("the buffers stay registered until the ring is closed: {error}");
        }
    }
}
