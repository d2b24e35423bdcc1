//! `AM_SAMPLE2_PROPERTIES` as they cross the boundary: in as many bytes as the client says.

use std::mem::offset_of;
use std::ptr;

use windows_core::HRESULT;

use super::boundary::{Argument, In, Out};
use super::constants::{E_INVALIDARG, E_POINTER, SampleFlags};
use super::layouts::{AM_MEDIA_TYPE, AM_SAMPLE2_PROPERTIES};
use super::media_type::MediaType;

/// Where a field of the structure ends.
macro_rules! end_of {
    ($field:ident) => {
        offset_of!(AM_SAMPLE2_PROPERTIES, $field)
            + size_of_field(|properties| &raw const properties.$field)
    };
}

const fn size_of_field<T>(_: fn(&AM_SAMPLE2_PROPERTIES) -> *const T) -> usize {
    size_of::<T>()
}

/// Puts the first `size` bytes of `properties` to `out`, with their number in `cbData`, and zeroes
/// where the structure has gaps.
///
/// # Errors
///
/// `E_POINTER` if there is something to write, and `out` is NULL.
pub(super) fn put(
    mut properties: AM_SAMPLE2_PROPERTIES,
    size: u32,
    out: &Out<u8>,
) -> Result<(), HRESULT> {
    let room = bytes(size).min(size_of::<AM_SAMPLE2_PROPERTIES>());
    if room == 0 {
        return Ok(());
    }
    out.check()?;
    properties.cbData = u32::try_from(room).unwrap_or(size);
    // SAFETY: the client's room is of `size` bytes.
    unsafe { out.as_ptr().write_bytes(0, room) };
    macro_rules! put_fields {
        ($($field:ident)+) => {
            $(put_field(&properties.$field, offset_of!(AM_SAMPLE2_PROPERTIES, $field), out, room);)+
        };
    }
    put_fields! {
        cbData dwTypeSpecificFlags dwSampleFlags lActual tStart tStop dwStreamId
        pMediaType pbBuffer cbBuffer
    }
    Ok(())
}

/// Puts a field to its offset, as far as there is room.
fn put_field<T>(field: &T, offset: usize, out: &Out<u8>, room: usize) {
    let offset = offset.min(room);
    let bytes = size_of::<T>().min(room - offset);
    // SAFETY: that far into the client's room.
    let place = unsafe { out.as_ptr().add(offset) };
    // SAFETY: a field has no gaps, and `bytes` of it are in the room.
    unsafe { place.copy_from_nonoverlapping(ptr::from_ref(field).cast(), bytes) };
}

/// What a client wants a sample's properties to be: as many fields as it gave.
pub(super) struct NewProperties {
    given: usize,
    properties: AM_SAMPLE2_PROPERTIES,
    /// If they were given.
    pub(super) flags: Option<SampleFlags>,
}

/// The accessors of fields that may not have been given.
macro_rules! fields {
    ($($name:ident: $field:ident -> $type:ty;)+) => {
        $(pub(super) fn $name(&self) -> Option<$type> {
            (self.given >= end_of!($field)).then_some(self.properties.$field)
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
        given_media_type: pMediaType -> *mut AM_MEDIA_TYPE;
        buffer: pbBuffer -> *mut u8;
        buffer_size: cbBuffer -> i32;
    }

    /// Reads what is there: no more than `size` bytes, nor than the structure's own `cbData`.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if `new` is NULL; `E_INVALIDARG` if its `cbData` is more than there can be, or its
    /// flags are none.
    pub(super) fn get(size: u32, new: &In<u8>) -> Result<Self, HRESULT> {
        let mut read = Self {
            given: 0,
            properties: AM_SAMPLE2_PROPERTIES::default(),
            flags: None,
        };
        if bytes(size) < end_of!(cbData) {
            return Ok(read);
        }
        let claimed = new.cast::<u32>().get().ok_or(E_POINTER)?;
        if bytes(claimed) > size_of::<AM_SAMPLE2_PROPERTIES>() {
            return Err(E_INVALIDARG);
        }
        read.given = bytes(size.min(claimed));
        let image = ptr::from_mut(&mut read.properties).cast::<u8>();
        // SAFETY: the client gives `size` bytes, and there is room for as many as it claims. Whatever
        // they are, they make numbers and pointers.
        unsafe { image.copy_from_nonoverlapping(new.as_ptr(), read.given) };
        if let Some(bits) = read.raw_flags() {
            read.flags = Some(SampleFlags::from_bits(bits).ok_or(E_INVALIDARG)?);
        }
        Ok(read)
    }

    /// Whether a sample with these flags, buffer and size may be given all of this.
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
        let too_long = |length| {
            length < 0
                || length > size
                || self.buffer_size().is_some_and(|claimed| claimed < length)
        };
        if start_without_stop
            || self.buffer().is_some_and(other_buffer)
            || self
                .buffer_size()
                .is_some_and(|new| new != 0 && new != size)
            || self.length().is_some_and(too_long)
        {
            return Err(E_INVALIDARG);
        }
        Ok(())
    }

    /// A copy of the media type, if there is a new one.
    pub(super) fn media_type(&self) -> Result<Option<MediaType>, HRESULT> {
        let flags = self.flags.unwrap_or_default();
        match self.given_media_type() {
            Some(new) if flags.contains(SampleFlags::TYPECHANGED) => {
                // SAFETY: NULL, or a media type, as all that a client gives.
                let new = unsafe { new.cast_const().trust() }.get().ok_or(E_POINTER)?;
                MediaType::copy_of(new).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn bytes(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
