//! Moving pattern, and the stream that an encoder makes of it.

use ffmpeg_next::error::EAGAIN;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Dictionary, Packet, Rational, codec, decoder, encoder, threading};
use ks_allocator::{Frame, FramePool, Planes, PlanesError};
use ks_allocator_ffmpeg::Picture;

/// Any error of the example.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Stream to be made.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// FFmpeg's name of the encoder.
    pub(crate) encoder: &'static str,
    /// Options of the encoder.
    pub(crate) options: &'static [(&'static str, &'static str)],
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// Number of pictures.
    pub(crate) pictures: usize,
    /// Maximum number of pictures between two that are not predicted from later ones.
    pub(crate) b_frames: usize,
}

/// Result of encoding.
pub(crate) struct Encoded {
    pub(crate) packets: Vec<Packet>,
    /// Codec, size and pixel format, for a decoder.
    pub(crate) parameters: codec::Parameters,
    /// Number of frames that the encoder still referred to after the call, instead of a copy.
    pub(crate) kept: usize,
}

impl Stream {
    /// Encodes the pattern from frames of the pool. The encoder gets each frame without a copy.
    pub(crate) fn encode(&self, pool: &FramePool) -> Result<Encoded, Failure> {
        let mut encoder = self.open()?;
        let (mut packets, mut kept) = (Vec::new(), 0);
        for number in 0..self.pictures {
            let mut frame = pool.with_label("encoder").try_acquire()?;
            draw(&mut frame, number)?;
            let slot = frame.slot();
            let mut picture = Picture::from_frame(frame.share())?;
            picture.set_pts(i64::try_from(number)?);
            encoder.send_frame(&picture)?;
            drop(picture);
            kept += usize::from(is_out(pool, slot));
            receive(&mut encoder, &mut packets)?;
        }
        encoder.send_eof()?;
        receive(&mut encoder, &mut packets)?;
        let parameters = codec::Parameters::from(&encoder);
        Ok(Encoded {
            packets,
            parameters,
            kept,
        })
    }

    fn open(&self) -> Result<encoder::Video, Failure> {
        let codec = encoder::find_by_name(self.encoder).ok_or("FFmpeg lacks the encoder")?;
        let mut encoder = codec::Context::new_with_codec(codec).encoder().video()?;
        encoder.set_width(self.width);
        encoder.set_height(self.height);
        encoder.set_format(Pixel::YUV420P);
        encoder.set_time_base(Rational(1, 25));
        encoder.set_bit_rate(4_000_000);
        encoder.set_gop(12);
        encoder.set_max_b_frames(self.b_frames);
        let options: Dictionary<'_> = self.options.iter().copied().collect();
        Ok(encoder.open_as_with(codec, options)?)
    }
}

/// Opens a decoder with this number of threads, each of which decodes a picture.
pub(crate) fn open_decoder(
    parameters: &codec::Parameters,
    threads: usize,
) -> Result<decoder::Video, Failure> {
    let mut context = codec::Context::from_parameters(parameters.clone())?;
    let mut config = threading::Config::kind(threading::Type::Frame);
    config.count = threads;
    context.set_threading(config);
    Ok(context.decoder().video()?)
}

/// Receives the packets that the encoder has finished.
fn receive(encoder: &mut encoder::Video, packets: &mut Vec<Packet>) -> Result<(), Failure> {
    loop {
        let mut packet = Packet::empty();
        match encoder.receive_packet(&mut packet) {
            Ok(()) => packets.push(packet),
            Err(ffmpeg_next::Error::Eof | ffmpeg_next::Error::Other { errno: EAGAIN }) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_out(pool: &FramePool, slot: usize) -> bool {
    let holders = pool.holders();
    holders.entries.iter().any(|holder| holder.slot == slot)
}

/// Returns a sample of the pattern: waves that move by 3 samples per picture.
fn sample(plane: usize, x: usize, y: usize, number: usize) -> u8 {
    let phase = (x + 2 * y + 3 * number + 40 * plane) % 128;
    let height = u8::try_from(phase.min(128 - phase)).unwrap_or(0);
    64 + height
}

/// Draws a picture of the pattern.
pub(crate) fn draw(frame: &mut Frame, number: usize) -> Result<(), PlanesError> {
    for (plane, mut bytes) in frame.planes_mut()?.into_iter().enumerate() {
        for (y, row) in bytes.rows_mut().enumerate() {
            for (x, byte) in row.iter_mut().enumerate() {
                *byte = sample(plane, x, y, number);
            }
        }
    }
    Ok(())
}

/// Returns the mean absolute difference between a picture and the pattern.
pub(crate) fn difference(planes: &Planes<'_>, number: usize) -> f64 {
    let (mut total, mut samples) = (0_u32, 0_u32);
    for (plane, bytes) in planes.iter().enumerate() {
        for (y, row) in bytes.rows().enumerate() {
            for (x, &byte) in row.iter().enumerate() {
                total += u32::from(byte.abs_diff(sample(plane, x, y, number)));
                samples += 1;
            }
        }
    }
    f64::from(total) / f64::from(samples.max(1))
}
