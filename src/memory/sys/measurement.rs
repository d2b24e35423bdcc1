//! The result of a measurement of memory.

/// Measured properties of memory: see [`CommitReport`](crate::CommitReport).
#[derive(Debug)]
pub(crate) struct Measurement {
    pub(crate) page_size: usize,
    pub(crate) resident: Option<usize>,
    pub(crate) huge: Option<usize>,
    pub(crate) locked: Option<usize>,
    pub(crate) numa_nodes: Vec<u32>,
}

impl Measurement {
    /// Returns the measurement of memory that was unmapped.
    pub(crate) fn unmapped(page_size: usize) -> Self {
        Self {
            page_size,
            resident: Some(0),
            huge: Some(0),
            locked: Some(0),
            numa_nodes: Vec::new(),
        }
    }
}
