//! Frames in the queue of a driver.

use std::fs::File;
use std::io;
use std::mem;
use std::time::Duration;

use ks_allocator::{Frame, FramePool};
use ks_allocator_integrations::{Result, check};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::v4l2::{self, BUFFER_ERROR, Buffer, RequestBuffers};

/// Queue of a device that captures. Dropping it stops the capture.
pub(crate) struct Queue<'device> {
    device: &'device File,
    /// The queued frames, by their slots.
    queued: Vec<Option<Frame>>,
}

impl<'device> Queue<'device> {
    /// Prepares a device to capture into the frames of a pool, and queues those that are free.
    pub(crate) fn start(device: &'device File, pool: &FramePool) -> Result<Self> {
        let mut request = RequestBuffers::new(u32::try_from(pool.frames())?);
        v4l2::call(device, &v4l2::REQBUFS, &mut request)?;
        let granted = usize::try_from(request.count)?;
        check(
            granted >= pool.frames(),
            "the driver has a buffer per frame",
        )?;

        let queued = (0..pool.frames()).map(|_| None).collect();
        let mut queue = Self { device, queued };
        queue.refill(pool)?;
        v4l2::stream_on(device)?;
        Ok(queue)
    }

    /// Queues the free frames of the pool. Waits for one if the driver has none.
    pub(crate) fn refill(&mut self, pool: &FramePool) -> Result {
        if self.queued.iter().all(Option::is_none) {
            self.queue(pool.acquire_timeout(Duration::from_secs(5))?)?;
        }
        while let Ok(frame) = pool.try_acquire() {
            self.queue(frame)?;
        }
        Ok(())
    }

    /// Queues a frame under the number of its slot. So the driver gets the same memory under the
    /// same number each time, and need not pin it again.
    fn queue(&mut self, mut frame: Frame) -> Result {
        let index = u32::try_from(frame.slot())?;
        let length = u32::try_from(frame.capacity())?;
        let start = frame.payload_ptr().as_ptr();
        let place = self
            .queued
            .get_mut(frame.slot())
            .ok_or("the frame belongs to another pool")?;
        check(place.is_none(), "a free frame is not queued")?;
        // SAFETY: the frame is unique, and is kept in `queued` without a reference to its bytes
        // until the driver has returned it or stopped.
        unsafe { v4l2::queue(self.device, index, start, length) }?;
        *place = Some(frame);
        Ok(())
    }

    /// Returns the next frame that the driver has filled.
    pub(crate) fn dequeue(&mut self, limit: Duration) -> Result<Frame> {
        let mut polled = [PollFd::new(self.device, PollFlags::IN)];
        let ready = poll(&mut polled, Some(&Timespec::try_from(limit)?))?;
        check(ready > 0, format!("a picture within {limit:?}"))?;

        let buffer = v4l2::dequeue(self.device)?;
        let place = self.queued.get_mut(usize::try_from(buffer.index)?);
        let frame = place.and_then(Option::take);
        let mut frame = frame.ok_or("the driver returned a buffer that it did not have")?;
        check(buffer.flags & BUFFER_ERROR == 0, "the picture is intact")?;
        frame.set_len(usize::try_from(buffer.bytesused)?)?;
        let metadata = frame.metadata_mut();
        metadata.sequence = buffer.sequence.into();
        metadata.presentation_time = Some(ticks(&buffer));
        Ok(frame)
    }
}

/// Returns the time stamp of a buffer in ticks of 100 ns.
fn ticks(buffer: &Buffer) -> i64 {
    buffer.timestamp.tv_sec * 10_000_000 + buffer.timestamp.tv_usec * 10
}

impl Drop for Queue<'_> {
    /// Makes the driver return its frames. If it does not, they stay out for good.
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the driver keeps its frames: {error}");
            mem::forget(mem::take(&mut self.queued));
        }
    }
}

impl Queue<'_> {
    fn stop(&self) -> io::Result<()> {
        v4l2::stream_off(self.device)?;
        // Releases the pinned pages.
        v4l2::call(self.device, &v4l2::REQBUFS, &mut RequestBuffers::new(0))
    }
}
