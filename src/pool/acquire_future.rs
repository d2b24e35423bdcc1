//! Waiting for a frame without blocking a thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::AcquireError;
use crate::frame::Frame;

use super::core::Core;
use super::holder_table::CallSite;
use super::wait_queue::PendingWait;

/// What [`FramePool::acquire_async`](super::FramePool::acquire_async) returns.
///
/// Dropping it before it is ready leaves the line; a frame that it was called for at the same moment
/// goes to the next in the line, or back to the pool. One that is neither polled nor dropped holds up
/// the frame that it was called for, and one that is leaked (`mem::forget`) leaks it.
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Waker};
///
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let frame = pool.try_acquire()?;
/// {
///     let mut future = pin!(pool.acquire_async());
///     assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
///     drop(frame); // the frame is the future's now
///     assert_eq!(pool.free_frames(), 0);
/// }
/// assert_eq!(pool.free_frames(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct AcquireFuture<'pool> {
    core: &'pool Core,
    site: CallSite,
    stay: PendingWait,
}

impl<'pool> AcquireFuture<'pool> {
    pub(super) fn new(core: &'pool Core, site: CallSite) -> Self {
        Self {
            core,
            site,
            stay: PendingWait::default(),
        }
    }
}

impl Future for AcquireFuture<'_> {
    type Output = Result<Frame, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { core, site, stay } = &mut *self;
        Frame::poll_acquire(core, *site, stay, context)
    }
}

impl Drop for AcquireFuture<'_> {
    fn drop(&mut self) {
        Frame::abandon_acquire(self.core, self.site, &mut self.stay);
    }
}

impl fmt::Debug for AcquireFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture")
            .field("waiting", &self.stay.start().is_some())
            .finish()
    }
}
