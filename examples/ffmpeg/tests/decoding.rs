//! Decoding into frames of a pool.

use ffmpeg_next::Packet;
use ks_allocator::{FramePool, LayoutError, PlanesError, VideoFormat, VideoLayout};
use ks_allocator_ffmpeg::{Error, Picture, PoolDecoder, decoder_layout};

#[path = "../src/stream.rs"]
mod stream;

use stream::{Encoded, Stream, difference, open_decoder};

const MPEG4: Stream = Stream {
    encoder: "mpeg4",
    options: &[],
    width: 94,
    height: 62,
    pictures: 40,
    b_frames: 2,
};

/// Encodes a stream, whose pictures have a size that decoders round up.
fn encode(stream: &Stream) -> Encoded {
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    let layout = VideoLayout::new(VideoFormat::I420, stream.width, stream.height).unwrap();
    let pool = FramePool::builder().frames(64).video(&layout).build();
    let pool = pool.unwrap();
    let encoded = stream.encode(&pool).unwrap();
    // The encoder gave back the frames that it had kept.
    assert!(encoded.kept <= stream.pictures);
    assert_eq!(pool.free_frames(), 64);
    encoded
}

/// Opens a decoder and a pool. With one shard and no caches, the high water of the pool is exact.
/// With guard pages, an access of FFmpeg to a released frame ends the test.
fn open(encoded: &Encoded, threads: usize, frames: usize) -> (FramePool, PoolDecoder) {
    let mut decoder = open_decoder(&encoded.parameters, threads).unwrap();
    let layout = decoder_layout(&mut decoder).unwrap();
    open_with(encoded, threads, frames, &layout)
}

fn open_with(
    encoded: &Encoded,
    threads: usize,
    frames: usize,
    layout: &VideoLayout,
) -> (FramePool, PoolDecoder) {
    let decoder = open_decoder(&encoded.parameters, threads).unwrap();
    let builder = FramePool::builder().frames(frames).video(layout);
    let pool = builder
        .caches(false)
        .shards(1)
        .guard_pages(true)
        .build()
        .unwrap();
    let decoder = PoolDecoder::new(decoder, &pool).unwrap();
    (pool, decoder)
}

/// Decodes the packets and checks the pictures. Always keeps the last one, as an application does
/// that shows it.
fn decode(decoder: &mut PoolDecoder, packets: &[Packet]) -> Result<usize, Error> {
    let (mut pictures, mut last) = (0, None);
    for packet in packets.iter().map(Some).chain([None]) {
        decoder.send(packet)?;
        while let Some(picture) = decoder.receive()? {
            let difference = difference(&picture.planes()?, pictures);
            assert!(difference < 4.0, "picture {pictures}: {difference}");
            last = Some(picture);
            pictures += 1;
        }
    }
    drop(last);
    Ok(pictures)
}

#[test]
fn as_many_frames_as_needed_are_enough() {
    let streams = [
        ("mpeg4", &[][..]),
        ("mpeg2video", &[]),
        ("libx264", &[("refs", "1")]),
        ("libx264", &[("refs", "4"), ("b-pyramid", "normal")]),
        ("libx264", &[("refs", "16"), ("g", "40")]),
    ];
    for (encoder, options) in streams {
        for b_frames in [0, 2] {
            let stream = Stream {
                encoder,
                options,
                b_frames,
                ..MPEG4
            };
            let encoded = encode(&stream);
            for threads in [1, 2, 4] {
                check_needs(&stream, &encoded, threads);
            }
        }
    }
}

fn check_needs(stream: &Stream, encoded: &Encoded, threads: usize) {
    let (pool, mut decoder) = open(encoded, threads, 64);
    assert_eq!(decoder.frames_needed(), None);
    assert_eq!(decode(&mut decoder, &encoded.packets).unwrap(), 40);
    let needed = decoder.frames_needed().unwrap();
    let used = pool.stats().high_water;
    assert!(
        used <= needed.total(),
        "{stream:?}, {threads} threads: {used}, {needed}"
    );
    let Stream {
        encoder, options, ..
    } = stream;
    println!("{encoder} {options:?}, {threads} threads: {used} frames used, needed: {needed}");
    drop(decoder);
    assert_eq!(pool.free_frames(), 64);

    let (pool, mut decoder) = open(encoded, threads, needed.total());
    assert_eq!(decode(&mut decoder, &encoded.packets).unwrap(), 40);
    drop(decoder);
    assert_eq!(pool.free_frames(), needed.total());

    let (pool, mut decoder) = open(encoded, threads, needed.total() - 1);
    let error = decode(&mut decoder, &encoded.packets).unwrap_err();
    let Error::PoolTooSmall { frames, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(frames, needed.total() - 1);
    drop(decoder);
    assert_eq!(pool.free_frames(), frames);
}

#[test]
fn a_decoder_goes_on_when_the_application_has_released_pictures() {
    let encoded = encode(&Stream {
        b_frames: 0,
        ..MPEG4
    });
    let (pool, mut decoder) = open(&encoded, 1, 3);
    let mut kept = Vec::new();
    let mut failed = 0;
    for packet in encoded.packets.iter().map(Some).chain([None]) {
        match decoder.send(packet) {
            Ok(()) => {}
            Err(Error::NoFrame(error)) => {
                let text = error.to_string();
                assert!(text.contains("held by `screen`"), "{text}");
                kept.clear();
                failed += 1;
            }
            Err(error) => panic!("{error}"),
        }
        while let Some(picture) = decoder.receive().unwrap() {
            picture.set_label("screen");
            kept.push(picture);
        }
    }
    assert!((1..40).contains(&failed), "{failed}");
    drop((kept, decoder));
    assert_eq!(pool.free_frames(), 3);
}

#[test]
fn pictures_outlive_their_decoder() {
    let encoded = encode(&MPEG4);
    let (pool, mut decoder) = open(&encoded, 2, 16);
    let mut first = None;
    for packet in encoded.packets.iter().map(Some).chain([None]) {
        decoder.send(packet).unwrap();
        while let Some(picture) = decoder.receive().unwrap() {
            first.get_or_insert(picture);
        }
    }
    drop(decoder);
    assert_eq!(pool.free_frames(), 15);
    drop(pool);
    let first = first.unwrap();
    let planes = std::thread::spawn(move || difference(&first.planes().unwrap(), 0));
    assert!(planes.join().unwrap() < 4.0);
}

#[test]
fn other_layouts_with_room_are_accepted() {
    let encoded = encode(&MPEG4);
    for format in [VideoFormat::I420, VideoFormat::Yv12] {
        let builder = VideoLayout::builder(format, 128, 128)
            .for_drm()
            .plane_alignment(4096);
        let (_, mut decoder) = open_with(&encoded, 1, 8, &builder.build().unwrap());
        let mut pictures = 0;
        for packet in encoded.packets.iter().map(Some).chain([None]) {
            decoder.send(packet).unwrap();
            while let Some(picture) = decoder.receive().unwrap() {
                // The pattern of the chroma planes depends on their order.
                let planes = picture.planes().unwrap();
                let same = difference(&planes, pictures) < 4.0;
                assert_eq!(same, format == VideoFormat::I420);
                assert_eq!(planes[0].rows().len(), 62);
                pictures += 1;
            }
        }
        assert_eq!(pictures, 40);
    }
}

#[test]
fn unsuitable_layouts_are_reported() {
    let encoded = encode(&MPEG4);
    let error = |layout: VideoLayout| {
        let (_, mut decoder) = open_with(&encoded, 1, 8, &layout);
        decode(&mut decoder, &encoded.packets).unwrap_err()
    };
    let builder = |format| VideoLayout::builder(format, 128, 128).for_ffmpeg();
    let i420 = builder(VideoFormat::I420);

    let nv12 = builder(VideoFormat::Nv12).build().unwrap();
    assert!(matches!(error(nv12), Error::PixelFormat));
    let unaligned = i420.stride_alignment(1).stride(140).build().unwrap();
    assert!(matches!(
        error(unaligned),
        Error::Alignment { plane: 0, .. }
    ));
    let small = VideoLayout::builder(VideoFormat::I420, 94, 62).for_ffmpeg();
    let small = error(small.build().unwrap());
    assert!(
        matches!(small, Error::Layout(LayoutError::Overlap { .. })),
        "{small}"
    );
    let bottom_up = i420.build().unwrap().bottom_up();
    assert!(matches!(error(bottom_up), Error::BottomUp));

    let decoder = open_decoder(&encoded.parameters, 1).unwrap();
    let pool = FramePool::builder()
        .frames(8)
        .frame_size(100_000)
        .build()
        .unwrap();
    let error = PoolDecoder::new(decoder, &pool).err();
    assert!(matches!(error, Some(Error::Planes(PlanesError::NoLayout))));
}

#[test]
fn a_picture_has_the_planes_of_its_frame() {
    for &format in VideoFormat::ALL
        .iter()
        .filter(|format| !format.is_compressed())
    {
        let layout = VideoLayout::builder(format, 33, 17)
            .for_ffmpeg()
            .build()
            .unwrap();
        let pool = FramePool::builder()
            .frames(1)
            .video(&layout)
            .build()
            .unwrap();
        let frame = pool.acquire().unwrap().share();
        let picture = Picture::from_frame(frame.clone()).unwrap();
        // In FFmpeg, U has number 1 and V has number 2.
        let swaps = format == VideoFormat::Yv12;
        for (position, plane) in frame.planes().unwrap().iter().enumerate() {
            let number = if swaps { [0, 2, 1][position] } else { position };
            assert_eq!(picture.data(number).as_ptr(), plane.bytes().as_ptr());
            assert_eq!(picture.stride(number), plane.stride());
        }
        drop(frame);
        assert_eq!(pool.free_frames(), 0);
        drop(picture);
        assert_eq!(pool.free_frames(), 1);
    }
}

#[test]
fn frames_without_room_are_refused() {
    let layout = VideoLayout::new(VideoFormat::Nv12, 64, 64).unwrap();
    let pool = FramePool::builder()
        .frames(1)
        .video(&layout)
        .build()
        .unwrap();
    let mut frame = pool.acquire().unwrap();
    frame.set_len(layout.size() - 1).unwrap();
    let error = Picture::from_frame(frame.share()).err().unwrap();
    assert!(
        matches!(error, Error::Planes(PlanesError::TooShort { .. })),
        "{error}"
    );
    assert_eq!(pool.free_frames(), 1);

    let bottom_up = layout.bottom_up();
    let pool = FramePool::builder().frames(1).video(&bottom_up).build();
    let frame = pool.unwrap().acquire().unwrap().share();
    let error = Picture::from_frame(frame).err();
    assert!(matches!(error, Some(Error::BottomUp)));
}
