//! Pictures of FFmpeg whose bytes are in a frame of a pool.

use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;

use ffmpeg_next::ffi::{
    AV_BUFFER_FLAG_READONLY, AVBufferRef, AVFrame, av_buffer_create, av_buffer_get_opaque,
};
use ffmpeg_next::frame;
use ks_allocator::{
    Frame, Label, Planes, PlanesError, SegmentInfo, SharedFrame, VideoFormat, VideoLayout,
};

use crate::error::Error;
use crate::layout::{check_room, number_in_ffmpeg, pixel_format};

/// Picture of FFmpeg whose bytes are in a frame of a pool. It dereferences to FFmpeg's own type.
///
/// The frame is released when FFmpeg and the application have dropped all references to it.
///
/// # Invariant
///
/// P1: `buf[0]` was made by [`attach`]. Its bytes are those of a frame, and its opaque pointer was
/// made of a handle of that frame.
pub struct Picture {
    video: frame::Video,
    layout: VideoLayout,
}

impl Picture {
    /// Makes a picture of a frame for an encoder, without a copy.
    ///
    /// # Errors
    ///
    /// Returns [`Error::PixelFormat`] for a format that FFmpeg does not have, [`Error::BottomUp`]
    /// for such a layout, [`Error::Planes`] if the frame has no layout or is shorter than the
    /// planes, and an error of FFmpeg if there is no memory for its descriptions.
    pub fn from_frame(frame: SharedFrame) -> Result<Self, Error> {
        let layout = *frame.video_layout().ok_or(PlanesError::NoLayout)?;
        if layout.is_bottom_up() {
            return Err(Error::BottomUp);
        }
        check_room(&layout, frame.len())?;
        let pixel = pixel_format(layout.format()).ok_or(Error::PixelFormat)?;
        let mut video = frame::Video::empty();
        // SAFETY: the pointer is used while the picture is borrowed.
        let av = unsafe { video.as_mut_ptr() };
        // SAFETY: `empty` allocates an `AVFrame`, and returns a null pointer if it cannot.
        let av = unsafe { av.as_mut() }.ok_or(Error::NO_MEMORY)?;
        av.width = to_c(layout.width() as usize)?;
        av.height = to_c(layout.height() as usize)?;
        let bytes = ptr::from_ref::<[u8]>(&frame).cast_mut();
        // SAFETY: these are the bytes of the frame, which FFmpeg does not write to, as the buffer
        // is read-only.
        unsafe { attach(av, frame, bytes, AV_BUFFER_FLAG_READONLY, &layout) }?;
        video.set_format(pixel);
        Ok(Self { video, layout })
    }

    /// Takes a picture that a decoder has finished.
    pub(crate) fn from_decoder(
        video: frame::Video,
        format: VideoFormat,
        segment: &SegmentInfo,
    ) -> Result<Self, Error> {
        let av = av_frame(&video).ok_or(Error::NO_MEMORY)?;
        let buffer = buffer(av).ok_or(Error::NotInPool)?;
        let start = buffer.data.addr().checked_sub(segment.base.addr().get());
        if start.is_none_or(|start| start >= segment.bytes) {
            return Err(Error::NotInPool);
        }
        let planes: Vec<(usize, isize)> = (0..format.planes().len())
            .map(|position| number_in_ffmpeg(format, position))
            .map(|number| (av.data[number].addr(), av.linesize[number] as isize))
            .map(|(data, stride)| (data.wrapping_sub(buffer.data.addr()), stride))
            .collect();
        let [width, height] = [av.width, av.height].map(|size| u32::try_from(size).unwrap_or(0));
        let layout = VideoLayout::from_planes(format, width, height, &planes, buffer.size)?;
        Ok(Self { video, layout })
    }

    /// Returns the planes of the picture.
    ///
    /// # Errors
    ///
    /// Returns [`PlanesError`] if the frame is shorter than the planes, which it is not.
    pub fn planes(&self) -> Result<Planes<'_>, PlanesError> {
        let AVBufferRef { data, size, .. } = *self.buffer();
        // SAFETY: these are the bytes of a frame (P1), which are initialized. The frame stays out
        // as long as the reference exists, which is longer than `self` is borrowed. Nothing writes
        // to them: a decoder has finished the picture, and takes it as not writable as long as this
        // reference exists.
        let bytes = unsafe { slice::from_raw_parts(data, size) };
        self.layout.planes_of(bytes)
    }

    /// Sets the presentation time in the time base of the encoder.
    pub fn set_pts(&mut self, pts: i64) {
        self.video.set_pts(Some(pts));
    }

    /// Sets the holder of the frame that is shown in reports.
    #[track_caller]
    pub fn set_label(&self, label: impl Into<Label>) {
        // SAFETY: the buffer is valid.
        let owner = unsafe { av_buffer_get_opaque(self.buffer()) };
        if let Some(owner) = NonNull::new(owner) {
            // SAFETY: the pointer was made of a handle (P1), which exists as long as the reference.
            unsafe { SharedFrame::from_raw_ref(&owner) }.set_label(label);
        }
    }

    /// Returns the reference to the frame. By P1 there is one.
    fn buffer(&self) -> &AVBufferRef {
        let reference = av_frame(&self.video).and_then(buffer);
        reference.expect("a picture has a buffer")
    }
}

/// Returns FFmpeg's description, or `None` if it could not be allocated.
fn av_frame(video: &frame::Video) -> Option<&AVFrame> {
    // SAFETY: the pointer is used while the picture is borrowed.
    let av = unsafe { video.as_ptr() };
    // SAFETY: the pointer is null or valid until the picture is dropped.
    unsafe { av.as_ref() }
}

/// Returns the first reference to a buffer, if there is one.
fn buffer(av: &AVFrame) -> Option<&AVBufferRef> {
    // SAFETY: the reference is null, or valid as long as the picture has it.
    unsafe { av.buf[0].as_ref() }
}

impl Deref for Picture {
    type Target = frame::Video;

    fn deref(&self) -> &frame::Video {
        &self.video
    }
}

/// Makes a frame the memory of a picture that a decoder is about to write.
pub(crate) fn provide(
    av: &mut AVFrame,
    mut frame: Frame,
    layout: &VideoLayout,
) -> Result<(), Error> {
    let bytes = ptr::from_mut::<[u8]>(&mut frame);
    // SAFETY: these are the bytes of the frame. Until the decoder has finished the picture there is
    // no other access to them.
    unsafe { attach(av, frame.share(), bytes, 0, layout) }
}

/// Makes `frame` the only buffer of `av`, and sets its planes by the layout.
///
/// # Safety
///
/// `bytes` are those of the frame, and FFmpeg may use them as the flags say.
unsafe fn attach(
    av: &mut AVFrame,
    frame: SharedFrame,
    bytes: *mut [u8],
    flags: c_int,
    layout: &VideoLayout,
) -> Result<(), Error> {
    let start = bytes.cast::<u8>();
    for (position, plane) in layout.planes().iter().enumerate() {
        let number = number_in_ffmpeg(layout.format(), position);
        av.data[number] = start.wrapping_add(plane.offset);
        av.linesize[number] = to_c(plane.stride)?;
    }
    av.extended_data = av.data.as_mut_ptr();
    let owner = frame.into_raw();
    let opaque = owner.as_ptr();
    // SAFETY: the bytes are valid until `release` drops the frame. `release` fits the opaque
    // pointer, and may be called on any thread, as a `SharedFrame` is `Send`.
    av.buf[0] = unsafe { av_buffer_create(start, bytes.len(), Some(release), opaque, flags) };
    if av.buf[0].is_null() {
        // SAFETY: FFmpeg made no buffer and so did not take the pointer.
        drop(unsafe { SharedFrame::from_raw(owner) });
        av.data.fill(ptr::null_mut());
        return Err(Error::NO_MEMORY);
    }
    Ok(())
}

/// Releases the frame of a buffer to which there are no more references.
unsafe extern "C" fn release(owner: *mut c_void, _: *mut u8) {
    if let Some(owner) = NonNull::new(owner) {
        // SAFETY: FFmpeg calls this once per buffer with the pointer that `attach` gave it.
        drop(unsafe { SharedFrame::from_raw(owner) });
    }
}

/// Converts a number of pixels or bytes. Pictures are at most as large as FFmpeg can describe.
fn to_c(number: usize) -> Result<c_int, Error> {
    c_int::try_from(number).map_err(|_| ffmpeg_next::Error::InvalidData.into())
}
