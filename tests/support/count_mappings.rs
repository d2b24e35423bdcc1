//! Leak check for memory mappings on Linux.

use std::fs;

/// Returns the number of mappings of this process whose line in `/proc/self/maps` satisfies
/// `condition`.
pub(crate) fn count_mappings(condition: impl Fn(&str) -> bool) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().filter(|line| condition(line)).count()
}
