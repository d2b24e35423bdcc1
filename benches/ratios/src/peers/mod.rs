//! What people use instead.

mod heaps;
mod locks;
mod pools;
mod queues;

use crate::contender::Contender;
use crate::workloads::Demand;

/// Memory of a frame's size, from the heap.
type Boxed = Box<[u8]>;

fn boxed(size: usize) -> Boxed {
    vec![0; size].into()
}

/// All of them; of large frames, only what their memory costs.
pub fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let mut peers = heaps::all(demand);
    if !demand.large {
        peers.extend(queues::all(demand));
        peers.extend(locks::all(demand));
        peers.extend(pools::all(demand));
    }
    peers
}
