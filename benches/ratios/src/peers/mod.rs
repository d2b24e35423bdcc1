//! Peers from the standard library and from crates.io.

mod heaps;
mod locks;
mod pools;
mod queues;

use crate::contender::Contender;
use crate::workloads::Demand;

/// Memory of one frame, from the heap.
type Boxed = Box<[u8]>;

fn boxed(size: usize) -> Boxed {
    vec![0; size].into()
}

/// Returns all peers, or only allocators if the frames are large: what counts then is the memory.
pub fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    let mut peers = heaps::all(demand);
    if !demand.large {
        peers.extend(queues::all(demand));
        peers.extend(locks::all(demand));
        peers.extend(pools::all(demand));
    }
    peers
}
