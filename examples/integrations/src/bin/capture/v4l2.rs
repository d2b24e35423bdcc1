//! Requests of V4L2 and their arguments, as in `linux/videodev2.h`.
//!
//! The names are those of the header, without the prefix `v4l2_` or `VIDIOC_`.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{Ioctl, timeval};

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const VIDEO_CAPTURE: u32 = 1;
/// `V4L2_MEMORY_USERPTR`.
const USERPTR: u32 = 2;
/// `V4L2_FIELD_NONE`: pictures are not interlaced.
const FIELD_NONE: u32 = 1;
/// `V4L2_CAP_VIDEO_CAPTURE`.
pub(crate) const CAP_VIDEO_CAPTURE: u32 = 0x1;
/// `V4L2_CAP_STREAMING`.
pub(crate) const CAP_STREAMING: u32 = 0x0400_0000;
/// `V4L2_BUF_FLAG_ERROR`.
pub(crate) const BUFFER_ERROR: u32 = 0x40;

#[derive(Default)]
#[repr(C)]
pub(crate) struct Capability {
    driver: [u8; 16],
    card: [[u8; 16]; 2],
    bus_info: [[u8; 16]; 2],
    version: u32,
    capabilities: u32,
    pub(crate) device_caps: u32,
    reserved: [u32; 3],
}

#[derive(Default)]
#[repr(C)]
pub(crate) struct FormatDescription {
    index: u32,
    buffer_type: u32,
    flags: u32,
    description: [u8; 32],
    pub(crate) pixelformat: u32,
    mbus_code: u32,
    reserved: [u32; 3],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct PixFormat {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixelformat: u32,
    field: u32,
    pub(crate) bytesperline: u32,
    pub(crate) sizeimage: u32,
    colorspace: u32,
    private: u32,
    flags: u32,
    ycbcr_encoding: u32,
    quantization: u32,
    transfer_function: u32,
}

#[repr(C)]
pub(crate) struct Format {
    buffer_type: u32,
    /// The other members of the union have pointers.
    alignment: [usize; 0],
    pub(crate) pix: PixFormat,
    rest: [u8; 152],
}

#[derive(Default)]
#[repr(C)]
pub(crate) struct RequestBuffers {
    pub(crate) count: u32,
    buffer_type: u32,
    memory: u32,
    capabilities: u32,
    flags_and_reserved: [u8; 4],
}

#[repr(C)]
pub(crate) struct Buffer {
    pub(crate) index: u32,
    buffer_type: u32,
    pub(crate) bytesused: u32,
    pub(crate) flags: u32,
    field: u32,
    pub(crate) timestamp: timeval,
    timecode: [u32; 4],
    pub(crate) sequence: u32,
    memory: u32,
    userptr: usize,
    length: u32,
    reserved: [u32; 2],
}

// The sizes on 64-bit systems. Others need other types for pointers and times.
const _: () = {
    assert!(size_of::<Capability>() == 104);
    assert!(size_of::<FormatDescription>() == 64);
    assert!(size_of::<Format>() == 208);
    assert!(size_of::<RequestBuffers>() == 20);
    assert!(size_of::<Buffer>() == 88);
};

impl FormatDescription {
    /// Makes the argument that asks for the format with this index.
    pub(crate) fn new(index: u32) -> Self {
        Self {
            index,
            buffer_type: VIDEO_CAPTURE,
            ..Self::default()
        }
    }
}

impl PixFormat {
    pub(crate) fn new(width: u32, height: u32, code: u32, stride: u32, size: u32) -> Self {
        Self {
            width,
            height,
            pixelformat: code,
            field: FIELD_NONE,
            bytesperline: stride,
            sizeimage: size,
            ..Self::default()
        }
    }
}

impl RequestBuffers {
    /// Makes the argument that asks for as many buffers of our memory.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            count,
            buffer_type: VIDEO_CAPTURE,
            memory: USERPTR,
            ..Self::default()
        }
    }
}

impl Format {
    pub(crate) fn new(pix: PixFormat) -> Self {
        Self {
            buffer_type: VIDEO_CAPTURE,
            alignment: [],
            pix,
            rest: [0; 152],
        }
    }
}

impl Buffer {
    /// Makes the argument for a buffer of our memory.
    fn new(index: u32, userptr: usize, length: u32) -> Self {
        Self {
            index,
            buffer_type: VIDEO_CAPTURE,
            bytesused: 0,
            flags: 0,
            field: FIELD_NONE,
            timestamp: timeval {
                tv_sec: 0,
                tv_usec: 0,
            },
            timecode: [0; 4],
            sequence: 0,
            memory: USERPTR,
            userptr,
            length,
            reserved: [0; 2],
        }
    }
}

/// Request whose argument is a `T`, and that leaves no pointer with the driver.
pub(crate) struct Request<T>(Ioctl, PhantomData<T>);

const V: u32 = 'V' as u32;

pub(crate) const QUERYCAP: Request<Capability> =
    Request(libc::_IOR::<Capability>(V, 0), PhantomData);
pub(crate) const ENUM_FMT: Request<FormatDescription> =
    Request(libc::_IOWR::<FormatDescription>(V, 2), PhantomData);
pub(crate) const S_FMT: Request<Format> = Request(libc::_IOWR::<Format>(V, 5), PhantomData);
pub(crate) const REQBUFS: Request<RequestBuffers> =
    Request(libc::_IOWR::<RequestBuffers>(V, 8), PhantomData);
const DQBUF: Request<Buffer> = Request(libc::_IOWR::<Buffer>(V, 17), PhantomData);
const STREAMON: Request<u32> = Request(libc::_IOW::<u32>(V, 18), PhantomData);
const STREAMOFF: Request<u32> = Request(libc::_IOW::<u32>(V, 19), PhantomData);
const QBUF: Ioctl = libc::_IOWR::<Buffer>(V, 15);

/// Makes a request.
pub(crate) fn call<T>(device: &File, request: &Request<T>, argument: &mut T) -> io::Result<()> {
    // SAFETY: the request has an argument of the type `T`, which the driver reads and writes only
    // during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request.0, ptr::from_mut(argument)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Starts the capture.
pub(crate) fn stream_on(device: &File) -> io::Result<()> {
    call(device, &STREAMON, &mut { VIDEO_CAPTURE })
}

/// Stops the capture. The driver returns all buffers, and writes to none of them any more.
pub(crate) fn stream_off(device: &File) -> io::Result<()> {
    call(device, &STREAMOFF, &mut { VIDEO_CAPTURE })
}

/// Queues memory as the buffer with this index.
///
/// # Safety
///
/// Until the buffer is dequeued, or `STREAMOFF` has succeeded, the driver may write to the `length`
/// bytes from `start` on.
pub(crate) unsafe fn queue(
    device: &File,
    index: u32,
    start: *mut u8,
    length: u32,
) -> io::Result<()> {
    let mut buffer = Buffer::new(index, start.expose_provenance(), length);
    // SAFETY: the argument is valid during the call, and the caller keeps the memory afterwards.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), QBUF, &raw mut buffer) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Dequeues a buffer that is filled. Blocks until there is one.
pub(crate) fn dequeue(device: &File) -> io::Result<Buffer> {
    let mut buffer = Buffer::new(0, 0, 0);
    call(device, &DQBUF, &mut buffer)?;
    Ok(buffer)
}
