//! Peers from the standard library and from crates.io.

mod heaps;
pub(crate) mod locks;
mod pools;
pub(crate) mod queues;

use crate::contender::Contender;
use crate::workloads::Demand;

/// Memory of one frame, from the heap.
type Boxed = Box<[u8]>;

fn boxed(size: usize) -> Boxed {
    vec![0; size].into()
}

/// Returns all peers. If the frames are large, only allocators: what counts then is the memory. If
/// all frames are held, only peers that have no more than the demanded frames.
pub fn all(demand: Demand) -> Vec<Box<dyn Contender>> {
    if demand.dry {
        let mut peers = queues::all(demand);
        peers.extend(locks::all(demand));
        return peers;
    }
    let mut peers = heaps::all(demand);
    if !demand.large {
        peers.extend(queues::all(demand));
        peers.extend(locks::all(demand));
        peers.extend(pools::all(demand));
    }
    peers
}
