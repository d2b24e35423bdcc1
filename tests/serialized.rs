//! Values that are written with serde and read again.
#![cfg(all(feature = "serde", not(any(loom, miri))))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;

use ks_allocator::{
    AllocatorMode, AllocatorState, Contents, FrameFlags, FramePool, FrameToken, Framing, HugePages,
    Label, MemoryOptions, Metadata, Padding, Recording, TimeBase, VideoFormat, VideoLayout,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Returns the text of a value that is equal after it was written and read.
fn text<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *value, "{text}");
    text
}

#[test]
fn options_and_values_are_the_same_when_they_are_read() {
    assert!(text(&Framing::new(8, 100).alignment(16).prefix(4)).contains(r#""frame_size":100"#));
    assert_eq!(text(&AllocatorMode::Kernel), r#""Kernel""#);
    assert_eq!(text(&AllocatorState::Decommitting), r#""Decommitting""#);
    assert_eq!(text(&Contents::ZeroOnRelease), r#""ZeroOnRelease""#);
    assert_eq!(text(&HugePages::Transparent), r#""Transparent""#);
    let pool = FramePool::builder()
        .frames(1)
        .frame_size(64)
        .build()
        .unwrap();
    let requested: MemoryOptions = pool.commit_report().requested;
    text(&requested);
    assert_eq!(text(&Label::new("encoder")), r#""encoder""#);
    text(&FrameToken::from_bytes([7; 32]));
    text(&Padding {
        left: 2,
        right: 4,
        top: 6,
        bottom: 8,
    });
    for format in VideoFormat::ALL {
        assert_eq!(text(format), format!("\"{format}\""));
    }
    text(
        &VideoLayout::builder(VideoFormat::I420, 33, 17)
            .for_gstreamer()
            .build()
            .unwrap(),
    );
}

#[test]
fn metadata_is_the_same_when_it_is_read() {
    let mut metadata = Metadata::default();
    text(&metadata);
    metadata.presentation_time = Some(i64::MIN);
    metadata.decode_time = Some(i64::MAX);
    metadata.time_base = TimeBase::new(1_001, 30_000).unwrap();
    metadata.flags = FrameFlags::SYNC_POINT | FrameFlags::END_OF_STREAM;
    metadata.user2 = u64::MAX;
    let text = text(&metadata);
    assert!(text.contains("SYNC_POINT | END_OF_STREAM"), "{text}");
    let zero = text.replace("30000", "0");
    serde_json::from_str::<Metadata>(&zero).unwrap_err();
}

#[test]
fn a_recording_is_the_same_when_it_is_read() {
    let builder = FramePool::builder().frames(2).frame_size(64).name("camera");
    let pool = builder.record(100).build().unwrap();
    drop(pool.with_label("encoder").acquire().unwrap().share());
    let recording = pool.recording().unwrap();
    let text = serde_json::to_string(&recording).unwrap();
    let read: Recording = serde_json::from_str(&text).unwrap();
    assert_eq!(read.events, recording.events);
    assert_eq!(serde_json::to_string(&read).unwrap(), text);

    let sizing = serde_json::to_value(read.sizing()).unwrap();
    assert_eq!(sizing["pool"], "camera");
    assert_eq!(sizing["depths"][3]["frames"], 4);
    assert_eq!(sizing["sources"][0]["pacing"], "Clock");
}
