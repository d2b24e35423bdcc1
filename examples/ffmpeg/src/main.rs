//! Example: encodes 60 pictures from frames of one pool, and decodes them into frames of another.
//!
//! It checks that no picture is copied, that the decoded pictures are similar to the drawn ones,
//! that a pool that is too small is reported, and that all frames are free at the end. The last
//! line of its output says what it did.

use std::process::ExitCode;

use ffmpeg_next::Packet;
use ks_allocator::{FramePool, Padding, VideoFormat, VideoLayout};
use ks_allocator_ffmpeg::{Error, Picture, PoolDecoder, decoder_layout};

mod stream;

use stream::{Encoded, Failure, Stream, difference, open_decoder};

const STREAM: Stream = Stream {
    encoder: "mpeg4",
    options: &[],
    width: 320,
    height: 240,
    pictures: 60,
    b_frames: 2,
};
const FRAMES: usize = 8;
const THREADS: usize = 2;
/// Maximum of the mean absolute difference between a decoded and a drawn picture.
const MAX_DIFFERENCE: f64 = 2.0;

fn main() -> ExitCode {
    match run() {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ffmpeg: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Failure> {
    ffmpeg_next::init()?;
    // FFmpeg would add its own messages about the errors that this example provokes.
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    let encoded = encode()?;
    let decoded = decode(&encoded)?;
    report_small_pool(&encoded)?;
    report_kept_pictures(&encoded)?;
    Ok(format!(
        "ffmpeg: encoded={} decoded={} copied={} free={} of {FRAMES}",
        encoded.packets.len(),
        decoded.pictures,
        decoded.copied,
        decoded.free,
    ))
}

/// Encodes the pattern.
fn encode() -> Result<Encoded, Failure> {
    // The encoders for MPEG refer to a frame if its strides are those of their own pictures, which
    // have 16 pixels of padding at each side. They copy the first frame, before they have strides.
    let padding = Padding {
        right: 2 * 16,
        ..Padding::default()
    };
    let layout = VideoLayout::builder(VideoFormat::I420, STREAM.width, STREAM.height)
        .for_ffmpeg()
        .derive_strides(true)
        .padding(padding)
        .build()?;
    let pool = FramePool::builder().frames(FRAMES).video(&layout).build()?;
    let encoded = STREAM.encode(&pool)?;
    println!(
        "encoded {} pictures; the encoder referred to {} of the frames and copied the others",
        encoded.packets.len(),
        encoded.kept,
    );
    check(pool.free_frames() == FRAMES, "the encoder has frames left")?;
    Ok(encoded)
}

/// Result of decoding.
struct Decoded {
    pictures: usize,
    /// Number of pictures that are not in frames of the pool.
    copied: usize,
    free: usize,
}

/// Decodes all packets, and compares the pictures with the drawn ones.
fn decode(encoded: &Encoded) -> Result<Decoded, Failure> {
    let (pool, mut decoder) = open(encoded, FRAMES)?;
    let (mut pictures, mut copied, mut worst) = (0, 0, 0.0_f64);
    for_each_picture(&mut decoder, &encoded.packets, |picture| {
        worst = worst.max(difference(&picture.planes()?, pictures));
        copied += usize::from(!is_in(&pool, &picture));
        pictures += 1;
        Ok(())
    })?;
    let needed = decoder.frames_needed().ok_or("nothing was decoded")?;
    drop(decoder);
    println!("decoded {pictures} pictures; the decoder needs {needed}");
    println!("mean absolute difference of the worst picture: {worst:.2}");
    check(pictures == STREAM.pictures, "pictures are missing")?;
    check(copied == 0, "pictures are not in frames of the pool")?;
    check(worst < MAX_DIFFERENCE, "a picture is not the drawn one")?;
    let free = pool.free_frames();
    check(free == FRAMES, "frames are not free at the end")?;
    Ok(Decoded {
        pictures,
        copied,
        free,
    })
}

/// Shows the error of a pool that has fewer frames than the decoder needs.
fn report_small_pool(encoded: &Encoded) -> Result<(), Failure> {
    let (pool, mut decoder) = open(encoded, 3)?;
    let error = for_each_picture(&mut decoder, &encoded.packets, |_| Ok(()));
    let error = error.err().ok_or("the pool is large enough")?;
    println!("pool of 3 frames: {error}");
    let reported = error.downcast_ref::<Error>();
    check(
        matches!(reported, Some(Error::PoolTooSmall { frames: 3, .. })),
        "the size of the pool is not reported",
    )?;
    drop(decoder);
    check(pool.free_frames() == 3, "frames are not free at the end")
}

/// Shows the error of an application that keeps pictures until the pool has no free frame.
fn report_kept_pictures(encoded: &Encoded) -> Result<(), Failure> {
    let (pool, mut decoder) = open(encoded, FRAMES)?;
    let mut kept = Vec::new();
    let error = for_each_picture(&mut decoder, &encoded.packets, |picture| {
        picture.set_label("application");
        kept.push(picture);
        Ok(())
    });
    let error = error.err().ok_or("the pool is large enough")?;
    println!("pictures kept by the application: {error}");
    let reported = matches!(error.downcast_ref::<Error>(), Some(Error::NoFrame(_)));
    let names_holder = error.to_string().contains("held by `application`");
    check(reported && names_holder, "the holders are not reported")?;
    drop((kept, decoder));
    check(
        pool.free_frames() == FRAMES,
        "frames are not free at the end",
    )
}

/// Opens a decoder, and a pool that suits it.
fn open(encoded: &Encoded, frames: usize) -> Result<(FramePool, PoolDecoder), Failure> {
    let mut decoder = open_decoder(&encoded.parameters, THREADS)?;
    let layout = decoder_layout(&mut decoder)?;
    let pool = FramePool::builder().frames(frames).video(&layout).build()?;
    let decoder = PoolDecoder::new(decoder, &pool)?;
    Ok((pool, decoder))
}

/// Calls `take` with each picture of the packets.
fn for_each_picture(
    decoder: &mut PoolDecoder,
    packets: &[Packet],
    mut take: impl FnMut(Picture) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for packet in packets.iter().map(Some).chain([None]) {
        decoder.send(packet)?;
        while let Some(picture) = decoder.receive()? {
            take(picture)?;
        }
    }
    Ok(())
}

/// Returns whether all planes of a picture are in the memory of the pool, by FFmpeg's addresses.
fn is_in(pool: &FramePool, picture: &Picture) -> bool {
    let segment = pool.segment();
    let start = segment.base.addr().get();
    let memory = start..=start + segment.bytes;
    (0..3).all(|plane| {
        let bytes = picture.data(plane).as_ptr_range();
        memory.contains(&bytes.start.addr()) && memory.contains(&bytes.end.addr())
    })
}

fn check(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
