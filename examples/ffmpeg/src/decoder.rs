//! Decoder that takes the memory of its pictures from a pool.

use std::ffi::c_int;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ffmpeg_next::codec::Capabilities;
use ffmpeg_next::error::{EAGAIN, ENOMEM};
use ffmpeg_next::ffi::{AVCodecContext, AVERROR, AVFrame, AVPixelFormat, FF_THREAD_FRAME};
use ffmpeg_next::{Packet, decoder, frame};
use ks_allocator::{FramePool, PlanesError, VideoLayout};

use crate::error::Error;
use crate::layout::{Aligned, check_room, pixel_format};
use crate::picture::{Picture, provide};

/// Decoder whose pictures are in frames of a pool.
///
/// It never waits for a frame. If none is free, FFmpeg gets `AVERROR(ENOMEM)`, and the caller an
/// error with a report of the holders.
pub struct PoolDecoder {
    /// Dropped before `source`, which its context has a pointer to.
    decoder: decoder::Video,
    source: Arc<Source>,
}

/// Pool that the callback takes frames from.
struct Source {
    pool: FramePool,
    layout: VideoLayout,
    state: Mutex<State>,
}

/// Results of the callback that FFmpeg has no place for.
#[derive(Default)]
struct State {
    /// Error of the last failed call, which FFmpeg knows only as a number.
    error: Option<Error>,
    needed: Option<FramesNeeded>,
}

impl PoolDecoder {
    /// Makes an open decoder, which has not decoded yet, take its memory from a pool. The pool's
    /// layout is that of [`decoder_layout`](crate::decoder_layout), or one with larger strides or
    /// more padding.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NotDirect`] if the decoder only writes to memory of its own, and
    /// [`Error::Planes`] if the pool has no layout.
    pub fn new(mut decoder: decoder::Video, pool: &FramePool) -> Result<Self, Error> {
        let codec = decoder.codec().ok_or(ffmpeg_next::Error::DecoderNotFound)?;
        if !codec.capabilities().contains(Capabilities::DR1) {
            return Err(Error::NotDirect(codec.name().to_owned()));
        }
        let source = Arc::new(Source {
            pool: pool.with_label("decoder"),
            layout: *pool.video_layout().ok_or(PlanesError::NoLayout)?,
            state: Mutex::default(),
        });
        // SAFETY: the pointer is used while the decoder is borrowed.
        let context = unsafe { decoder.as_mut_ptr() };
        // SAFETY: the context of an open decoder is valid, and no call of FFmpeg uses it now.
        let context = unsafe { &mut *context };
        context.opaque = Arc::as_ptr(&source).cast_mut().cast();
        context.get_buffer2 = Some(get_buffer2);
        Ok(Self { decoder, source })
    }

    /// Sends a packet to the decoder, or the end of the stream.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoFrame`], [`Error::PoolTooSmall`] or another error if the decoder got no
    /// frame for a picture, and the errors of FFmpeg. With threads, the picture may be that of an
    /// earlier packet.
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<(), Error> {
        let sent = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        self.source.checked(sent)
    }

    /// Receives the next picture, or `None` if the decoder needs more packets or has ended.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send), and [`Error::NotInPool`] if the picture is not
    /// in a frame of the pool.
    pub fn receive(&mut self) -> Result<Option<Picture>, Error> {
        let mut video = frame::Video::empty();
        let received = match self.decoder.receive_frame(&mut video) {
            Err(ffmpeg_next::Error::Eof | ffmpeg_next::Error::Other { errno: EAGAIN }) => Ok(false),
            received => received.map(|()| true),
        };
        if !self.source.checked(received)? {
            return Ok(None);
        }
        let Source { pool, layout, .. } = &*self.source;
        Picture::from_decoder(video, layout.format(), &pool.segment()).map(Some)
    }

    /// Returns the number of frames that the decoder needs, or `None` before its first picture.
    #[must_use]
    pub fn frames_needed(&self) -> Option<FramesNeeded> {
        self.source.state().needed
    }
}

/// Provides the memory of a picture. FFmpeg calls it on any thread.
///
/// A panic would end the process, because it must not unwind into C.
unsafe extern "C" fn get_buffer2(
    context: *mut AVCodecContext,
    picture: *mut AVFrame,
    _flags: c_int,
) -> c_int {
    // SAFETY: FFmpeg passes a valid context. That of a thread is a copy of the decoder's.
    let source = unsafe { (*context).opaque };
    // SAFETY: it points to the `Source`, which the `PoolDecoder` keeps until FFmpeg has closed the
    // decoder and ended its threads.
    let source = unsafe { &*source.cast::<Source>() };
    // SAFETY: the picture is valid, and the callback's alone until it returns.
    let picture = unsafe { &mut *picture };
    // SAFETY: the context is that of an open decoder.
    match unsafe { source.provide(context, picture) } {
        Ok(()) => 0,
        Err(error) => {
            source.state().error = Some(error);
            AVERROR(ENOMEM)
        }
    }
}

impl Source {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error of the callback if there was one, and otherwise the result.
    ///
    /// FFmpeg may go on without the picture, so the callback's error comes first.
    fn checked<T>(&self, result: Result<T, ffmpeg_next::Error>) -> Result<T, Error> {
        let error = self.state().error.take();
        match error {
            Some(error) => Err(error),
            None => Ok(result?),
        }
    }

    /// Provides the memory of a picture.
    ///
    /// # Safety
    ///
    /// `context` is that of an open decoder, and no other thread writes to it.
    unsafe fn provide(
        &self,
        context: *mut AVCodecContext,
        picture: &mut AVFrame,
    ) -> Result<(), Error> {
        // SAFETY: the context is valid, and nothing writes to it during this call.
        let needed = FramesNeeded::new(unsafe { &*context });
        self.state().needed = Some(needed);
        let frames = self.pool.frames();
        if frames < needed.total() {
            return Err(Error::PoolTooSmall { frames, needed });
        }
        let [width, height] = [picture.width, picture.height].map(to_pixels);
        // SAFETY: the context is that of an open decoder.
        let aligned = unsafe { Aligned::new(context, width, height) };
        self.check_layout(picture.format, aligned)?;
        let frame = self.pool.try_acquire();
        let frame = frame.map_err(|error| Error::NoFrame(self.pool.explain(error)))?;
        provide(picture, frame, &self.layout)
    }

    /// Returns an error if a picture of this size does not fit the frames.
    fn check_layout(&self, pixel: c_int, aligned: Aligned) -> Result<(), Error> {
        let format = self.layout.format();
        let expected = pixel_format(format).map(|pixel| AVPixelFormat::from(pixel) as c_int);
        if expected != Some(pixel) {
            return Err(Error::PixelFormat);
        }
        if self.layout.is_bottom_up() {
            return Err(Error::BottomUp);
        }
        let payload_alignment = self.pool.payload_alignment();
        let mut planes = Vec::with_capacity(self.layout.planes().len());
        for (plane, position) in self.layout.planes().iter().enumerate() {
            let alignment = aligned.alignment;
            let values = [payload_alignment, position.offset, position.stride];
            if values.iter().any(|value| value % alignment != 0) {
                return Err(Error::Alignment { plane, alignment });
            }
            let stride = isize::try_from(position.stride).unwrap_or(isize::MAX);
            planes.push((position.offset, stride));
        }
        let (size, Aligned { width, height, .. }) = (self.layout.size(), aligned);
        let whole = VideoLayout::from_planes(format, width, height, &planes, size)?;
        Ok(check_room(&whole, size)?)
    }
}

/// Number of frames that a decoder and the application hold at once, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramesNeeded {
    /// Pictures that later ones are predicted from (`refs`).
    pub references: usize,
    /// Pictures that are shown later than they are decoded (`has_b_frames`).
    pub reordered: usize,
    /// Pictures that are being decoded: 1, or 2 per thread that decodes a picture of its own. A
    /// thread of FFmpeg 5.1 releases a picture when it begins its next one.
    pub in_work: usize,
}

impl FramesNeeded {
    fn new(context: &AVCodecContext) -> Self {
        let threads = if context.active_thread_type & FF_THREAD_FRAME == 0 {
            0
        } else {
            to_count(context.thread_count)
        };
        Self {
            references: to_count(context.refs),
            reordered: to_count(context.has_b_frames),
            in_work: (2 * threads).max(1),
        }
    }

    /// Returns the total number, with one frame that the application looks at.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.references + self.reordered + self.in_work + 1
    }
}

/// Total number, and what it is the sum of.
impl fmt::Display for FramesNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            references,
            reordered,
            in_work,
        } = self;
        write!(
            f,
            "{}: {references} for reference, {reordered} for reordering, {in_work} in work, 1 for \
             the application",
            self.total(),
        )
    }
}

fn to_count(number: c_int) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn to_pixels(number: c_int) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
