//! The other process: reads the frames that it is lent, and gives them back.

use std::collections::VecDeque;

use ks_allocator::{FrameToken, OwnedKernelObject, RemoteFrames};

use crate::BoxError;
use crate::line::{Line, borrow};
use crate::owner::Answer;
use crate::pattern::checksum;

/// How many frames the borrower keeps for as long as others come, as a decoder keeps those that it
/// predicts from.
const KEPT: usize = 4;

pub(crate) fn run() -> Result<(), BoxError> {
    let mut line = Line::to_the_starter()?;
    let frames = open(&line.receive_object()?)?;

    let mut kept = VecDeque::with_capacity(KEPT + 1);
    while let Some(token) = line.receive()? {
        kept.push_back(FrameToken::from_bytes(token));
        if kept.len() > KEPT {
            give_back(kept.pop_front(), &frames, &mut line)?;
        }
    }
    while !kept.is_empty() {
        give_back(kept.pop_front(), &frames, &mut line)?;
    }
    Ok(())
}

/// Reads the frame of a token where it lies, and sends the token back.
fn give_back(
    token: Option<FrameToken>,
    frames: &RemoteFrames,
    line: &mut Line,
) -> Result<(), BoxError> {
    if let Some(token) = token {
        let checksum = checksum(frames.get(token)?);
        let sent = line.send(&Answer { token, checksum }.to_bytes());
        sent.map_err(|error| format!("the owner has gone: {error}"))?;
    }
    Ok(())
}

/// Maps the owner's frames. The mapping stays when the object is closed.
fn open(object: &OwnedKernelObject) -> Result<RemoteFrames, BoxError> {
    // SAFETY: the owner writes to its frames and nobody else can; it does not write to one whose token
    // is here.
    #[expect(unsafe_code, reason = "of the owner only we know")]
    let frames = unsafe { RemoteFrames::open(borrow(object)) };
    Ok(frames?)
}
