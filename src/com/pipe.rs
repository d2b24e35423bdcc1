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
    /// Clients read the structure there without the lock. They must not do so during a
    /// `KsSetProperties`, and must not write to it: see `IKsAllocatorEx`.
    pub(super) fn address(&self) -> *mut ALLOCATOR_PROPERTIES_EX {
        self.0.data_ptr().cast()
    }

    /// Sets all bytes to zero, including the padding, which clients can see. Moving a value does
    /// not keep its padding, so this is called once the object is at its final address.
    pub(super) fn clear(&self) {
        let lock = self.0.lock();
        let target = self.address().cast::<u8>();
        // SAFETY: the target is locked, and all its bytes can be written. Zeros are a valid value.
        unsafe { target.write_bytes(0, size_of::<ALLOCATOR_PROPERTIES_EX>()) };
        drop(lock);
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
    fn a_client_sees_zeros_or_the_bytes_that_were_set() {
        const SIZE: usize = size_of::<ALLOCATOR_PROPERTIES_EX>();
        let pipe = Box::new(Pipe::default());
        let bytes = || {
            // SAFETY: all bytes of the description were written, and nothing writes to it now.
            unsafe { pipe.address().cast::<[u8; SIZE]>().read() }
        };
        pipe.clear();
        assert_eq!(bytes(), [0; SIZE]);
        let new = [0x5a_u8; SIZE];
        // SAFETY: any bytes are a description, and the copy requires no alignment.
        pipe.set(&unsafe { Ptr::new((&raw const new).cast()) });
        assert_eq!(bytes(), new);
    }

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
