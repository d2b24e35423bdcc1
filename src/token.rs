//! Token that stands for a lent frame in messages between processes.

/// Token of a lent frame: 32 plain bytes that are sent to the borrower over any channel, and back.
///
/// | bytes | contents, a little-endian number |
/// |---|---|
/// | 0 to 7 | id of the segment |
/// | 8 to 15 | number of the loan |
/// | 16 to 23 | offset of the frame in the segment, in bytes |
/// | 24 to 31 | length of the frame, in bytes |
///
/// The borrower ([`RemoteFrames`](crate::RemoteFrames)) finds the frame by offset and length. The
/// id is that of the kernel object that owns the memory. The borrower compares it with the id of
/// the memory that it has mapped, so a token of an earlier or later commit is an error.
///
/// The lender takes the frame back ([`FramePool::redeem`](crate::FramePool::redeem)) only by the
/// number of the loan. It is random and cannot be guessed. The id is no secret.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FrameToken {
    /// Id of the segment's kernel object.
    pub(crate) segment: u64,
    /// Random number of the loan.
    pub(crate) loan: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl FrameToken {
    /// Returns the length of the frame when it was lent, in bytes.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// assert_eq!(FrameToken::from_bytes([0; 32]).length(), 0);
    /// ```
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the offset of the frame's first byte after its prefix, in bytes from the start of
    /// the segment.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// assert_eq!(FrameToken::from_bytes([0; 32]).offset(), 0);
    /// ```
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Converts the token to bytes: 4 little-endian words on every machine.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// assert_eq!(FrameToken::from_bytes([7; 32]).to_bytes(), [7; 32]);
    /// ```
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let words = [self.segment, self.loan, self.offset, self.length];
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Converts bytes to a token. Any 32 bytes are accepted; the token is checked when it is used.
    ///
    /// ```
    /// # use ks_allocator::FrameToken;
    /// let nonsense = FrameToken::from_bytes([0xFF; 32]);
    /// assert_eq!(nonsense.length(), u64::MAX);
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|chunk| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let mut next = || words.next().unwrap_or(0);
        Self {
            segment: next(),
            loan: next(),
            offset: next(),
            length: next(),
        }
    }
}
