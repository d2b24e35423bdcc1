//! `AM_SAMPLE2_PROPERTIES` in the number of bytes that a client passes.

use std::mem::offset_of;

use windows_core::HRESULT;

use super::boundary::{Bytes, OutBytes, Ptr, to_usize};
use super::constants::SampleFlags;
use super::hresult::{E_INVALIDARG, E_POINTER};
use super::layouts::{AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES};
use super::media_type::MediaType;
use super::shared::Shared;

/// Offset of the end of a field.
macro_rules! end_of {
    ($field:ident) => {
        offset_of!(AM_SAMPLE2_PROPERTIES, $field)
            + size_of_field(|properties| &raw const properties.$field)
    };
}

const fn size_of_field<T>(_: fn(&AM_SAMPLE2_PROPERTIES) -> *const T) -> usize {
    size_of::<T>()
}

/// Writes the first bytes of `properties`, as many as `out` has room for, and their number to
/// `cbData`. Padding is written as zero.
///
/// # Errors
///
/// `E_POINTER` if there is a byte to write and the pointer is NULL.
pub(super) fn write(mut properties: AM_SAMPLE2_PROPERTIES, out: &OutBytes) -> Result<(), HRESULT> {
    let out = out.truncate(size_of::<AM_SAMPLE2_PROPERTIES>());
    if out.size() == 0 {
        return Ok(());
    }
    properties.cbData = u32::try_from(out.size()).unwrap_or(u32::MAX);
    out.clear()?;
    macro_rules! put_fields {
        ($($field:ident)+) => {
            $(out.put_at(offset_of!(AM_SAMPLE2_PROPERTIES, $field), properties.$field)?;)+
        };
    }
    put_fields! {
        cbData dwTypeSpecificFlags dwSampleFlags lActual tStart tStop dwStreamId
        pMediaType pbBuffer cbBuffer
    }
    Ok(())
}

/// The properties that a client sets: the fields that its bytes contain whole.
pub(super) struct NewProperties {
    /// Number of bytes of `properties` that the client passed.
    size: usize,
    properties: AM_SAMPLE2_PROPERTIES,
    /// The flags, if present.
    pub(super) flags: Option<SampleFlags>,
}

/// Makes the accessors. Each returns `None` if the field is not present.
macro_rules! fields {
    ($($name:ident: $field:ident -> $type:ty;)+) => {
        $(pub(super) fn $name(&self) -> Option<$type> {
            (self.size >= end_of!($field)).then_some(self.properties.$field)
        })+
    };
}

impl NewProperties {
    fields! {
        type_specific_flags: dwTypeSpecificFlags -> u32;
        raw_flags: dwSampleFlags -> u32;
        length: lActual -> i32;
        start: tStart -> i64;
        stop: tStop -> i64;
        stream_id: dwStreamId -> u32;
        raw_media_type: pMediaType -> *mut AM_MEDIA_TYPE;
        buffer: pbBuffer -> *mut u8;
        buffer_size: cbBuffer -> i32;
    }

    /// Reads the structure: at most as many bytes as its own `cbData` says.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL; `E_INVALIDARG` if `cbData` is larger than the structure,
    /// or if there are unknown flags. Fewer than 4 bytes have no `cbData`: nothing is read then.
    pub(super) fn read(new: &Bytes) -> Result<Self, HRESULT> {
        let mut read = Self {
            size: 0,
            properties: AM_SAMPLE2_PROPERTIES::default(),
            flags: None,
        };
        if new.size() < end_of!(cbData) {
            return Ok(read);
        }
        let mut claimed = 0;
        new.copy_to::<u32>(&mut claimed)?;
        let claimed = to_usize(claimed);
        if claimed > size_of::<AM_SAMPLE2_PROPERTIES>() {
            return Err(E_INVALIDARG);
        }
        read.size = new.truncate(claimed).copy_to(&mut read.properties)?;
        if let Some(bits) = read.raw_flags() {
            read.flags = Some(SampleFlags::from_bits(bits).ok_or(E_INVALIDARG)?);
        }
        Ok(read)
    }

    /// Checks that a sample with these flags, buffer and size can be given these properties.
    ///
    /// # Errors
    ///
    /// `E_INVALIDARG` if it cannot.
    pub(super) fn check(
        &self,
        flags: SampleFlags,
        buffer: *mut u8,
        size: i32,
    ) -> Result<(), HRESULT> {
        let start_without_stop = self.flags.is_some_and(|new| {
            new.contains(SampleFlags::TIMEVALID)
                && !flags.contains(SampleFlags::TIMEVALID)
                && self.stop().is_none()
        });
        let other_buffer = |new: *mut u8| !new.is_null() && new != buffer;
        let other_size = |new| new != 0 && new != size;
        let invalid_length = |length| {
            length < 0
                || length > size
                || self.buffer_size().is_some_and(|claimed| claimed < length)
        };
        if start_without_stop
            || self.buffer().is_some_and(other_buffer)
            || self.buffer_size().is_some_and(other_size)
            || self.length().is_some_and(invalid_length)
        {
            return Err(E_INVALIDARG);
        }
        Ok(())
    }

    /// Returns a copy of the media type, if the client sets one.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if it is NULL; otherwise as [`MediaType::copy_of`].
    pub(super) fn media_type(&self) -> Result<Option<Shared<MediaType>>, HRESULT> {
        let flags = self.flags.unwrap_or_default();
        match self.raw_media_type() {
            Some(new) if flags.contains(SampleFlags::TYPECHANGED) => {
                // SAFETY: only `read` makes `NewProperties`, from the bytes of a client. With this
                // flag their interface documents the field as a pointer to a media type, or NULL.
                let new = unsafe { Ptr::new(new) };
                let copy = MediaType::copy_of(&new)?;
                copy.map(Some).ok_or(E_POINTER)
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::super::boundary::Argument;
    use super::*;

    const SIZE: usize = size_of::<AM_SAMPLE2_PROPERTIES>();

    fn bytes(size: u32, pointer: *const u8) -> Bytes {
        // SAFETY: every test passes NULL or a pointer to that number of bytes.
        unsafe { (size, pointer).trust() }
    }

    #[test]
    fn a_write_never_passes_the_end_of_the_buffer() {
        for size in 0..=SIZE + 8 {
            let mut target = [7_u8; SIZE + 8];
            let length = u32::try_from(size).unwrap();
            // SAFETY: the array has more bytes.
            let out = unsafe { (length, target.as_mut_ptr()).trust() };
            write(AM_SAMPLE2_PROPERTIES::default(), &out).unwrap();
            let written = size.min(SIZE);
            let mut expected = [0; 4];
            expected[..written.min(4)]
                .copy_from_slice(&u32::try_from(written).unwrap().to_ne_bytes()[..written.min(4)]);
            assert_eq!(target[..written.min(4)], expected[..written.min(4)]);
            assert!(
                target[written.min(4)..written]
                    .iter()
                    .all(|&byte| byte == 0)
            );
            assert!(target[written..].iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn a_read_ends_where_the_client_says() {
        for size in 0..=SIZE {
            for claimed in 0..=SIZE {
                // A buffer of exactly this size on the heap, so that a read beyond it is found by
                // Miri and sanitizers.
                let mut image = vec![0_u8; size];
                let length = u32::try_from(claimed).unwrap().to_ne_bytes();
                let both = size.min(4);
                image[..both].copy_from_slice(&length[..both]);
                let read =
                    NewProperties::read(&bytes(u32::try_from(size).unwrap(), image.as_ptr()));
                let present = if size < 4 { 0 } else { size.min(claimed) };
                let read = read.unwrap_or_else(|_| panic!("{size} bytes, cbData {claimed}"));
                assert_eq!(read.size, present);
                assert_eq!(read.stop().is_some(), present >= 32);
            }
        }
    }

    #[test]
    fn a_structure_that_claims_to_be_larger_is_refused() {
        let too_large = u32::try_from(SIZE + 1).unwrap();
        let mut image = [0; SIZE + 8];
        image[..4].copy_from_slice(&too_large.to_ne_bytes());
        for size in [4, too_large - 1, too_large] {
            let read = NewProperties::read(&bytes(size, image.as_ptr()));
            assert_eq!(read.err(), Some(E_INVALIDARG));
        }
        assert_eq!(
            NewProperties::read(&bytes(4, ptr::null())).err(),
            Some(E_POINTER)
        );
    }
}
