//! Ranges of addresses.

use std::ops::Range;
use std::ptr::NonNull;

/// Returns the addresses of `bytes` bytes from `base` on.
pub(crate) fn addresses(base: NonNull<u8>, bytes: usize) -> Range<usize> {
    let start = base.addr().get();
    start..start.saturating_add(bytes)
}

/// Returns the number of addresses that both ranges contain.
pub(crate) fn overlap(one: &Range<usize>, other: &Range<usize>) -> usize {
    let start = one.start.max(other.start);
    one.end.min(other.end).saturating_sub(start)
}

/// Returns the start of every page that contains an address of the range.
pub(crate) fn page_starts(
    range: &Range<usize>,
    page: usize,
) -> impl Iterator<Item = usize> + use<> {
    (range.start / page * page..range.end).step_by(page)
}
