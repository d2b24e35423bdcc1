//! Captures pictures of a V4L2 device into frames, by USERPTR: the driver writes to the frames.
//!
//! ```text
//! cargo run --bin capture [DEVICE]     # /dev/video0 by default
//! ```
//!
//! A frame is queued under its slot number. The queue owns it until the driver returns it, so
//! nothing else can acquire it. Then it is shared with a consumer, and when the consumer has
//! dropped it, it can be queued again.

#[cfg(target_os = "linux")]
mod picture;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod v4l2;

#[cfg(target_os = "linux")]
fn main() -> ks_allocator_integrations::Result {
    program::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("capture: no device (V4L2 is an interface of Linux)");
}
