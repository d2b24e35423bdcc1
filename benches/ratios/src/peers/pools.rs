//! Pools from crates.io.

use lockfree_object_pool::{LinearObjectPool, LinearReusable};
use object_pool::Reusable;
use opool::{PoolAllocator, RefGuard};
use sharded_slab::Clear;
use zeropool::{BufUninit, ZeroPool};

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, entry};
use crate::pool::Pool;
use crate::workloads::{Demand, FRAME_SIZE};

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    assert_eq!(
        size, FRAME_SIZE,
        "the frames of sharded-slab have a fixed size"
    );
    let object_pool = object_pool::Pool::new(frames, || boxed(size));
    let linear = LinearObjectPool::new(move || boxed(size), |_| ());
    let opool = opool::Pool::new_prefilled(frames, Boxes(size));
    let zeropool = ZeroPool::new()
        .min_buffer_size(size)
        .tls_cache_size(32)
        .max_buffers_per_class(frames);
    zeropool.warm(frames, size);
    vec![
        entry(
            Role::SharedPeer,
            "object-pool",
            frames,
            size,
            Objects(object_pool),
        ),
        entry(
            Role::SharedPeer,
            "lockfree-object-pool, Linear",
            frames,
            size,
            Linear(linear),
        ),
        entry(Role::SharedPeer, "opool", frames, size, Opool(opool)),
        entry(
            Role::OtherPeer,
            "zeropool, alloc_uninit",
            frames,
            size,
            Zero {
                pool: zeropool,
                size,
            },
        ),
        entry(
            Role::OtherPeer,
            "sharded-slab",
            frames,
            size,
            Slab(sharded_slab::Pool::new()),
        ),
    ]
}

struct Objects(object_pool::Pool<Boxed>);

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Objects {
    type Frame = Reusable<'static, Boxed>;

    #[inline(always)]
    fn get(&'static self) -> Option<Self::Frame> {
        self.0.try_pull()
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Self::Frame) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

/// An unbounded pool: it makes another frame when all are out.
struct Linear(LinearObjectPool<Boxed>);

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Linear {
    type Frame = LinearReusable<'static, Boxed>;

    #[inline(always)]
    fn get(&'static self) -> Option<Self::Frame> {
        Some(self.0.pull())
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Self::Frame) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

struct Boxes(usize);

impl PoolAllocator<Boxed> for Boxes {
    fn allocate(&self) -> Boxed {
        boxed(self.0)
    }
}

struct Opool(opool::Pool<Boxes, Boxed>);

// SAFETY: the address is that of a box of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Opool {
    type Frame = RefGuard<'static, Boxes, Boxed>;

    #[inline(always)]
    fn get(&'static self) -> Option<Self::Frame> {
        self.0.try_get()
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Self::Frame) -> *mut u8 {
        frame.as_mut_ptr()
    }
}

/// A pool that reserves up to 32 frames per thread. The default is 2, which is slower.
struct Zero {
    pool: ZeroPool,
    size: usize,
}

// SAFETY: the address is that of a buffer of the demanded size, which the frame's holder owns.
// `Task::Verify` fails if the address is not a multiple of 8.
unsafe impl Pool for Zero {
    type Frame = BufUninit<'static>;

    #[inline(always)]
    fn get(&'static self) -> Option<Self::Frame> {
        Some(self.pool.alloc_uninit(self.size))
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Self::Frame) -> *mut u8 {
        frame.as_uninit_mut().as_mut_ptr().cast()
    }
}

struct Cleared(Boxed);

impl Default for Cleared {
    fn default() -> Self {
        Self(boxed(FRAME_SIZE))
    }
}

impl Clear for Cleared {
    fn clear(&mut self) {}
}

/// A pool whose frames are keys. Its guards do not release an object when they are dropped.
struct Slab(sharded_slab::Pool<Cleared>);

struct Key {
    key: usize,
    start: *mut u8,
}

// SAFETY: the memory belongs to the pool, which is `Sync`; the key's holder alone accesses it.
unsafe impl Send for Key {}

// SAFETY: the address is that of a box of the demanded size, and the pool keeps the box after
// `create`, because `Cleared::clear` does not replace it. `Task::Verify` fails if it is not a
// multiple of 8.
unsafe impl Pool for Slab {
    type Frame = Key;

    #[inline(always)]
    fn get(&'static self) -> Option<Key> {
        let mut guard = self.0.create()?;
        let start = guard.0.as_mut_ptr();
        let key = guard.key();
        Some(Key { key, start })
    }

    #[inline(always)]
    fn put(&'static self, frame: Key) {
        self.0.clear(frame.key);
    }

    #[inline(always)]
    fn start(&'static self, frame: &mut Key) -> *mut u8 {
        frame.start
    }
}
