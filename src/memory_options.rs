//! What may be asked of the memory that frames live in, and the report on what was got.

use std::fmt;
use std::io;

use crate::sync::unmodeled;

/// Whether frames are to lie in huge pages: fewer page faults, and fewer entries in the processor's
/// table of pages.
///
/// | | on Linux | on Windows | elsewhere |
/// |---|---|---|---|
/// | `Transparent` | aligned to huge pages, and `MADV_HUGEPAGE` | not to be had | not to be had |
/// | `Explicit` | `MAP_HUGETLB`; in Kernel mode `MFD_HUGETLB` | `MEM_LARGE_PAGES`, in User mode | not to be had |
///
/// Transparent ones are the system's to give, if it is set to and has some in one piece. It does so at the
/// first touch, so of a pool that is not prefaulted only [`CommitReport::huge`] tells, later. Explicit ones
/// have been reserved by an administrator, for instance by `sysctl vm.nr_hugepages=64`; on Windows the
/// process needs `SeLockMemoryPrivilege`, enabled. They are backed by memory at once, prefaulted or not,
/// which on Linux takes version 5.14. With either, the memory is rounded up to whole huge pages.
///
/// ```
/// use ks_allocator::{FramePool, HugePages};
///
/// let builder = FramePool::builder().frames(8).frame_size(1 << 20).huge_pages(HugePages::Transparent);
/// let report = builder.build()?.commit_report();
/// assert_eq!(report.requested.huge_pages, HugePages::Transparent);
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[doc(alias("MADV_HUGEPAGE", "MAP_HUGETLB", "MEM_LARGE_PAGES"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HugePages {
    /// Not asked for. The system may give transparent ones all the same.
    #[default]
    Off,
    /// Those that the system makes of ordinary memory.
    Transparent,
    /// Those that are set apart.
    Explicit,
}

/// What is asked of the memory, by the builder's options.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(4).frame_size(64).lock_in_memory(true).build()?;
/// let requested = pool.commit_report().requested;
/// assert!(asked.prefault && asked.locked && !asked.required);
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// See [`prefault`](crate::FramePoolBuilder::prefault).
    pub prefault: bool,
    /// See [`huge_pages`](crate::FramePoolBuilder::huge_pages).
    pub huge_pages: HugePages,
    /// See [`lock_in_memory`](crate::FramePoolBuilder::lock_in_memory).
    pub locked: bool,
    /// See [`numa_node`](crate::FramePoolBuilder::numa_node).
    pub numa_node: Option<u32>,
    /// See [`require_memory_options`](crate::FramePoolBuilder::require_memory_options).
    pub required: bool,
}

impl MemoryOptions {
    /// Memory that is touched once, and nothing else.
    pub(crate) const PREFAULTED: Self = Self {
        prefault: true,
        huge_pages: HugePages::Off,
        locked: false,
        numa_node: None,
        required: false,
    };

    /// Everything that can fall short.
    pub(crate) fn wishes(&self) -> impl Iterator<Item = MemoryRequest> + use<> {
        let huge_pages = match self.huge_pages {
            HugePages::Off => None,
            HugePages::Transparent => Some(MemoryRequest::TransparentHugePages),
            HugePages::Explicit => Some(MemoryRequest::ExplicitHugePages),
        };
        let locked = self.locked.then_some(MemoryRequest::Locked);
        let node = self.numa_node.map(MemoryRequest::NumaNode);
        [huge_pages, locked, node].into_iter().flatten()
    }
}

/// `prefaulted, NUMA node 0, required`
impl fmt::Display for MemoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefault = if self.prefault {
            "prefaulted"
        } else {
            "not prefaulted"
        };
        f.write_str(prefault)?;
        for request in self.wishes() {
            write!(f, ", {request}")?;
        }
        if self.required {
            f.write_str(", required")?;
        }
        Ok(())
    }
}

/// One thing that was asked of the memory.
///
/// ```
/// assert_eq!(ks_allocator::MemoryRequest::NumaNode(1).to_string(), "NUMA node 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryRequest {
    /// [`HugePages::Transparent`].
    TransparentHugePages,
    /// [`HugePages::Explicit`].
    ExplicitHugePages,
    /// [`lock_in_memory`](crate::FramePoolBuilder::lock_in_memory).
    Locked,
    /// [`numa_node`](crate::FramePoolBuilder::numa_node), this one.
    NumaNode(u32),
}

impl fmt::Display for MemoryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TransparentHugePages => f.write_str("transparent huge pages"),
            Self::ExplicitHugePages => f.write_str("explicit huge pages"),
            Self::Locked => f.write_str("locked in memory"),
            Self::NumaNode(node) => write!(f, "NUMA node {node}"),
        }
    }
}

/// Something that was asked of the memory, and not got, or not all of it.
///
/// ```
/// use ks_allocator::{FramePool, MemoryRequest};
///
/// let builder = FramePool::builder().frames(4).frame_size(64).numa_node(999_999);
/// let report = builder.build()?.commit_report(); // there is none such, and so it lies anywhere
/// assert_eq!(report.unmet[0].request, MemoryRequest::NumaNode(999_999));
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnmetRequest {
    /// What was asked for.
    pub request: MemoryRequest,
    /// The call that failed, or did not do it.
    pub call: &'static str,
    source: unmodeled::Arc<io::Error>,
}

impl UnmetRequest {
    pub(crate) fn new(request: MemoryRequest, call: &'static str, source: io::Error) -> Self {
        let source = unmodeled::Arc::new(source);
        Self {
            request,
            call,
            source,
        }
    }

    /// What the system said, or what there is to say of it.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let builder = FramePool::builder().frames(4).frame_size(64).numa_node(999_999);
    /// for shortfall in builder.build()?.commit_report().unmet {
    ///     assert!(!shortfall.source().to_string().is_empty());
    /// }
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[must_use]
    pub fn source(&self) -> &io::Error {
        &self.source
    }
}

/// `explicit huge pages: mmap(MAP_HUGETLB): Cannot allocate memory (os error 12)`
impl fmt::Display for UnmetRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.request, self.call, self.source)
    }
}

/// What was asked of a pool's memory, and what it is: see
/// [`FramePool::commit_report`](crate::FramePool::commit_report).
///
/// Sizes are in bytes. What cannot be measured on this system, or by this process, is `None`.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(4).frame_size(5000).build()?;
/// let report = pool.commit_report();
/// assert_eq!(report.bytes, pool.segment().bytes);
/// assert!(report.unmet.is_empty());
/// # if cfg!(target_os = "linux") {
/// assert_eq!(report.resident, Some(report.bytes));
/// # }
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommitReport {
    /// What was asked for.
    pub requested: MemoryOptions,
    /// What was not got when the memory was allocated.
    pub unmet: Vec<UnmetRequest>,
    /// The size of the segment: see [`SegmentInfo::bytes`](crate::SegmentInfo::bytes).
    pub bytes: usize,
    /// The page that the memory is made of. Transparent huge pages are not one: they are made of many.
    pub page_size: usize,
    /// How much of the segment the system has in memory now. (Of Kernel mode's object, on Linux: whether
    /// or not the pages are mapped already.)
    pub resident: Option<usize>,
    /// How much of it is in huge pages, of either kind. Linux counts by mapping: of private memory that
    /// it sees as one with a neighbour's, so do we, up to the size of the segment.
    pub huge: Option<usize>,
    /// How much of it is locked in memory, as explicit huge pages always are.
    pub locked: Option<usize>,
    /// The NUMA nodes that its pages lie on, in ascending order; empty if that is not known.
    pub numa_nodes: Vec<u32>,
}

/// A few lines for people to read.
impl fmt::Display for CommitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "asked for: {}", self.requested)?;
        for shortfall in &self.unmet {
            writeln!(f, "not got: {shortfall}")?;
        }
        let Self {
            bytes, page_size, ..
        } = self;
        writeln!(f, "segment: {bytes} bytes in pages of {page_size}")?;
        let [resident, huge, locked] = [self.resident, self.huge, self.locked].map(Measured);
        write!(f, "resident: {resident}; in huge pages: {huge}; ")?;
        write!(f, "locked: {locked}; NUMA nodes:")?;
        if self.numa_nodes.is_empty() {
            f.write_str(" unknown")?;
        }
        for (number, node) in self.numa_nodes.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma} {node}")?;
        }
        Ok(())
    }
}

struct Measured(Option<usize>);

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
