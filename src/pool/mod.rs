//! Mechanism of a pool: how frames leave it, come back, and end with it.
//!
//! Modules, bottom-up:
//!
//! | module | subject | `unsafe` |
//! |---|---|---|
//! | [`config`] | what a pool is made from | |
//! | [`pool_state`] | whether a pool hands out frames | |
//! | [`hints`] | words that may have free frames, in large pools | |
//! | [`starts`] | words where the searches of threads start | |
//! | [`levels`] | count of free frames, in pools whose user wants to know | |
//! | [`shares`] | permits of callers, in pools with shares | |
//! | [`free_list`] | free frames, one bit per frame | |
//! | [`idle`] | callers that wait until all frames are back | |
//! | [`loans`] | frames that are lent to other processes | |
//! | [`slot`] | what belongs to one frame | yes |
//! | [`waiter`] | one caller that waits for a frame | |
//! | [`deferred_wakes`] | wakes of tasks, while the thread runs a waker | |
//! | [`permit_queue`] | callers that wait for a permit, in pools with shares | |
//! | [`handoff`] | entries of the wait queue, and waiters that have left it | |
//! | [`wait_queue`] | callers that wait for a frame | |
//! | [`blocking_wait`] | waits of threads | |
//! | [`pending_wait`] | waits of tasks | |
//! | [`lineage`] | what the generations of a pool share | yes |
//! | [`core`] | what the handles and frames of a pool share, and its lifetime | yes |
//! | [`construction`] | making a core | yes |
//! | [`checkout`] | acquire and release, whole | yes |
//! | [`generations`] | a pool that takes over from another | yes |
//!
//! Those from [`hints`] to [`loans`] move numbers and know no memory. The wait queue moves frames
//! that it does not look into.
//!
//! Comments cite invariants by letter and number:
//!
//! | letter | subject | stated in |
//! |---|---|---|
//! | F | free list | [`free_list`] |
//! | Q | shares | [`shares`] |
//! | V | levels of free frames | [`levels`] |
//! | W | wait queue | [`wait_queue`]; W4 in [`handoff`], W6 in [`waiter`] |
//! | D | deferred wakes | [`deferred_wakes`] |
//! | I | waiting until all frames are back | [`idle`] |
//! | L | loans | [`loans`] |
//! | S | slots, shared frames | [`slot`] |
//! | C, P | lifetime, forked processes | [`core`] |
//! | N | generations | [`lineage`] |
//! | O | copies of the crate in one process | [`crate::crate_copy`] |
//! | H | handles of frames | [`crate::frame`] |
//! | E, R | holder records, recorder | [`crate::diagnostics`], in their files |
//! | M, G | memory, registry of guard pages | [`crate::memory`], `memory/guard_pages/registry.rs` |
//! | K, RC | COM samples, reference count | `com/sample.rs`, `ref_count.rs` |

pub(crate) mod attachment;
mod blocking_wait;
#[expect(unsafe_code, reason = "turns taken frames into slots and back")]
pub(crate) mod checkout;
pub(crate) mod config;
#[expect(unsafe_code, reason = "fills a core whose slots point back at it")]
pub(crate) mod construction;
#[expect(
    unsafe_code,
    reason = "owns the memory of a pool and decides when it is freed"
)]
pub(crate) mod core;
mod deferred_wakes;
pub(crate) mod free_list;
#[expect(unsafe_code, reason = "finds the newest of several cores")]
pub(crate) mod generations;
pub(crate) mod handoff;
mod hints;
mod idle;
mod levels;
#[expect(
    unsafe_code,
    reason = "lets threads pass on a pointer to the newest core"
)]
mod lineage;
pub(crate) mod loans;
pub(crate) mod pending_wait;
mod permit_queue;
pub(crate) mod pool_state;
pub(crate) mod shares;
#[expect(unsafe_code, reason = "argues which threads may touch a slot")]
pub(crate) mod slot;
mod starts;
mod wait_queue;
mod waiter;
