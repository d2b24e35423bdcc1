//! `ALLOCATOR_PROPERTIES` and the framing that they ask for.
//!
//! The two do not hold the same numbers: properties may be negative, and are judged only at the
//! commit; a framing may be larger than 2 GiB. So a request that no framing can express is kept here
//! as it was requested, and the allocator's framing is unset meanwhile, until another takes its place.

use crate::allocator::{KsAllocator, PoolAllocator};
use crate::framing::Framing;
use crate::sync::Mutex;

use windows_core::HRESULT;

use super::constants::{E_OUTOFMEMORY, VFW_E_SIZENOTSET};
use super::layouts::ALLOCATOR_PROPERTIES;

/// The last request, if no framing can express it.
#[derive(Debug, Default)]
pub(super) struct Properties(Mutex<Option<ALLOCATOR_PROPERTIES>>);

impl Properties {
    /// Asks for `request`, and returns what is given.
    pub(super) fn set(
        &self,
        allocator: &PoolAllocator,
        request: &ALLOCATOR_PROPERTIES,
    ) -> Result<ALLOCATOR_PROPERTIES, HRESULT> {
        let framing = framing_for(request);
        let mut kept = self.0.lock();
        let actual = allocator.set_framing(&framing.unwrap_or(unset(request)))?;
        *kept = framing.is_none().then_some(*request);
        Ok(kept.unwrap_or_else(|| expressed(&actual)))
    }

    /// What is given now.
    pub(super) fn get(&self, allocator: &PoolAllocator) -> ALLOCATOR_PROPERTIES {
        given(*self.0.lock(), allocator)
    }

    /// Commits what is given now, if a client of COM can have it.
    pub(super) fn commit(&self, allocator: &PoolAllocator) -> Result<(), HRESULT> {
        // Locked up to the end, so that what was checked is what is committed.
        let kept = self.0.lock();
        check(&given(*kept, allocator))?;
        Ok(allocator.commit()?)
    }

    /// Buffers that are free: all of them, as long as there are none.
    pub(super) fn free_count(&self, allocator: &PoolAllocator) -> i32 {
        let status = allocator.allocator_status();
        if status.framing.frames == 0 {
            return self.get(allocator).cBuffers;
        }
        let free = status.framing.frames - status.allocated_frames;
        i32::try_from(free).unwrap_or(i32::MAX)
    }
}

/// What is given: what was kept, unless the framing was set past this face in the meantime.
fn given(kept: Option<ALLOCATOR_PROPERTIES>, allocator: &PoolAllocator) -> ALLOCATOR_PROPERTIES {
    let framing = allocator.framing();
    kept.filter(|request| framing == unset(request))
        .unwrap_or_else(|| expressed(&framing))
}

/// Whether there is something to commit, and not more than COM can count.
fn check(properties: &ALLOCATOR_PROPERTIES) -> Result<(), HRESULT> {
    if properties.cBuffers <= 0 || properties.cbBuffer <= 0 || properties.cbAlign <= 0 {
        return Err(VFW_E_SIZENOTSET);
    }
    match total(properties) {
        Some(total) if i32::try_from(total).is_ok() => Ok(()),
        _ => Err(E_OUTOFMEMORY),
    }
}

/// The framing that is asked for, if it can be expressed in both ways, also when it is rounded.
fn framing_for(request: &ALLOCATOR_PROPERTIES) -> Option<Framing> {
    let framing = Framing::new(
        usize::try_from(request.cBuffers).ok()?,
        usize::try_from(request.cbBuffer).ok()?,
    )
    .alignment(alignment(request))
    .prefix(usize::try_from(request.cbPrefix).ok()?);
    match framing.actual() {
        Ok(actual) => i32::try_from(actual.frame_size).is_ok().then_some(framing),
        Err(_) => Some(framing),
    }
}

/// The framing that stands for a request that none can express.
fn unset(request: &ALLOCATOR_PROPERTIES) -> Framing {
    Framing::default().alignment(alignment(request))
}

/// A negative alignment is refused like 0.
fn alignment(request: &ALLOCATOR_PROPERTIES) -> usize {
    usize::try_from(request.cbAlign).unwrap_or(0)
}

/// A framing in properties; what is too large, which only Rust code can have asked for, shows as the
/// largest there is.
fn expressed(framing: &Framing) -> ALLOCATOR_PROPERTIES {
    let number = |value| i32::try_from(value).unwrap_or(i32::MAX);
    ALLOCATOR_PROPERTIES {
        cBuffers: number(framing.frames),
        cbBuffer: number(framing.frame_size),
        cbAlign: number(framing.alignment),
        cbPrefix: number(framing.prefix),
    }
}

/// Bytes for all buffers; `None` if the prefix is negative.
fn total(properties: &ALLOCATOR_PROPERTIES) -> Option<u64> {
    let number = |value| u64::try_from(value).ok();
    let used = number(properties.cbBuffer)?.checked_add(number(properties.cbPrefix)?)?;
    let stride = used.checked_next_multiple_of(number(properties.cbAlign)?)?;
    number(properties.cBuffers)?.checked_mul(stride)
}
