//! The borrowing process: reads the frames that it is lent, and returns them.

use std::collections::VecDeque;

use ks_allocator::{FrameToken, OwnedKernelObject, RemoteFrames};

use crate::BoxError;
use crate::channel::{Channel, borrow};
use crate::owner::Answer;
use crate::pattern::checksum;

/// Number of frames that the borrower keeps while others arrive, as a decoder keeps its reference
/// frames.
const KEPT: usize = 4;

pub(crate) fn run() -> Result<(), BoxError> {
    let mut channel = Channel::to_parent()?;
    let frames = open(&channel.receive_object()?)?;

    let mut kept = VecDeque::with_capacity(KEPT + 1);
    while let Some(token) = channel.receive()? {
        kept.push_back(FrameToken::from_bytes(token));
        if kept.len() > KEPT {
            let oldest = kept.pop_front().expect("more than 4");
            give_back(oldest, &frames, &mut channel)?;
        }
    }
    for token in kept {
        give_back(token, &frames, &mut channel)?;
    }
    Ok(())
}

/// Reads the frame of a token in place, and sends the token back.
fn give_back(
    token: FrameToken,
    frames: &RemoteFrames,
    channel: &mut Channel,
) -> Result<(), BoxError> {
    let checksum = checksum(frames.get(token)?);
    let sent = channel.send(&Answer { token, checksum }.to_bytes());
    sent.map_err(|error| format!("the owner is gone: {error}").into())
}

/// Maps the owner's frames. The mapping outlives the object.
fn open(object: &OwnedKernelObject) -> Result<RemoteFrames, BoxError> {
    // SAFETY: only the owner can write to its frames. It does not write to a frame while this
    // process has its token.
    #[expect(unsafe_code, reason = "the owner's behavior is known here only")]
    let frames = unsafe { RemoteFrames::open(borrow(object)) };
    Ok(frames?)
}
