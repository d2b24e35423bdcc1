//! What is sent to another process in the place of a frame.

/// A frame that was lent, in 32 plain bytes: to be sent to the borrower over any channel, and back.
///
/// The token tells where in the segment the frame lies, which is all that the borrower needs to find
/// it ([`RemoteFrames`](crate::RemoteFrames)), and by what number it was lent, without which nobody
/// gets it back ([`FramePool::redeem`](crate::FramePool::redeem)). The number cannot be guessed.
///
/// ```
/// # use ks_allocator::{AllocatorMode, FramePool, FrameToken};
/// # if cfg!(any(target_os = "linux", windows)) {
/// let pool = FramePool::builder().frames(4).frame_size(64).mode(AllocatorMode::Kernel).build()?;
/// let token = pool.acquire()?.lend().expect("in Kernel mode");
/// let sent = token.to_bytes();
/// let received = FrameToken::from_bytes(sent);
/// assert_eq!(received, token);
/// assert_eq!(pool.redeem(received)?.len(), 64);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameToken {
    pub(crate) slot: u64,
    pub(crate) generation: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl FrameToken {
    /// Bytes in use when the frame was lent.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// assert_eq!(FrameToken::from_bytes([0; 32]).length(), 0);
    /// ```
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes from the start of the segment to the frame, after its prefix.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// assert_eq!(FrameToken::from_bytes([0; 32]).offset(), 0);
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The token as bytes, the same on all machines.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// assert_eq!(FrameToken::from_bytes([7; 32]).to_bytes(), [7; 32]);
    /// ```
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let words = [self.slot, self.generation, self.offset, self.length];
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The token that these bytes are. Any bytes are one; it is judged when it is used.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// let nonsense = FrameToken::from_bytes([0xFF; 32]);
    /// assert_eq!(nonsense.length(), u64::MAX);
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|word| {
            let mut place = [0; 8];
            place.copy_from_slice(word);
            u64::from_le_bytes(place)
        });
        let mut next = || words.next().unwrap_or(0);
        Self {
            slot: next(),
            generation: next(),
            offset: next(),
            length: next(),
        }
    }
}
