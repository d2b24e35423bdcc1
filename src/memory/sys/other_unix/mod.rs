//! Unix systems other than Linux and Android: no Kernel mode, no huge pages, no NUMA nodes, and no
//! measurement.

pub(crate) mod measure;
pub(crate) mod object;
pub(crate) mod options;
