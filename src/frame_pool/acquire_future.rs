//! Futures that wait for frames without blocking a thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::diagnostics::call_site::CallSite;
use crate::error::AcquireError;
use crate::frame::{Frame, FrameBatch};
use crate::pool::core::Core;
use crate::pool::wait_queue::PendingWait;

use super::exact;

/// Future of an acquire, returned by [`FramePool::acquire_async`](crate::FramePool::acquire_async).
///
/// From its first poll on it has a place in the wait queue. Dropping it before it is ready gives up
/// the place; a frame that was assigned to it at the same moment goes to the next waiter, or back
/// to the pool. A frame that was assigned to a future stays out until the future is polled or
/// dropped. A future that is leaked (`mem::forget`) leaks the frame.
///
/// If a waker releases frames, the tasks that get them are woken when the waker returns, or when it
/// blocks for a frame of a pool. So wakers that poll their task at once do not overflow the stack.
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
///     drop(frame); // assigned to the future
///     assert_eq!(pool.free_frames(), 0);
/// }
/// assert_eq!(pool.free_frames(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct AcquireFuture<'pool> {
    core: &'pool Core,
    site: CallSite,
    pending: PendingWait,
}

impl<'pool> AcquireFuture<'pool> {
    pub(super) fn new(core: &'pool Core, site: CallSite) -> Self {
        Self {
            core,
            site,
            pending: PendingWait::default(),
        }
    }
}

impl Future for AcquireFuture<'_> {
    type Output = Result<Frame, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            core,
            site,
            pending,
        } = &mut *self;
        core.poll_acquire(*site, pending, context)
            .map_ok(Frame::from)
            .map_err(AcquireError::from)
    }
}

impl Drop for AcquireFuture<'_> {
    fn drop(&mut self) {
        self.core.cancel_acquire(self.site, &mut self.pending);
    }
}

impl fmt::Debug for AcquireFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireFuture")
            .field("waiting", &self.pending.start().is_some())
            .finish()
    }
}

/// Future of an acquire of several frames, returned by
/// [`FramePool::acquire_exact_async`](crate::FramePool::acquire_exact_async).
///
/// It waits in the same queue as an [`AcquireFuture`], and can be dropped at any time: frames that
/// were assigned to it go to the next waiter, or back to the pool.
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(2).frame_size(64).build()?;
/// let frame = pool.try_acquire()?;
/// let mut future = pin!(pool.acquire_exact_async(2));
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(future.as_mut().poll(&mut context).is_pending());
/// drop(frame);
/// let Poll::Ready(Ok(batch)) = future.as_mut().poll(&mut context) else { unreachable!() };
/// assert_eq!(batch.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a future does nothing unless it is polled"]
pub struct AcquireExactFuture<'pool> {
    core: &'pool Core,
    site: CallSite,
    count: usize,
    pending: PendingWait,
}

impl<'pool> AcquireExactFuture<'pool> {
    pub(super) fn new(core: &'pool Core, site: CallSite, count: usize) -> Self {
        Self {
            core,
            site,
            count,
            pending: PendingWait::default(),
        }
    }
}

impl Future for AcquireExactFuture<'_> {
    type Output = Result<FrameBatch, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            core,
            site,
            count,
            pending,
        } = &mut *self;
        exact::poll(core, *site, *count, pending, context)
    }
}

impl Drop for AcquireExactFuture<'_> {
    fn drop(&mut self) {
        self.core.cancel_acquire(self.site, &mut self.pending);
    }
}

impl fmt::Debug for AcquireExactFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireExactFuture")
            .field("count", &self.count)
            .field("waiting", &self.pending.start().is_some())
            .finish()
    }
}
