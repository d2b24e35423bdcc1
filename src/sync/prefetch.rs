//! Prefetching of cache lines.

/// Asks the processor to fetch the cache line of `value`, which the caller is going to change soon.
/// Does nothing on processors other than x86-64.
#[inline(always)]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};

        let address = std::ptr::from_ref(value).cast();
        #[expect(
            unsafe_code,
            reason = "an instruction that std has no safe function for"
        )]
        // SAFETY: a prefetch has no effect that a program can observe, whatever the address is.
        unsafe {
            _mm_prefetch::<_MM_HINT_ET0>(address);
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = value;
}
