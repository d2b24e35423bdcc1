//! Options for the memory of a pool, and the report on how a commit met them.

use std::fmt;
use std::io;

use crate::sync::unmodeled;

/// The kind of huge pages requested for a pool's memory.
///
/// Huge pages cause fewer page faults and fewer misses in the processor's cache of page table
/// entries.
///
/// | | Linux | Windows | elsewhere |
/// |---|---|---|---|
/// | `Transparent` | alignment, `MADV_HUGEPAGE` | no | no |
/// | `Explicit`, User mode | `MAP_HUGETLB` | `MEM_LARGE_PAGES` | no |
/// | `Explicit`, Kernel mode | `MFD_HUGETLB` | no | no |
///
/// The system provides transparent huge pages when memory is first touched, if its settings allow
/// them and enough contiguous memory is free. If a pool is not prefaulted, a commit therefore
/// cannot tell whether it will get them; read [`CommitReport::huge`] after the frames were used.
///
/// Explicit huge pages must be reserved by an administrator, for example with
/// `sysctl vm.nr_hugepages=64`. On Windows the process needs the privilege `SeLockMemoryPrivilege`,
/// enabled. They are backed by memory at commit, whether the pool is prefaulted or not; on Linux
/// this requires kernel 5.14.
///
/// With either kind, the memory is rounded up to whole huge pages. Where a kind is not available,
/// the request is unmet.
///
/// ```
/// use ks_allocator::{FramePool, HugePages};
///
/// let builder = FramePool::builder().frames(8).frame_size(1 << 20);
/// let builder = builder.huge_pages(HugePages::Transparent);
/// let report = builder.build()?.commit_report();
/// assert_eq!(report.requested.huge_pages, HugePages::Transparent);
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[doc(alias("MADV_HUGEPAGE", "MAP_HUGETLB", "MEM_LARGE_PAGES"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum HugePages {
    /// No huge pages are requested. The system may still provide transparent ones.
    #[default]
    Off,
    /// Huge pages that the system forms from ordinary memory.
    Transparent,
    /// Huge pages from a reserved set.
    Explicit,
}

/// The options of the builder that concern the memory of a pool.
///
/// ```
/// use ks_allocator::FramePool;
///
/// let pool = FramePool::builder().frames(4).frame_size(64).lock_in_memory(true).build()?;
/// let requested = pool.commit_report().requested;
/// assert!(requested.prefault && requested.locked && !requested.required);
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// See [`exclude_from_core_dumps`](crate::FramePoolBuilder::exclude_from_core_dumps).
    pub not_dumped: bool,
    /// See [`exclude_from_forks`](crate::FramePoolBuilder::exclude_from_forks).
    pub not_inherited: bool,
    /// See [`require_memory_options`](crate::FramePoolBuilder::require_memory_options).
    pub required: bool,
}

impl MemoryOptions {
    /// The default: prefaulted memory, without further requests.
    pub(crate) const PREFAULTED: Self = Self {
        prefault: true,
        huge_pages: HugePages::Off,
        locked: false,
        numa_node: None,
        not_dumped: false,
        not_inherited: false,
        required: false,
    };

    /// Returns the requests that the system may not be able to meet.
    pub(crate) fn requests(&self) -> impl Iterator<Item = MemoryRequest> + use<> {
        let huge_pages = match self.huge_pages {
            HugePages::Off => None,
            HugePages::Transparent => Some(MemoryRequest::TransparentHugePages),
            HugePages::Explicit => Some(MemoryRequest::ExplicitHugePages),
        };
        let locked = self.locked.then_some(MemoryRequest::Locked);
        let node = self.numa_node.map(MemoryRequest::NumaNode);
        let not_dumped = self.not_dumped.then_some(MemoryRequest::NotDumped);
        let not_inherited = self.not_inherited.then_some(MemoryRequest::NotInherited);
        [huge_pages, locked, node, not_dumped, not_inherited]
            .into_iter()
            .flatten()
    }
}

/// Formats the options as in `prefaulted, NUMA node 0, required`.
impl fmt::Display for MemoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefault = if self.prefault {
            "prefaulted"
        } else {
            "not prefaulted"
        };
        f.write_str(prefault)?;
        for request in self.requests() {
            write!(f, ", {request}")?;
        }
        if self.required {
            f.write_str(", required")?;
        }
        Ok(())
    }
}

/// A request for a property of the memory that the system may not be able to meet.
///
/// ```
/// assert_eq!(ks_allocator::MemoryRequest::NumaNode(1).to_string(), "NUMA node 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum MemoryRequest {
    /// Transparent huge pages: see [`HugePages::Transparent`].
    TransparentHugePages,
    /// Explicit huge pages: see [`HugePages::Explicit`].
    ExplicitHugePages,
    /// Memory that is never paged out: see
    /// [`lock_in_memory`](crate::FramePoolBuilder::lock_in_memory).
    Locked,
    /// Memory of this NUMA node: see [`numa_node`](crate::FramePoolBuilder::numa_node).
    NumaNode(u32),
    /// Memory that is left out of core dumps: see
    /// [`exclude_from_core_dumps`](crate::FramePoolBuilder::exclude_from_core_dumps).
    NotDumped,
    /// Memory that a forked child does not have: see
    /// [`exclude_from_forks`](crate::FramePoolBuilder::exclude_from_forks).
    NotInherited,
}

impl fmt::Display for MemoryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TransparentHugePages => f.write_str("transparent huge pages"),
            Self::ExplicitHugePages => f.write_str("explicit huge pages"),
            Self::Locked => f.write_str("locked in memory"),
            Self::NumaNode(node) => write!(f, "NUMA node {node}"),
            Self::NotDumped => f.write_str("not in core dumps"),
            Self::NotInherited => f.write_str("not in forked children"),
        }
    }
}

/// A memory request that a commit met in part or not at all.
///
/// ```
/// use ks_allocator::{FramePool, MemoryRequest};
///
/// let builder = FramePool::builder().frames(4).frame_size(64).numa_node(999_999);
/// let report = builder.build()?.commit_report(); // no such node: the memory is on any node
/// assert_eq!(report.unmet[0].request, MemoryRequest::NumaNode(999_999));
/// # Ok::<(), ks_allocator::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnmetRequest {
    /// The request.
    pub request: MemoryRequest,
    /// The system call that failed, or that succeeded without meeting the request.
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

    /// Returns the reason: the error of the call, or a description of what it did not do.
    ///
    /// ```
    /// # use ks_allocator::FramePool;
    /// let builder = FramePool::builder().frames(4).frame_size(64).numa_node(999_999);
    /// for unmet in builder.build()?.commit_report().unmet {
    ///     assert!(!unmet.source().to_string().is_empty());
    /// }
    /// # Ok::<(), ks_allocator::BuildError>(())
    /// ```
    #[must_use]
    pub fn source(&self) -> &io::Error {
        &self.source
    }
}

/// Formats the unmet request as in
/// `explicit huge pages: mmap(MAP_HUGETLB): Cannot allocate memory (os error 12)`.
impl fmt::Display for UnmetRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.request, self.call, self.source)
    }
}

/// The memory options of a pool, the requests that were not met, and measurements of the memory.
///
/// [`FramePool::commit_report`](crate::FramePool::commit_report) returns it. Sizes are in bytes.
/// Values that cannot be measured on this system, or by this process, are `None`.
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
    /// The options of the pool.
    pub requested: MemoryOptions,
    /// The requests that were not met when the memory was allocated.
    pub unmet: Vec<UnmetRequest>,
    /// Size of the segment: see [`SegmentInfo::bytes`](crate::SegmentInfo::bytes).
    pub bytes: usize,
    /// Size of the pages of the memory. Transparent huge pages do not change it: they consist of
    /// ordinary pages.
    pub page_size: usize,
    /// Bytes of the segment that are in physical memory now. In Kernel mode on Linux, the pages of
    /// the kernel object count whether or not they are mapped yet.
    pub resident: Option<usize>,
    /// Bytes of the segment that are in huge pages of either kind. Linux counts per mapping: if it
    /// merges the segment's mapping with a neighboring one, huge pages of the neighbor may be
    /// included, up to the size of the segment.
    pub huge: Option<usize>,
    /// Bytes of the segment that are locked in memory. Explicit huge pages always are.
    pub locked: Option<usize>,
    /// NUMA nodes of the segment's pages, in ascending order; empty if unknown.
    pub numa_nodes: Vec<u32>,
}

/// Formats the report as a few lines of text for people to read.
impl fmt::Display for CommitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requested: {}", self.requested)?;
        for unmet in &self.unmet {
            writeln!(f, "unmet: {unmet}")?;
        }
        let Self {
            bytes, page_size, ..
        } = self;
        writeln!(f, "segment: {bytes} bytes in pages of {page_size}")?;
        let [resident, huge, locked] = [self.resident, self.huge, self.locked].map(Bytes);
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

/// A number of bytes, or `unknown`.
struct Bytes(Option<usize>);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
