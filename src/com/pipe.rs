//! Storage of the pipe description of `IKsAllocatorEx`.

use crate::sync::Mutex;

use super::boundary::Ptr;
use super::layouts::ALLOCATOR_PROPERTIES_EX;

/// The description of a pipe, at an address that stays the same for the life of the object.
#[derive(Debug, Default)]
pub(super) struct Pipe(Mutex<Description>);

#[derive(Debug, Default)]
#[repr(transparent)]
struct Description(ALLOCATOR_PROPERTIES_EX);

// SAFETY: the crate never follows the pointers in the structure and counts no references for them:
// they are words that clients exchange. All other fields are plain data.
unsafe impl Send for Description {}

impl Pipe {
    /// Returns the address of the description.
    ///
    /// Clients read the structure there without the lock. `IKsAllocatorEx` documents that they must
    /// not do so during a `KsSetProperties`, and must not write to it.
    pub(super) fn address(&self) -> *mut ALLOCATOR_PROPERTIES_EX {
        self.0.data_ptr().cast()
    }

    /// Returns a copy of the description.
    pub(super) fn get(&self) -> ALLOCATOR_PROPERTIES_EX {
        self.0.lock().0
    }

    /// Replaces the description, byte by byte. Does nothing if the pointer is NULL.
    pub(super) fn set(&self, new: &Ptr<ALLOCATOR_PROPERTIES_EX>) {
        let source = new.as_ptr();
        if source.is_null() {
            return;
        }
        let lock = self.0.lock();
        let target = self.address().cast::<u8>();
        // SAFETY: by `Ptr`, the source can be read, as it is not NULL. The target is locked. The
        // copy requires no alignment and allows an overlap: `source` may be `address`.
        unsafe { target.copy_from(source.cast(), size_of::<ALLOCATOR_PROPERTIES_EX>()) };
        drop(lock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_can_be_set_to_itself() {
        let pipe = Pipe::default();
        let new = ALLOCATOR_PROPERTIES_EX {
            NumberPins: 3,
            ..ALLOCATOR_PROPERTIES_EX::default()
        };
        for source in [
            &raw const new,
            pipe.address().cast_const(),
            std::ptr::null(),
        ] {
            // SAFETY: NULL, or a structure that outlives the call.
            pipe.set(&unsafe { Ptr::new(source) });
            assert_eq!(pipe.get(), new);
        }
    }
}
