//! Bytes and texts from elsewhere: structures of kernel streaming, tokens and saved recordings.
//!
//! Each value that a parser accepts is written and read again, and must be equal. No input may
//! cause a panic.

#![no_main]

use std::fmt::Debug;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use ks_allocator::kernel_streaming::{AllocatorFraming, AllocatorFramingEx};
use ks_allocator::{
    AllocatorMode, FramePool, FrameToken, Framing, Metadata, Recording, VideoLayout, negotiate,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn check_framing(bytes: &[u8]) {
    if let Ok(framing) = AllocatorFraming::from_bytes(bytes) {
        assert_eq!(framing.to_bytes(), bytes);
        if let Ok(requirements) = framing.requirements("pin")
            && let Ok(agreement) = negotiate(&[requirements])
            && let Some(again) = AllocatorFraming::of_agreement(&agreement)
        {
            let bytes = again.to_bytes();
            assert_eq!(AllocatorFraming::from_bytes(&bytes).unwrap(), again);
        }
    }
}

fn check_framing_ex(bytes: &[u8]) {
    if let Ok(framing) = AllocatorFramingEx::from_bytes(bytes) {
        let again = AllocatorFramingEx::from_bytes(&framing.to_bytes()).unwrap();
        assert_eq!(again, framing);
        if let Ok(alternatives) = framing.alternatives("pin") {
            assert!((1..=framing.items.len()).contains(&alternatives.len()));
            for requirements in alternatives {
                match negotiate(&[requirements]) {
                    Ok(agreement) => {
                        assert!(agreement.framing().actual().is_ok());
                    }
                    Err(conflict) => assert!(!conflict.to_string().is_empty()),
                }
            }
        }
    }
}

/// A framing with a right number of items, so that all fields are reached.
fn check_items(bytes: &[u8]) {
    let items = (bytes.len().saturating_sub(24) / 88).max(1);
    let mut bytes = bytes.to_vec();
    bytes.resize(24 + 88 * items, 0);
    bytes[..4].copy_from_slice(&(items as u32).to_le_bytes());
    check_framing_ex(&bytes);
}

/// A pool with frames that are lent, and their tokens.
static LENDER: LazyLock<Option<(FramePool, Vec<FrameToken>)>> = LazyLock::new(|| {
    let builder = FramePool::builder().frames(3).frame_size(100);
    let pool = builder.mode(AllocatorMode::Kernel).build().ok()?;
    let lend = |_| pool.try_acquire().ok()?.lend().ok();
    let tokens = (0..2).map(lend).collect::<Option<Vec<_>>>()?;
    Some((pool, tokens))
});

fn check_token(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut bytes: [u8; 32] = input.arbitrary()?;
    let token = FrameToken::from_bytes(bytes);
    assert_eq!(token.to_bytes(), bytes);
    let Some((pool, tokens)) = &*LENDER else {
        return Ok(());
    };
    // A token that is right but for the bytes that the mask names.
    let right = input.choose(tokens)?.to_bytes();
    let mask: u32 = input.arbitrary()?;
    for (number, byte) in bytes.iter_mut().enumerate() {
        if mask >> number & 1 == 0 {
            *byte = right[number];
        }
    }
    let forged = FrameToken::from_bytes(bytes);
    // The length is for the borrower alone.
    let names_no_loan = |token: &FrameToken| token.to_bytes()[..24] != bytes[..24];
    if tokens.iter().all(names_no_loan) {
        assert!(pool.redeem(forged).is_err());
        assert!(pool.revoke(forged).is_err());
    }
    let text = serde_json::to_string(&forged).unwrap();
    assert_eq!(serde_json::from_str::<FrameToken>(&text).unwrap(), forged);
    assert_eq!(pool.free_frames(), 1);
    Ok(())
}

/// Checks that a value is written as it is read.
fn check_text<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let text = serde_json::to_string(&value).unwrap();
        let again: T = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{again:?}"), format!("{value:?}"));
    }
}

/// Makes a recording whose events may contradict each other.
fn read_recording(input: &mut Unstructured<'_>) -> arbitrary::Result<Value> {
    const KINDS: [&str; 15] = [
        "Acquired",
        "Released",
        "Shared",
        "Lent",
        "Redeemed",
        "Transferred",
        "WaitBegan",
        "WaitServed",
        "WaitGivenUp",
        "WaitFailed",
        "Committed",
        "Decommitted",
        "FlushBegan",
        "FlushEnded",
        "Closed",
    ];
    let mut at = 0_u64;
    let mut events = Vec::new();
    for _ in 0..input.int_in_range(0..=16)? {
        let step: u32 = input.arbitrary()?;
        // Most events are in order.
        at = match step {
            0xFFFF_FF00.. => u64::from(step),
            _ => at + u64::from(step % 50_000_000),
        };
        let number: u8 = input.arbitrary()?;
        let slot = (number & 1 > 0).then_some(number >> 5);
        let wait = (number & 2 > 0).then_some(number >> 4 & 3);
        let label =
            (number & 4 > 0).then_some(["encoder", "display"][usize::from(number >> 3 & 1)]);
        events.push(json!({
            "at": { "secs": at / 1_000_000_000, "nanos": at % 1_000_000_000 },
            "kind": input.choose(&KINDS)?,
            "slot": slot,
            "wait": wait,
            "thread": input.arbitrary::<u8>()? % 4,
            "label": label,
        }));
    }
    Ok(json!({
        "pool": "camera",
        "frames": input.int_in_range(0..=9)?,
        "events": events,
        "lost": input.int_in_range(0..=2)?,
        "read_at": { "secs": at / 1_000_000_000 + 1, "nanos": 0 },
    }))
}

fn check_recording(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let value = read_recording(input)?;
    let recording: Recording = serde_json::from_value(value).expect("all fields are right");
    check_text::<Recording>(serde_json::to_string(&recording).unwrap().as_bytes());
    assert!(!recording.sizing().to_string().is_empty());
    recording.write_trace(&mut Vec::new()).unwrap();
    recording.write_svg(&mut Vec::new()).unwrap();
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let mut input = Unstructured::new(bytes);
    match kind % 7 {
        0 => check_framing(bytes),
        1 => check_framing_ex(bytes),
        2 => check_items(bytes),
        3 => {
            let _ = check_token(&mut input);
        }
        4 => {
            let _ = check_recording(&mut input);
        }
        5 => check_text::<Recording>(bytes),
        _ => {
            check_text::<Framing>(bytes);
            check_text::<FrameToken>(bytes);
            check_text::<Metadata>(bytes);
            check_text::<VideoLayout>(bytes);
        }
    }
});
