//! Frame pools as users hold them: the handle, its builder, and the futures of acquires.

mod acquire_future;
#[expect(unsafe_code, reason = "one option is a promise of the user's")]
mod builder;
mod of_frame;
mod pool;
mod several;

#[cfg(feature = "stream")]
pub use self::acquire_future::FrameStream;
pub use self::acquire_future::{AcquireExactFuture, AcquireFuture, AcquireManyFuture};
pub use self::builder::FramePoolBuilder;
pub use self::pool::FramePool;
