//! Frames as registered buffers of `io_uring`: a file is read into them with `O_DIRECT`.
//!
//! The pool registers its memory when it is built and unregisters it before the memory is freed. A
//! frame that the kernel writes to is kept in the `user_data` of the operation. So it cannot be
//! released before the operation is complete, also if this program gives up.

#[cfg(target_os = "linux")]
mod buffers;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod reader;

#[cfg(target_os = "linux")]
fn main() -> ks_allocator_integrations::Result {
    program::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("uring: unsupported (io_uring is an interface of Linux)");
}
