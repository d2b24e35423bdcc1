//! Pseudo-random numbers. Equal seeds give equal sequences, so a failure can be repeated.

/// The xorshift64* generator. The seed must not be 0.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number in `0..limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from(number).expect("32 bits fit") % limit
    }
}
