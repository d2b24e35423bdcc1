//! Conversion between `ALLOCATOR_PROPERTIES` and [`Framing`].
//!
//! Neither type can express all values of the other. Properties may be negative, and `Commit` is
//! the first to reject them; a framing may be larger than 2 GiB. A request that no framing can
//! express is stored here as it is. The allocator has an unset framing until the next request.

use crate::allocator::LockedControl;
use crate::framing::Framing;
use crate::sync::Mutex;

use windows_core::HRESULT;

use super::hresult::{E_OUTOFMEMORY, VFW_E_SIZENOTSET};
use super::layouts::ALLOCATOR_PROPERTIES;

/// The last request, if no framing can express it.
///
/// Every method is called with the allocator's control state locked, so a request and its framing
/// are of the same moment. The mutex here only lends the value out, and is never waited for.
#[derive(Debug, Default)]
pub(super) struct Properties(Mutex<Option<ALLOCATOR_PROPERTIES>>);

impl Properties {
    /// Sets the allocator's framing to `request`. Returns the actual properties.
    pub(super) fn set(
        &self,
        control: &mut LockedControl<'_>,
        request: &ALLOCATOR_PROPERTIES,
    ) -> Result<ALLOCATOR_PROPERTIES, HRESULT> {
        let framing = to_framing(request);
        let actual = control.set_framing(&framing.unwrap_or(placeholder(request)))?;
        let stored = framing.is_none().then_some(*request);
        *self.0.lock() = stored;
        Ok(stored.unwrap_or_else(|| from_framing(&actual)))
    }

    /// Returns the current properties: the stored request, unless Rust code has set a framing
    /// since.
    pub(super) fn get(&self, control: &LockedControl<'_>) -> ALLOCATOR_PROPERTIES {
        let framing = control.status().framing;
        let stored = *self.0.lock();
        stored
            .filter(|request| framing == placeholder(request))
            .unwrap_or_else(|| from_framing(&framing))
    }

    /// Checks that a COM client can use the current properties.
    pub(super) fn check(&self, control: &LockedControl<'_>) -> Result<(), HRESULT> {
        check(&self.get(control))
    }

    /// Returns the number of free buffers. Before a commit it is the number of buffers.
    pub(super) fn free_count(&self, control: &LockedControl<'_>) -> i32 {
        let status = control.status();
        if status.framing.frames == 0 {
            return self.get(control).cBuffers;
        }
        let free = status.framing.frames - status.allocated_frames;
        i32::try_from(free).unwrap_or(i32::MAX)
    }
}

/// Checks that there is something to commit, and that it is smaller than 2 GiB.
fn check(properties: &ALLOCATOR_PROPERTIES) -> Result<(), HRESULT> {
    if properties.cBuffers <= 0 || properties.cbBuffer <= 0 || properties.cbAlign <= 0 {
        return Err(VFW_E_SIZENOTSET);
    }
    match total_bytes(properties) {
        Some(total) if i32::try_from(total).is_ok() => Ok(()),
        _ => Err(E_OUTOFMEMORY),
    }
}

/// Converts a request to a framing. Returns `None` if it has a negative number, or if its rounded
/// size does not fit into properties.
fn to_framing(request: &ALLOCATOR_PROPERTIES) -> Option<Framing> {
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

/// Returns the unset framing that takes the place of a request that no framing can express.
fn placeholder(request: &ALLOCATOR_PROPERTIES) -> Framing {
    Framing::default().alignment(alignment(request))
}

/// Returns the alignment. A negative one becomes 0, which is refused too.
fn alignment(request: &ALLOCATOR_PROPERTIES) -> usize {
    usize::try_from(request.cbAlign).unwrap_or(0)
}

/// Converts a framing to properties. A number that is too large, which only Rust code can set,
/// becomes the largest number.
fn from_framing(framing: &Framing) -> ALLOCATOR_PROPERTIES {
    let number = |value| i32::try_from(value).unwrap_or(i32::MAX);
    ALLOCATOR_PROPERTIES {
        cBuffers: number(framing.frames),
        cbBuffer: number(framing.frame_size),
        cbAlign: number(framing.alignment),
        cbPrefix: number(framing.prefix),
    }
}

/// Returns the size of all buffers in bytes, or `None` if the prefix is negative.
fn total_bytes(properties: &ALLOCATOR_PROPERTIES) -> Option<u64> {
    let number = |value| u64::try_from(value).ok();
    let used = number(properties.cbBuffer)?.checked_add(number(properties.cbPrefix)?)?;
    let stride = used.checked_next_multiple_of(number(properties.cbAlign)?)?;
    number(properties.cBuffers)?.checked_mul(stride)
}
