//! What stands between a method and its caller: COM's pointers and calling convention on one side,
//! safe Rust on the other, and no panic across.
//!
//! The methods of the objects are safe functions. What they would have to trust a client for is
//! trusted here, once, in the entries of the vtables: that `this` is an object, and that a pointer is
//! NULL or leads to what the interface says. From there on it is an [`In`] or an [`Out`].

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use windows_core::{GUID, HRESULT};

use super::constants::{E_POINTER, E_UNEXPECTED, S_OK};

/// A client's pointer to something to be read, until the method returns; or NULL.
pub(super) struct In<T>(*const T);

impl<T> In<T> {
    pub(super) fn as_ptr(&self) -> *const T {
        self.0
    }

    /// The same for what it begins with.
    pub(super) fn cast<U>(&self) -> In<U> {
        In(self.0.cast())
    }
}

impl<T: Copy> In<T> {
    /// What is there; `None` if the pointer is NULL.
    pub(super) fn get(&self) -> Option<T> {
        // SAFETY: it can be read, as the client promised, and may lie anywhere.
        (!self.0.is_null()).then(|| unsafe { self.0.read_unaligned() })
    }
}

/// A client's pointer to where a result goes, until the method returns; or NULL.
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(super) fn as_ptr(&self) -> *mut T {
        self.0
    }

    /// Puts a result there.
    ///
    /// # Errors
    ///
    /// `E_POINTER` if the pointer is NULL.
    #[inline]
    pub(super) fn put(&self, value: T) -> Result<(), HRESULT> {
        self.check()?;
        // SAFETY: it can be written, as the client promised, and may lie anywhere.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

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

/// What arrives at an entry, and what the method gets.
pub(super) trait Argument {
    type Trusted;

    /// # Safety
    ///
    /// A pointer is NULL, or leads to what the method's interface says.
    unsafe fn trust(self) -> Self::Trusted;
}

impl<T> Argument for *const T {
    type Trusted = In<T>;

    #[inline]
    unsafe fn trust(self) -> In<T> {
        In(self)
    }
}

impl<T> Argument for *mut T {
    type Trusted = Out<T>;

    #[inline]
    unsafe fn trust(self) -> Out<T> {
        Out(self)
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

/// What a method returns, as the client gets it.
pub(super) trait Returned<T> {
    fn returned(self) -> T;
}

impl<T> Returned<T> for T {
    #[inline]
    fn returned(self) -> T {
        self
    }
}

impl Returned<HRESULT> for () {
    #[inline]
    fn returned(self) -> HRESULT {
        S_OK
    }
}

impl<T: Returned<HRESULT>> Returned<HRESULT> for Result<T, HRESULT> {
    #[inline]
    fn returned(self) -> HRESULT {
        self.map_or_else(|error| error, T::returned)
    }
}

/// What a client gets from a method that panics.
pub(super) trait Broken {
    const BROKEN: Self;
}

impl Broken for HRESULT {
    const BROKEN: Self = E_UNEXPECTED;
}

impl Broken for i32 {
    const BROKEN: Self = 0;
}

impl Broken for u32 {
    const BROKEN: Self = 0;
}

impl Broken for () {
    const BROKEN: Self = ();
}

impl<T> Broken for *mut T {
    const BROKEN: Self = ptr::null_mut();
}

/// Calls a method; its panic ends here.
///
/// The crate's own methods have no path that panics, but they call what is others', such as
/// [`KsDriver`](super::KsDriver).
#[inline]
pub(super) fn boundary<R: Broken>(method: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(method)) {
        Ok(result) => result,
        Err(payload) => {
            // Leaked: to drop it could panic again.
            let _payload = ManuallyDrop::new(payload);
            R::BROKEN
        }
    }
}

/// Which interface a caller of `QueryInterface` wants; where it wants it is NULL from now on.
pub(super) fn asked_for(iid: &In<GUID>, out: &Out<*mut c_void>) -> Result<GUID, HRESULT> {
    out.put(ptr::null_mut())?;
    iid.get().ok_or(E_POINTER)
}

/// Makes an entry of a vtable from a method of an object:
/// `entry!(Object::find => method(argument: Type) -> Type)`, where `Object::find` makes the object
/// out of `this`, and the types are those of the interface.
macro_rules! entry {
    ($find:path => $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {{
        unsafe extern "system" fn entry(
            this: *mut ::std::ffi::c_void,
            $($argument: $type),*
        ) $(-> $result)? {
            $crate::com::boundary::boundary(|| $(-> $result)? {
                // SAFETY: by the rules of COM `this` is a pointer to the interface whose table has
                // this entry, and the caller has a reference on the object.
                let object = unsafe { $find(this) };
                $(
                    // SAFETY: by the rules of COM.
                    let $argument = unsafe { $crate::com::boundary::Argument::trust($argument) };
                )*
                let result = object.$method($($argument),*);
                $crate::com::boundary::Returned::returned(result)
            })
        }
        entry
    }};
}

/// Makes a vtable from that of the interface's base and an [`entry`] for each slot after it.
macro_rules! table {
    (
        $table:ident for $find:path;
        base: $base:expr;
        $($slot:ident: $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+
    ) => {
        $table {
            base__: $base,
            $($slot: $crate::com::boundary::entry!(
                $find => $method($($argument: $type),*) $(-> $result)?
            ),)+
        }
    };
}

pub(super) use {entry, table};
