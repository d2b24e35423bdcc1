//! Pools from crates.io.

use lockfree_object_pool::{LinearObjectPool, LinearReusable};
use object_pool::Reusable;
use opool::{PoolAllocator, RefGuard};
use sharded_slab::Clear;
use zeropool::{BufUninit, ZeroPool};

use super::{Boxed, boxed};
use crate::contender::{Contender, Role, enter};
use crate::pool::Pool;
use crate::workloads::{Demand, FRAME_SIZE};

pub(super) fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let Demand { frames, size, .. } = demand;
    assert_eq!(
        size, FRAME_SIZE,
        "sharded-slab makes its frames without being told how large"
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
        enter(
            Role::Shared,
            "object-pool",
            frames,
            size,
            Objects(object_pool),
        ),
        enter(
            Role::Shared,
            "lockfree-object-pool, Linear",
            frames,
            size,
            Linear(linear),
        ),
        enter(Role::Shared, "opool", frames, size, Opool(opool)),
        enter(
            Role::Other,
            "zeropool, alloc_uninit",
            frames,
            size,
            Zero {
                pool: zeropool,
                size,
            },
        ),
        enter(
            Role::Other,
            "sharded-slab",
            frames,
            size,
            Slab(sharded_slab::Pool::new()),
        ),
    ]
}

struct Objects(object_pool::Pool<Boxed>);

// SAFETY: a box is its owner's.
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

/// It has no bound: it makes more when all are out.
struct Linear(LinearObjectPool<Boxed>);

// SAFETY: a box is its owner's.
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

// SAFETY: a box is its owner's.
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

/// Each thread keeps up to 32 frames back; by default it would be 2, and slower.
struct Zero {
    pool: ZeroPool,
    size: usize,
}

// SAFETY: a buffer is its owner's.
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

/// A frame is its key: the guards of this pool do not give back.
struct Slab(sharded_slab::Pool<Cleared>);

struct Key {
    key: usize,
    start: *mut u8,
}

// SAFETY: the frame is this key's holder's.
unsafe impl Send for Key {}

// SAFETY: between `create` and `clear` nobody else is given the key.
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
