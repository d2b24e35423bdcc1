//! Frame pools as users hold them: the handle, its builder, and the futures of acquires.

mod acquire_future;
#[expect(unsafe_code, reason = "one option is a promise of the user's")]
mod builder;
mod exact;
mod pool;

pub use self::acquire_future::{AcquireExactFuture, AcquireFuture};
pub use self::builder::FramePoolBuilder;
pub use self::pool::FramePool;
