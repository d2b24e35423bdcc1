//! The one door to atomics, locks, cells and threads.
//!
//! Everything concurrent in the crate names these through here, so that the models at the foot of
//! each file run the very same code under loom's scheduler (`--cfg loom`). The names are type
//! aliases, not re-exports, so that the lint that guards this door can tell them apart.
//!
//! loom cannot look inside crossbeam-queue, so a model sees a plain locked queue in the place of
//! [`ArrayQueue`]. That is sound for what the queue is used for here: a bag of spare parts whose
//! order and timing nothing depends on.

#![expect(
    clippy::disallowed_types,
    reason = "this module is the door that the lint points to"
)]

pub(crate) use self::imp::*;

/// An `Arc` of what no model looks at.
pub(crate) type PlainArc<T> = std::sync::Arc<T>;
/// Atomics that no model looks at: notes that nothing depends on.
pub(crate) type PlainAtomicU64 = std::sync::atomic::AtomicU64;
pub(crate) type PlainAtomicPtr<T> = std::sync::atomic::AtomicPtr<T>;
/// The orderings of those.
pub(crate) use std::sync::atomic::{Ordering as PlainOrdering, fence as plain_fence};
/// What is made once, or when it is first asked for, and that no model looks at.
pub(crate) type PlainOnce<T> = std::sync::OnceLock<T>;
pub(crate) type PlainLazy<T> = std::sync::LazyLock<T>;

/// A mutex that no model looks at, and whose contention costs no memory: that of `parking_lot` has a table
/// of the threads that ever waited, which grows when a thread first does.
#[derive(Debug)]
pub(crate) struct PlainMutex<T>(std::sync::Mutex<T>);

impl<T> PlainMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
        // Nothing of a user's runs under these locks, so what panics, if anything, is an assertion of
        // ours, before anything is changed.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The lock, if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<std::sync::MutexGuard<'_, T>> {
        use std::sync::TryLockError;

        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(not(loom))]
mod imp {
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{Ordering, fence};
    pub(crate) use std::thread::Thread;

    use std::cell::Cell;
    use std::time::Instant;

    pub(crate) type AtomicU64 = std::sync::atomic::AtomicU64;
    pub(crate) type AtomicUsize = std::sync::atomic::AtomicUsize;
    pub(crate) type Mutex<T> = parking_lot::Mutex<T>;
    pub(crate) type ArrayQueue<T> = crossbeam_queue::ArrayQueue<T>;

    /// A mutex that models look into.
    pub(crate) type StdMutex<T> = super::PlainMutex<T>;

    #[cfg(feature = "windows")]
    pub(crate) type AtomicU32 = std::sync::atomic::AtomicU32;
    #[cfg(any(unix, feature = "windows"))]
    pub(crate) type AtomicPtr<T> = std::sync::atomic::AtomicPtr<T>;
    #[cfg(feature = "windows")]
    pub(crate) type AtomicCell<T> = crossbeam_utils::atomic::AtomicCell<T>;
    pub(crate) type OnceLock<T> = std::sync::OnceLock<T>;

    /// `std::cell::UnsafeCell` with loom's way of asking for the pointer.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `f` with a pointer to read through.
        #[inline]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer to read and write through.
        #[inline]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// The calling thread, to be unparked by someone else.
    pub(crate) fn current_thread() -> Thread {
        std::thread::current()
    }

    /// Parks the calling thread until it is unparked or `deadline` has passed, or for no reason at
    /// all. Returns whether there is time left.
    pub(crate) fn park_until(deadline: Option<Instant>) -> bool {
        let Some(deadline) = deadline else {
            std::thread::park();
            return true;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::park_timeout(left);
        true
    }

    /// Lets others run for a moment, where what is waited for is short and rare.
    pub(crate) fn pause() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }

    /// Keeps the compiler from moving a load before the stores above it. Against the processor, only
    /// together with [`heavy_fence`] in another thread, this is a sequentially consistent fence.
    #[inline(always)]
    pub(crate) fn light_fence() {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// Runs a sequentially consistent fence in this thread, and wherever another thread of the process
    /// is at this moment. Returns whether the system did: one that [could](heavy_fence_works) may be told
    /// later not to, by a filter of system calls.
    #[cold]
    pub(crate) fn heavy_fence() -> bool {
        fence(Ordering::SeqCst);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let done = {
            use rustix::thread::{MembarrierCommand, membarrier};
            membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        };
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let done = false;
        fence(Ordering::SeqCst);
        done
    }

    /// Whether [`heavy_fence`] works here.
    pub(crate) fn heavy_fence_works() -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::thread::{MembarrierCommand, membarrier};
            // Registers the process. To do so again costs little, and a child of it inherits it. A filter of
            // system calls may allow that and not the fence itself. Miri knows no such call.
            !cfg!(miri)
                && membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
                && membarrier(MembarrierCommand::PrivateExpedited).is_ok()
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        false
    }

    /// Numbers below this are given to another thread when theirs has ended.
    pub(crate) const RECYCLED_INDICES: usize = 64;

    /// A bit a number: set while a thread has it.
    static LOW_TAKEN: AtomicU64 = AtomicU64::new(0);
    static LOW_EVER: AtomicUsize = AtomicUsize::new(0);
    static NEXT_HIGH: AtomicUsize = AtomicUsize::new(0);

    // No destructor, so this can also be asked while the thread's other locals are torn down.
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) });
    thread_local!(static RETURN: Return = const { Return });

    /// One more than the highest of the low numbers that any thread has had.
    pub(crate) fn recycled_indices_used() -> usize {
        LOW_EVER.load(Ordering::Relaxed)
    }

    /// A small number that stays the same for the calling thread, and is no other's while it lives: the
    /// lowest that is free when it first asks. While the locals of a thread with a low number are torn down
    /// it gets a high one in its place.
    #[inline]
    pub(crate) fn thread_index() -> usize {
        NUMBER.with(|number| match number.get() {
            usize::MAX => first_thread_number(number),
            known => known,
        })
    }

    /// A number by which people know the calling thread: the system's, if it has one.
    #[inline]
    pub(crate) fn thread_id() -> u32 {
        thread_local!(static NUMBER: Cell<u32> = const { Cell::new(u32::MAX) });
        NUMBER.with(|number| match number.get() {
            u32::MAX => first_thread_id(number),
            known => known,
        })
    }

    #[cold]
    fn first_thread_id(number: &Cell<u32>) -> u32 {
        let own = || u32::try_from(thread_index()).unwrap_or(0);
        number.set(crate::os_thread::number().unwrap_or_else(own));
        number.get()
    }

    #[cold]
    fn first_thread_number(number: &Cell<usize>) -> usize {
        // A thread whose locals are torn down already could not give a low number back.
        let low = RETURN.try_with(|_| take_low_number()).ok().flatten();
        number.set(low.unwrap_or_else(next_high_number));
        number.get()
    }

    fn next_high_number() -> usize {
        // Relaxed: nothing is wanted but that threads differ. If so many have been there that numbers come
        // again, they are high ones still.
        let next = NEXT_HIGH.fetch_add(1, Ordering::Relaxed);
        RECYCLED_INDICES + next % (usize::MAX - RECYCLED_INDICES)
    }

    fn take_low_number() -> Option<usize> {
        let mut taken = LOW_TAKEN.load(Ordering::Relaxed);
        loop {
            let number = taken.trailing_ones();
            let bit = 1_u64.checked_shl(number)?;
            // Acquire: pairs with the Release in the drop of `Return`; whatever the last thread of this
            // number did as such was before.
            match LOW_TAKEN.compare_exchange_weak(
                taken,
                taken | bit,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // Relaxed: who asks runs a fence first.
                    LOW_EVER.fetch_max(number as usize + 1, Ordering::Relaxed);
                    return Some(number as usize);
                }
                Err(now) => taken = now,
            }
        }
    }

    /// Gives the thread's number back when it ends.
    struct Return;

    impl Drop for Return {
        fn drop(&mut self) {
            NUMBER.with(|number| {
                let low = number.get();
                if low < RECYCLED_INDICES {
                    // First: other locals may yet ask.
                    number.set(next_high_number());
                    // Release: pairs with the Acquire in `take_low_number`.
                    LOW_TAKEN.fetch_and(!(1 << low), Ordering::Release);
                }
            });
        }
    }
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{Ordering, fence};
    pub(crate) use loom::thread::Thread;

    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::time::Instant;

    /// loom's atomics, made to explore all orders of access.
    ///
    /// loom looks for another order only between an access and the *last* one before it to the same
    /// atomic. In `load`, then `compare_exchange`, the thread's own load is the last one, and hides
    /// what others did before it. So every access is preceded by one to a second atomic that is
    /// always a read-modify-write: there the last access is the one that matters. It is relaxed and
    /// synchronises nothing, and the load itself may still return any value that it may.
    macro_rules! atomic {
        ($name:ident, $value:ty; $($method:ident($($argument:ident: $type:ty),+) $(-> $result:ty)?;)+) => {
            #[derive(Debug)]
            pub(crate) struct $name {
                atomic: loom::sync::atomic::$name,
                turn: loom::sync::atomic::AtomicUsize,
            }

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self {
                        atomic: loom::sync::atomic::$name::new(value),
                        turn: loom::sync::atomic::AtomicUsize::new(0),
                    }
                }

                $(pub(crate) fn $method(&self, $($argument: $type),+) $(-> $result)? {
                    self.turn.fetch_add(0, Ordering::Relaxed);
                    self.atomic.$method($($argument),+)
                })+
            }
        };
    }

    atomic! { AtomicU64, u64;
        load(order: Ordering) -> u64;
        store(value: u64, order: Ordering);
        fetch_add(value: u64, order: Ordering) -> u64;
        fetch_sub(value: u64, order: Ordering) -> u64;
        fetch_or(bits: u64, order: Ordering) -> u64;
        fetch_and(bits: u64, order: Ordering) -> u64;
        compare_exchange(
            current: u64, new: u64, success: Ordering, failure: Ordering
        ) -> Result<u64, u64>;
        compare_exchange_weak(
            current: u64, new: u64, success: Ordering, failure: Ordering
        ) -> Result<u64, u64>;
    }
    #[cfg(test)]
    atomic! { AtomicU32, u32;
        load(order: Ordering) -> u32;
        store(value: u32, order: Ordering);
        compare_exchange_weak(
            current: u32, new: u32, success: Ordering, failure: Ordering
        ) -> Result<u32, u32>;
    }
    atomic! { AtomicUsize, usize;
        load(order: Ordering) -> usize;
        store(value: usize, order: Ordering);
        fetch_add(value: usize, order: Ordering) -> usize;
        fetch_sub(value: usize, order: Ordering) -> usize;
        fetch_and(bits: usize, order: Ordering) -> usize;
        compare_exchange(
            current: usize, new: usize, success: Ordering, failure: Ordering
        ) -> Result<usize, usize>;
        compare_exchange_weak(
            current: usize, new: usize, success: Ordering, failure: Ordering
        ) -> Result<usize, usize>;
        swap(value: usize, order: Ordering) -> usize;
    }

    /// loom's mutex with a `lock` that knows no poisoning.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0
                .lock()
                .expect("a model that panics has failed already")
        }
    }

    pub(crate) type StdMutex<T> = Mutex<T>;

    /// Stands for crossbeam-queue's `ArrayQueue`; see the head of this file. It uses no lock of
    /// loom's on purpose: the bag of spares is to add no interleavings to a model.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        items: std::sync::Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self {
                items: std::sync::Mutex::new(VecDeque::new()),
                capacity,
            }
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            let mut items = self.items.lock().expect("nothing panics in here");
            if items.len() == self.capacity {
                return Err(item);
            }
            items.push_back(item);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            self.items
                .lock()
                .expect("nothing panics in here")
                .pop_front()
        }
    }

    pub(crate) fn current_thread() -> Thread {
        loom::thread::current()
    }

    /// Models have no clock: a deadline never comes by itself, so what a time-out does is modelled
    /// by calling what it calls.
    pub(crate) fn park_until(_deadline: Option<Instant>) -> bool {
        loom::thread::park();
        true
    }

    pub(crate) fn pause() {
        loom::thread::yield_now();
    }

    /// The two fences together are what two of these are.
    pub(crate) fn light_fence() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy_fence() -> bool {
        fence(Ordering::SeqCst);
        true
    }

    pub(crate) fn heavy_fence_works() -> bool {
        true
    }

    loom::thread_local!(static NUMBER: Cell<usize> = Cell::new(0));

    /// Models say themselves where a thread starts to look.
    pub(crate) fn thread_index() -> usize {
        NUMBER.with(Cell::get)
    }

    #[cfg(test)]
    pub(crate) fn set_thread_index(number: usize) {
        NUMBER.with(|known| known.set(number));
    }

    pub(crate) const RECYCLED_INDICES: usize = 2;

    pub(crate) fn recycled_indices_used() -> usize {
        RECYCLED_INDICES
    }

    /// Models name nobody.
    pub(crate) fn thread_id() -> u32 {
        0
    }
}
