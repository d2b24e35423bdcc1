//! Futures that wait for frames without blocking a thread.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::diagnostics::call_site::CallSite;
use crate::error::AcquireError;
use crate::frame::{Frame, FrameBatch};
use crate::pool::core::Handle;
use crate::pool::pending_wait::PendingWait;

use super::several::{self, Several};

/// Acquire of a task, from its first poll on with a place in the wait queue. It gives the place up
/// when it is dropped.
struct TaskAcquire<'pool> {
    pool: PoolRef<'pool>,
    site: CallSite,
    pending: PendingWait,
}

/// The pool of a future: borrowed, or kept by a handle of the future's own.
enum PoolRef<'pool> {
    Borrowed(&'pool Handle),
    Owned(Handle),
}

impl PoolRef<'_> {
    fn handle(&self) -> &Handle {
        match self {
            PoolRef::Borrowed(handle) => handle,
            PoolRef::Owned(handle) => handle,
        }
    }
}

impl<'pool> TaskAcquire<'pool> {
    fn new(pool: PoolRef<'pool>, site: CallSite) -> Self {
        Self {
            pool,
            site,
            pending: PendingWait::default(),
        }
    }

    fn into_owned(mut self) -> TaskAcquire<'static> {
        TaskAcquire {
            pool: PoolRef::Owned(self.pool.handle().clone()),
            site: self.site,
            pending: mem::take(&mut self.pending),
        }
    }

    /// Returns the parts that a poll needs. A wait that has not begun will be one for the newest
    /// generation of the pool.
    fn parts_of_newest(&mut self) -> (&Handle, CallSite, &mut PendingWait) {
        if self.pending.start().is_none() {
            if let Some(newest) = self.pool.handle().successor() {
                self.pool = PoolRef::Owned(newest);
            }
        }
        self.parts()
    }

    fn parts(&mut self) -> (&Handle, CallSite, &mut PendingWait) {
        (self.pool.handle(), self.site, &mut self.pending)
    }
}

impl Drop for TaskAcquire<'_> {
    fn drop(&mut self) {
        let (core, site, pending) = self.parts();
        core.cancel_acquire(site, pending);
    }
}

impl fmt::Debug for TaskAcquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskAcquire")
            .field("waiting", &self.pending.start().is_some())
            .finish_non_exhaustive()
    }
}

/// Future of an acquire, returned by [`FramePool::acquire_async`](crate::FramePool::acquire_async).
///
/// From its first poll on it has a place in the wait queue. Dropping it before it is ready gives up
/// the place; a frame that was assigned to it at the same moment goes to the next waiter, or back
/// to the pool. A frame that was assigned to a future stays out until the future is polled or
/// dropped. A future that is leaked (`mem::forget`) leaks the frame. If it is polled again after it
/// was ready, it acquires another frame.
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
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct AcquireFuture<'pool>(TaskAcquire<'pool>);

impl<'pool> AcquireFuture<'pool> {
    pub(super) fn new(pool: &'pool Handle, site: CallSite) -> Self {
        Self(TaskAcquire::new(PoolRef::Borrowed(pool), site))
    }

    /// Turns the future into one that keeps the pool by a handle of its own, so that a task can be
    /// spawned with it. It keeps its place in the wait queue.
    ///
    /// ```
    /// use ks_allocator::{AcquireFuture, FramePool};
    ///
    /// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let future: AcquireFuture<'static> = pool.acquire_async().into_owned();
    /// drop(pool);
    /// # drop(future);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn into_owned(self) -> AcquireFuture<'static> {
        AcquireFuture(self.0.into_owned())
    }
}

impl AcquireFuture<'static> {
    pub(super) fn owned(pool: Handle, site: CallSite) -> Self {
        Self(TaskAcquire::new(PoolRef::Owned(pool), site))
    }
}

impl Future for AcquireFuture<'_> {
    type Output = Result<Frame, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (core, site, pending) = self.0.parts_of_newest();
        core.poll_acquire(site, pending, context)
            .map_ok(Frame::from)
            .map_err(AcquireError::from)
    }
}

/// Future of an acquire of several frames, returned by
/// [`FramePool::acquire_many_async`](crate::FramePool::acquire_many_async).
///
/// It waits in the same queue as an [`AcquireFuture`], and can be dropped at any time.
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(3).frame_size(64).build()?;
/// let mut future = pin!(pool.acquire_many_async(2));
/// let ready = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
/// assert!(matches!(ready, Poll::Ready(Ok(batch)) if batch.len() == 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct AcquireManyFuture<'pool> {
    acquire: TaskAcquire<'pool>,
    max: usize,
}

impl<'pool> AcquireManyFuture<'pool> {
    pub(super) fn new(pool: &'pool Handle, site: CallSite, max: usize) -> Self {
        Self {
            acquire: TaskAcquire::new(PoolRef::Borrowed(pool), site),
            max,
        }
    }

    /// Turns the future into one that keeps the pool by a handle of its own, as
    /// [`AcquireFuture::into_owned`] does.
    ///
    /// ```
    /// # use ks_allocator::{AcquireManyFuture, FramePool};
    /// # let pool = FramePool::builder().frames(1).frame_size(64).build()?;
    /// let future: AcquireManyFuture<'static> = pool.acquire_many_async(8).into_owned();
    /// # drop(future);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn into_owned(self) -> AcquireManyFuture<'static> {
        AcquireManyFuture {
            acquire: self.acquire.into_owned(),
            max: self.max,
        }
    }
}

impl Future for AcquireManyFuture<'_> {
    type Output = Result<FrameBatch, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let max = self.max;
        let (core, site, pending) = self.acquire.parts_of_newest();
        several::poll(core, site, Several::UpTo(max), pending, context)
    }
}

/// Future of an acquire of an exact number of frames, returned by
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
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct AcquireExactFuture<'pool> {
    acquire: TaskAcquire<'pool>,
    count: usize,
}

impl<'pool> AcquireExactFuture<'pool> {
    pub(super) fn new(pool: &'pool Handle, site: CallSite, count: usize) -> Self {
        Self {
            acquire: TaskAcquire::new(PoolRef::Borrowed(pool), site),
            count,
        }
    }

    /// Turns the future into one that keeps the pool by a handle of its own, as
    /// [`AcquireFuture::into_owned`] does.
    ///
    /// ```
    /// # use ks_allocator::{AcquireExactFuture, FramePool};
    /// # let pool = FramePool::builder().frames(2).frame_size(64).build()?;
    /// let future: AcquireExactFuture<'static> = pool.acquire_exact_async(2).into_owned();
    /// # drop(future);
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    pub fn into_owned(self) -> AcquireExactFuture<'static> {
        AcquireExactFuture {
            acquire: self.acquire.into_owned(),
            count: self.count,
        }
    }
}

impl Future for AcquireExactFuture<'_> {
    type Output = Result<FrameBatch, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let count = self.count;
        let (core, site, pending) = self.acquire.parts_of_newest();
        several::poll(core, site, Several::Exactly(count), pending, context)
    }
}

/// Endless stream of the frames of a pool, returned by
/// [`FramePool::frame_stream`](crate::FramePool::frame_stream).
///
/// From a poll that finds no free frame until the poll that yields one, it has a place in the wait
/// queue; a frame that was assigned to it stays out until it is polled or dropped. It can be
/// dropped at any time. It yields an error for as long as acquires fail, and ends with the pool's
/// [close](crate::FramePool::close).
///
/// ```
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
///
/// use futures_core::Stream;
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(1).frame_size(64).build()?;
/// let mut frames = pin!(pool.clone().frame_stream());
/// let mut context = Context::from_waker(Waker::noop());
/// let Poll::Ready(Some(Ok(frame))) = frames.as_mut().poll_next(&mut context) else {
///     unreachable!()
/// };
/// assert!(frames.as_mut().poll_next(&mut context).is_pending());
/// drop(frame);
/// assert!(matches!(frames.as_mut().poll_next(&mut context), Poll::Ready(Some(Ok(_)))));
/// pool.close();
/// assert!(matches!(frames.as_mut().poll_next(&mut context), Poll::Ready(None)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "stream")]
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct FrameStream(pub(super) AcquireFuture<'static>);

#[cfg(feature = "stream")]
impl futures_core::Stream for FrameStream {
    type Item = Result<Frame, AcquireError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let acquired = Pin::new(&mut self.0).poll(context);
        acquired.map(|result| match result {
            Err(AcquireError::Closed) => None,
            result => Some(result),
        })
    }
}
