//! `Commit` while other threads change properties, mode and handle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ks_allocator::com::{ComAllocator, GetBufferFlags, IMemAllocator, S_OK};
use ks_allocator::{AllocatorState, FramePool, KsAllocator, PoolAllocator};

use crate::support::com_client::get_buffer;
use crate::{commit, decommit, set_properties};

/// Sets the flag on drop, so that a failed assertion ends the other threads as well.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The last sample can come back, and properties can be set, in the middle of a `Commit`.
#[test]
fn a_commit_checks_the_properties_that_it_commits() {
    const ROUNDS: usize = 10_000;

    // Without prefaulting, so that a commit of 2 GiB would succeed at once.
    let builder = FramePool::builder().prefault(false);
    let allocator = ComAllocator::new(PoolAllocator::from_builder(&builder).unwrap());
    let stop = AtomicBool::new(false);
    let mut checked = 0;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let client: IMemAllocator = allocator.cast().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    // The result depends on what the main thread does at this moment.
                    let _result = commit(&client);
                    drop(get_buffer(&client, GetBufferFlags::NOWAIT));
                }
            });
        }
        let _stop = StopOnDrop(&stop);
        let client: IMemAllocator = allocator.cast().unwrap();
        for _ in 0..ROUNDS {
            decommit(&client);
            if set_properties(&client, 2, 64) != S_OK {
                continue;
            }
            let _result = commit(&client);
            let sample = get_buffer(&client, GetBufferFlags::NOWAIT);
            decommit(&client);
            drop(sample);
            if set_properties(&client, 2, 1 << 30) == S_OK {
                thread::yield_now();
                let status = allocator.allocator_status();
                assert_eq!(
                    (status.state, status.framing.frame_size),
                    (AllocatorState::Uncommitted, 1 << 30),
                    "after {checked} rounds"
                );
                checked += 1;
            }
        }
    });
    assert!(checked > 0, "no round reached the large request");
}
