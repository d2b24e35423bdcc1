//! Reads of a file into frames.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use io_uring::{opcode::ReadFixed, types::Fd};
use ks_allocator::Frame;

use crate::buffers::Ring;

/// Reader of a file by a ring with which the frames are registered.
pub(crate) struct Reader<'file> {
    ring: Ring,
    file: &'file File,
    frames_per_buffer: usize,
    in_flight: usize,
}

impl<'file> Reader<'file> {
    pub(crate) fn new(ring: Ring, file: &'file File, frames_per_buffer: usize) -> Self {
        Self {
            ring,
            file,
            frames_per_buffer,
            in_flight: 0,
        }
    }

    /// Returns the number of frames that the kernel has.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts a read from `offset` into the frame.
    pub(crate) fn start(&mut self, mut frame: Frame, offset: u64) -> io::Result<()> {
        frame.metadata_mut().user = offset;
        let buffer = u16::try_from(frame.slot() / self.frames_per_buffer);
        let buffer = buffer.map_err(io::Error::other)?;
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let (file, address) = (Fd(self.file.as_raw_fd()), frame.as_mut_ptr());

        let frame = frame.into_raw();
        let read = ReadFixed::new(file, address, length, buffer).offset(offset);
        let read = read.build().user_data(to_user_data(frame));
        // SAFETY: the frame stays out until `finish` makes a frame of the pointer. So its bytes are
        // not freed, and nothing else uses them while the kernel writes.
        let pushed = unsafe { self.ring.lock().submission().push(&read) };
        if let Err(full) = pushed {
            // SAFETY: the pointer was made above, and the kernel did not get it.
            drop(unsafe { Frame::from_raw(frame) });
            return Err(io::Error::other(full));
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Waits for a read, and returns its frame with as many bytes as were read.
    pub(crate) fn finish(&mut self) -> io::Result<Frame> {
        let (frame, result) = self.wait()?;
        self.in_flight -= 1;
        // SAFETY: `start` made the pointer of a frame, and the kernel returns it once, when it does
        // not use the bytes any more.
        let mut frame = unsafe { Frame::from_raw(frame) };
        let read = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
        frame.set_len(read)?;
        Ok(frame)
    }

    /// Waits for a read, and returns its frame and its result.
    fn wait(&self) -> io::Result<(NonNull<c_void>, i32)> {
        let mut ring = self.ring.lock();
        loop {
            if let Some(read) = ring.completion().next() {
                let frame = from_user_data(read.user_data());
                return Ok((frame.ok_or(io::ErrorKind::InvalidData)?, read.result()));
            }
            match ring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

impl Drop for Reader<'_> {
    /// Waits for the reads in flight. Frames of reads that cannot be waited for stay out for good,
    /// and with them their memory.
    fn drop(&mut self) {
        while self.in_flight > 0 {
            let before = self.in_flight;
            drop(self.finish());
            if self.in_flight == before {
                return;
            }
        }
    }
}

fn to_user_data(frame: NonNull<c_void>) -> u64 {
    frame.as_ptr().expose_provenance() as u64
}

fn from_user_data(user_data: u64) -> Option<NonNull<c_void>> {
    NonNull::new(ptr::with_exposed_provenance_mut(
        usize::try_from(user_data).ok()?,
    ))
}
