//! Allocator of memory that crosses the COM boundary.

pub(crate) use libc::{free, malloc as allocate};
