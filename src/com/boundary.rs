//! Boundary between COM callers and the methods of this crate's objects.
//!
//! Outside are raw pointers and the `system` calling convention; inside is safe Rust. No panic
//! crosses the boundary.
//!
//! The methods of the objects are safe functions. The vtable entries that [`entry`] generates are
//! the one place that trusts the client: `this` is a live object, and a pointer is NULL or leads to
//! what the interface documents. The methods receive such pointers as [`Ptr`], [`OutPtr`],
//! [`Bytes`] and [`OutBytes`].

use std::ffi::c_void;
use std::ptr;

use windows_core::{GUID, HRESULT};

use super::hresult::{E_POINTER, E_UNEXPECTED, S_OK};
use super::layouts::{ALLOCATOR_PROPERTIES, AM_SAMPLE2_PROPERTIES, KSSTREAMALLOCATOR_STATUS};
use crate::panics::catch_panics;

/// A type without invalid values: any initialized bytes are a value of it.
///
/// # Safety
///
/// Every field is of such a type. The type may have padding.
pub(super) unsafe trait AnyBits: Copy {}

// SAFETY: any 4 bytes are a number.
unsafe impl AnyBits for u32 {}
// SAFETY: any 8 bytes are a number.
unsafe impl AnyBits for i64 {}
// SAFETY: the fields are integers and an array of bytes.
unsafe impl AnyBits for GUID {}
// SAFETY: the fields are integers.
unsafe impl AnyBits for ALLOCATOR_PROPERTIES {}
// SAFETY: the fields are integers and raw pointers. A raw pointer may have any address.
unsafe impl AnyBits for AM_SAMPLE2_PROPERTIES {}

/// A type without padding: all bytes of a value are initialized.
///
/// # Safety
///
/// The type is a scalar, or has no gaps between and after its fields.
pub(super) unsafe trait NoPadding: Copy {}

// SAFETY: an integer has no padding.
unsafe impl NoPadding for u32 {}
// SAFETY: an integer has no padding.
unsafe impl NoPadding for i32 {}
// SAFETY: an integer has no padding.
unsafe impl NoPadding for i64 {}
// SAFETY: a pointer to a sized type is one word without padding.
unsafe impl<T> NoPadding for *mut T {}
// SAFETY: 4 fields of 4 bytes fill the 16 bytes that `layouts` asserts.
unsafe impl NoPadding for ALLOCATOR_PROPERTIES {}
// SAFETY: 8 numbers of 4 bytes, 6 of them in the framing, fill the 32 bytes that `layouts` asserts.
unsafe impl NoPadding for KSSTREAMALLOCATOR_STATUS {}

/// Pointer of a client that a method only reads: NULL, or valid until the method returns.
///
/// It leads to what the interface documents, which includes what the pointers in a structure lead
/// to. A `Ptr<c_void>` is an interface pointer or a handle.
pub(super) struct Ptr<T>(*const T);

impl<T> Ptr<T> {
    /// # Safety
    ///
    /// `pointer` is NULL, or leads to what the interface of the current method documents.
    #[inline]
    pub(super) unsafe fn new(pointer: *const T) -> Self {
        Self(pointer)
    }

    pub(super) fn as_ptr(&self) -> *const T {
        self.0
    }
}

impl<T: AnyBits> Ptr<T> {
    /// Reads the value. Returns `None` if the pointer is NULL.
    #[inline]
    pub(super) fn get(&self) -> Option<T> {
        // SAFETY: by `new` the bytes of a `T` can be read if the pointer is not NULL. The read
        // requires no alignment, and any bytes are a `T`, by `AnyBits`.
        (!self.0.is_null()).then(|| unsafe { self.0.read_unaligned() })
    }
}

/// Pointer of a client to the place of a result: NULL, or valid for writes of a `T` until the
/// method returns.
pub(super) struct OutPtr<T>(*mut T);

impl<T: NoPadding> OutPtr<T> {
    /// Writes a result. Without padding every byte of it is set, so that a client never sees what
    /// the memory held before.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL.
    #[inline]
    pub(super) fn put(&self, value: T) -> Result<(), HRESULT> {
        self.check()?;
        // SAFETY: only `trust` makes an `OutPtr`, so a `T` can be written there as the pointer is
        // not NULL. The write requires no alignment.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }
}

impl<T> OutPtr<T> {
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL.
    #[inline]
    pub(super) fn check(&self) -> Result<(), HRESULT> {
        if self.0.is_null() {
            Err(E_POINTER)
        } else {
            Ok(())
        }
    }
}

/// Buffer of a client that a method reads. The pointer is NULL, or valid for reads of `size` bytes
/// until the method returns.
pub(super) struct Bytes {
    pointer: *const u8,
    size: usize,
}

impl Bytes {
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The first `max` bytes, or all if there are fewer.
    pub(super) fn truncate(&self, max: usize) -> Self {
        Self {
            pointer: self.pointer,
            size: self.size.min(max),
        }
    }

    /// Overwrites the first bytes of `value` with the buffer, as far as both reach. Returns the
    /// number of bytes.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL.
    pub(super) fn copy_to<T: AnyBits>(&self, value: &mut T) -> Result<usize, HRESULT> {
        if self.pointer.is_null() {
            return Err(E_POINTER);
        }
        let size = self.size.min(size_of::<T>());
        let target = ptr::from_mut(value).cast::<u8>();
        // SAFETY: `size` bytes can be read, as the pointer is not NULL and the buffer is not
        // smaller; and written, as `value` is not smaller. The client's buffer does not overlap
        // `value`, which no client knows. By `AnyBits` any bytes leave a valid `T` behind.
        unsafe { target.copy_from_nonoverlapping(self.pointer, size) };
        Ok(size)
    }
}

/// Buffer of a client that a method fills. The pointer is NULL, or valid for writes of `size` bytes
/// until the method returns.
pub(super) struct OutBytes {
    pointer: *mut u8,
    size: usize,
}

impl OutBytes {
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The first `max` bytes, or all if there are fewer.
    pub(super) fn truncate(&self, max: usize) -> Self {
        Self {
            pointer: self.pointer,
            size: self.size.min(max),
        }
    }

    /// Sets all bytes to zero.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL.
    pub(super) fn clear(&self) -> Result<(), HRESULT> {
        if self.pointer.is_null() {
            return Err(E_POINTER);
        }
        // SAFETY: the pointer is not NULL, so `size` bytes can be written.
        unsafe { self.pointer.write_bytes(0, self.size) };
        Ok(())
    }

    /// Writes a value at `offset`, as much of it as the buffer has room for.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL.
    pub(super) fn put_at<T: NoPadding>(&self, offset: usize, value: T) -> Result<(), HRESULT> {
        if self.pointer.is_null() {
            return Err(E_POINTER);
        }
        let offset = offset.min(self.size);
        let size = size_of::<T>().min(self.size - offset);
        // SAFETY: the offset is inside the buffer, or at its end.
        let target = unsafe { self.pointer.add(offset) };
        // SAFETY: `size` bytes from `target` are inside the buffer, and `value` is not smaller. All
        // its bytes are initialized, by `NoPadding`. It is a local value, so they do not overlap.
        unsafe { target.copy_from_nonoverlapping((&raw const value).cast(), size) };
        Ok(())
    }
}

/// Parameters of a vtable entry, and the argument that the method receives for them.
pub(super) trait Argument {
    type Trusted;

    /// # Safety
    ///
    /// A pointer is NULL, or leads to what the interface of the current method documents. A pointer
    /// with a size is NULL, or leads to that number of bytes.
    unsafe fn trust(self) -> Self::Trusted;
}

impl<T> Argument for *const T {
    type Trusted = Ptr<T>;

    #[inline]
    unsafe fn trust(self) -> Ptr<T> {
        // SAFETY: the caller's promise is that of `Ptr::new`.
        unsafe { Ptr::new(self) }
    }
}

impl<T> Argument for *mut T {
    type Trusted = OutPtr<T>;

    #[inline]
    unsafe fn trust(self) -> OutPtr<T> {
        OutPtr(self)
    }
}

impl Argument for (u32, *const u8) {
    type Trusted = Bytes;

    #[inline]
    unsafe fn trust(self) -> Bytes {
        let (size, pointer) = self;
        Bytes {
            pointer,
            size: to_usize(size),
        }
    }
}

impl Argument for (u32, *mut u8) {
    type Trusted = OutBytes;

    #[inline]
    unsafe fn trust(self) -> OutBytes {
        let (size, pointer) = self;
        OutBytes {
            pointer,
            size: to_usize(size),
        }
    }
}

impl Argument for i32 {
    type Trusted = Self;

    #[inline]
    unsafe fn trust(self) -> Self {
        self
    }
}

impl Argument for u32 {
    type Trusted = Self;

    #[inline]
    unsafe fn trust(self) -> Self {
        self
    }
}

/// Converts a size that a client passes.
pub(super) fn to_usize(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Conversion of a method's result into the return value of its vtable entry.
pub(super) trait IntoReturnValue<T> {
    fn into_return_value(self) -> T;
}

impl<T> IntoReturnValue<T> for T {
    #[inline]
    fn into_return_value(self) -> T {
        self
    }
}

impl IntoReturnValue<HRESULT> for () {
    #[inline]
    fn into_return_value(self) -> HRESULT {
        S_OK
    }
}

impl<T: IntoReturnValue<HRESULT>> IntoReturnValue<HRESULT> for Result<T, HRESULT> {
    #[inline]
    fn into_return_value(self) -> HRESULT {
        self.map_or_else(|error| error, T::into_return_value)
    }
}

/// Return value of a vtable entry whose method panics.
pub(super) trait PanicValue {
    const PANIC_VALUE: Self;
}

impl PanicValue for HRESULT {
    const PANIC_VALUE: Self = E_UNEXPECTED;
}

impl PanicValue for i32 {
    const PANIC_VALUE: Self = 0;
}

impl PanicValue for u32 {
    const PANIC_VALUE: Self = 0;
}

impl PanicValue for () {
    const PANIC_VALUE: Self = ();
}

impl<T> PanicValue for *mut T {
    const PANIC_VALUE: Self = ptr::null_mut();
}

/// Calls a method. If it panics, returns [`PanicValue::PANIC_VALUE`] instead of unwinding.
///
/// The crate's own methods have no path that panics, but they call code of users, such as
/// [`KsDriver`](super::KsDriver).
#[inline]
pub(super) fn catch_panic<R: PanicValue>(method: impl FnOnce() -> R) -> R {
    let mut result = R::PANIC_VALUE;
    catch_panics(|| result = method());
    result
}

/// Sets `*out` to NULL, as `QueryInterface` does first. Returns the requested interface id.
///
/// # Errors
///
/// `E_POINTER` if a pointer is NULL.
pub(super) fn requested_interface(
    iid: &Ptr<GUID>,
    out: &OutPtr<*mut c_void>,
) -> Result<GUID, HRESULT> {
    out.put(ptr::null_mut())?;
    iid.get().ok_or(E_POINTER)
}

/// Makes a vtable entry from a method of an object: `entry!(find => method(name: Type) -> Type)`.
/// `find` makes the object from `this`, and the types are those of the interface.
///
/// If the method takes the parameters in another form, its arguments follow after a semicolon:
/// `entry!(find => method(size: u32, out: *mut u8; (size, out)) -> HRESULT)`.
macro_rules! entry {
    ($find:path => $method:ident($($parameter:ident: $type:ty),*) $(-> $result:ty)?) => {
        $crate::com::boundary::entry!(
            $find => $method($($parameter: $type),*; $($parameter),*) $(-> $result)?
        )
    };
    (
        $find:path => $method:ident($($parameter:ident: $type:ty),*; $($argument:expr),*)
        $(-> $result:ty)?
    ) => {{
        unsafe extern "system" fn entry(
            this: *mut ::std::ffi::c_void,
            $($parameter: $type),*
        ) $(-> $result)? {
            $crate::com::boundary::catch_panic(|| $(-> $result)? {
                // SAFETY: by the rules of COM, `this` is a pointer to the interface whose vtable
                // has this entry, and the caller has a reference to the object.
                let object = unsafe { $find(this) };
                let result = object.$method($(
                    // SAFETY: by the rules of COM, a pointer that a client passes is NULL or leads
                    // to what the interface documents, until the call returns.
                    unsafe { $crate::com::boundary::Argument::trust($argument) }
                ),*);
                $crate::com::boundary::IntoReturnValue::into_return_value(result)
            })
        }
        entry
    }};
}

/// Makes a vtable from the vtable of the base interface and an [`entry`] for each slot after it.
macro_rules! vtable {
    (
        $vtable:ident for $find:path;
        base: $base:expr;
        $($slot:ident: $method:ident($($parameters:tt)*) $(-> $result:ty)?;)+
    ) => {
        $vtable {
            base__: $base,
            $($slot: $crate::com::boundary::entry!(
                $find => $method($($parameters)*) $(-> $result)?
            ),)+
        }
    };
}

pub(super) use {entry, vtable};

#[cfg(test)]
mod tests {
    use super::super::layouts::{ALLOCATOR_PROPERTIES_EX, AM_MEDIA_TYPE};
    use super::*;

    /// Compiles only if the type does not implement the trait: otherwise both implementations of
    /// `Probe` apply, and the compiler cannot choose.
    macro_rules! assert_not_implemented {
        ($type:ty: $trait:ident) => {{
            trait Probe<Marker> {
                fn probe() {}
            }
            impl<T> Probe<()> for T {}
            impl<T: $trait> Probe<u8> for T {}
            <$type as Probe<_>>::probe();
        }};
    }

    /// The arguments that an entry makes from a pointer to a local value.
    fn ptr<T>(value: *const T) -> Ptr<T> {
        // SAFETY: every test passes NULL or a pointer to an initialized local value.
        unsafe { Ptr::new(value) }
    }

    fn bytes(size: u32, pointer: *const u8) -> Bytes {
        // SAFETY: every test passes NULL or a pointer to that number of bytes.
        unsafe { (size, pointer).trust() }
    }

    fn out_bytes(size: u32, pointer: *mut u8) -> OutBytes {
        // SAFETY: every test passes NULL or a pointer to that number of bytes.
        unsafe { (size, pointer).trust() }
    }

    #[test]
    fn types_with_invalid_values_cannot_be_read_from_a_client() {
        assert_not_implemented!(bool: AnyBits);
        assert_not_implemented!(char: AnyBits);
        assert_not_implemented!(&'static u32: AnyBits);
        assert_not_implemented!(std::num::NonZeroU32: AnyBits);
    }

    #[test]
    fn types_with_padding_cannot_be_copied_to_a_client() {
        assert_not_implemented!((u8, u32): NoPadding);
        assert_not_implemented!(AM_MEDIA_TYPE: NoPadding);
        assert_not_implemented!(ALLOCATOR_PROPERTIES_EX: NoPadding);
        assert_not_implemented!(AM_SAMPLE2_PROPERTIES: NoPadding);
    }

    #[test]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the addresses are odd on purpose"
    )]
    fn a_value_is_read_at_any_address() {
        let source = [0, 1, 2, 3, 4, 5, 6, 7_u8];
        for start in 0..4 {
            let bytes = *source[start..].first_chunk().unwrap();
            let value = ptr((&raw const source[start]).cast::<u32>());
            assert_eq!(value.get(), Some(u32::from_ne_bytes(bytes)));
        }
        assert_eq!(ptr::<u32>(ptr::null()).get(), None);
    }

    #[test]
    fn a_copy_ends_with_the_buffer_or_the_value() {
        let source = [1, 1, 1, 1, 1, 1];
        for size in 0..=6 {
            let mut value = u32::MAX;
            let copied = bytes(size, source.as_ptr()).copy_to(&mut value);
            let expected = size.min(4) as usize;
            assert_eq!(copied, Ok(expected));
            let bytes = value.to_ne_bytes();
            assert_eq!(bytes[..expected], source[..expected]);
            assert_eq!(bytes[expected..], [u8::MAX; 4][expected..]);
        }
        let truncated = bytes(6, source.as_ptr()).truncate(3);
        assert_eq!(truncated.copy_to(&mut 0_u32), Ok(3));
        assert_eq!(bytes(6, ptr::null()).copy_to(&mut 0_u32), Err(E_POINTER));
    }

    #[test]
    fn a_write_ends_with_the_buffer() {
        for (size, offset) in (0..=6).flat_map(|size| (0..=8).map(move |offset| (size, offset))) {
            let mut target = [7; 6];
            let out = out_bytes(6, target.as_mut_ptr()).truncate(size);
            out.clear().unwrap();
            out.put_at(offset, u32::MAX).unwrap();
            let expected: Vec<_> = (0..6)
                .map(|at| match at {
                    at if at >= size => 7,
                    at if (offset..offset + 4).contains(&at) => u8::MAX,
                    _ => 0,
                })
                .collect();
            assert_eq!(target[..], expected, "{size} bytes, offset {offset}");
        }
        let null = out_bytes(6, ptr::null_mut());
        assert_eq!(null.clear(), Err(E_POINTER));
        assert_eq!(null.put_at(0, 1_u32), Err(E_POINTER));
    }

    #[test]
    fn a_panic_becomes_a_return_value() {
        assert_eq!(
            catch_panic(|| -> HRESULT { panic!("for the test") }),
            E_UNEXPECTED
        );
        assert_eq!(catch_panic(|| -> u32 { panic!("for the test") }), 0);
    }
}
