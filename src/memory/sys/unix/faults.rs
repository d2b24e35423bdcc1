//! Signal handlers for memory access faults.
//!
//! The handlers report the address of a fault and then do what the process would have done without
//! them. A handler may run on a small signal stack; it takes no lock and allocates no memory.
//!
//! # Removal
//!
//! The handlers are code of the library that contains this crate. When the library is unloaded, no
//! action of the process may lead to them. [`remove`] therefore restores the previous action of
//! each signal, if the current action is ours. Otherwise other code has replaced ours, and may call
//! it from its own handler: then ours stays, and the library is kept loaded until the process ends.
//! It is also kept if a thread is in one of the handlers.

use std::ffi::{CStr, c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr;

use libc::{sigaction, siginfo_t};

use crate::sync::{AtomicPtr, AtomicUsize, OnceLock, Ordering, unmodeled};

/// Linux raises `SIGSEGV` for an access to protected pages. Some other systems raise `SIGBUS`.
static FAULTS: [Fault; 2] = [Fault::new(libc::SIGSEGV), Fault::new(libc::SIGBUS)];

/// The function that the handlers call with the address of a fault.
static REPORT: OnceLock<fn(usize)> = OnceLock::new();

/// Number of threads in the handlers. A previous handler that does not return, but jumps out,
/// leaves its thread counted.
static HANDLING: AtomicUsize = AtomicUsize::new(0);

struct Fault {
    signal: c_int,
    /// The previous action for the signal; NULL stands for the default action. It is one of
    /// `known`.
    previous: AtomicPtr<sigaction>,
    /// State of the installation, for [`install`] and [`remove`].
    installation: unmodeled::Mutex<Installation>,
}

struct Installation {
    /// True while an action of the process may lead to our handler.
    is_installed: bool,
    /// All actions that were previous ones so far. They are never freed, because a handler may be
    /// reading them, and kept for the next time that they are.
    known: Vec<&'static sigaction>,
}

type Handler = unsafe extern "C" fn(c_int);
type HandlerWithInfo = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

/// The arguments of a call of the handler.
#[derive(Clone, Copy)]
struct Invocation {
    info: *mut siginfo_t,
    context: *mut c_void,
    /// True if a memory access raised the signal, false if a process sent it.
    is_fault: bool,
}

/// Installs the handlers. They call `report` with the address of each fault.
///
/// `report` takes no lock and allocates no memory.
pub(crate) fn install(report: fn(usize)) {
    REPORT.get_or_init(|| report);
    FAULTS.iter().for_each(Fault::install);
}

/// Removes the handlers, or keeps this library loaded if other code may still call them.
pub(crate) fn remove() {
    let removed = FAULTS.each_ref().map(Fault::remove);
    // Acquire: pairs with the Release in `on_fault`. The handlers have read what is in this library
    // before it is unloaded.
    if removed.contains(&false) || HANDLING.load(Ordering::Acquire) != 0 {
        keep_loaded();
    }
}

/// Keeps the library or program that contains this crate loaded until the process ends.
fn keep_loaded() {
    let mut place = MaybeUninit::<libc::Dl_info>::zeroed();
    let address = ptr::from_ref(&FAULTS).cast();
    // SAFETY: any address may be looked up, and `place` has room for the result.
    if unsafe { libc::dladdr(address, place.as_mut_ptr()) } == 0 {
        // A statically linked program, which cannot be unloaded.
        return;
    }
    // SAFETY: the call succeeded and so has filled `place`.
    let name = unsafe { place.assume_init() }.dli_fname;
    if name.is_null() {
        return;
    }
    // SAFETY: the system returned a string, which exists as long as this library.
    let name = unsafe { CStr::from_ptr(name) };
    let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: `RTLD_NOLOAD` loads nothing, so no initializer runs. The handle is not used: the
    // library stays loaded without it. A program is not found by its name, and needs no handle.
    let _handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
}

impl Fault {
    const fn new(signal: c_int) -> Self {
        Self {
            signal,
            previous: AtomicPtr::new(ptr::null_mut()),
            installation: unmodeled::Mutex::new(Installation {
                is_installed: false,
                known: Vec::new(),
            }),
        }
    }

    /// Installs the handler for this signal. On a system that refuses, faults are not reported.
    fn install(&self) {
        let mut installation = self.installation.lock();
        // A handler that could not be removed is called by the one that replaced it. To install it
        // again on top of that one would make a circle.
        if installation.is_installed {
            return;
        }
        // The previous action is stored before our handler can run. It is stored again afterwards,
        // because another thread may have changed the action in between.
        if let Ok(seen) = self.set_action(None) {
            self.remember(seen, &mut installation);
        }
        if let Ok(replaced) = self.set_action(Some(&our_action())) {
            self.remember(replaced, &mut installation);
            installation.is_installed = true;
        }
    }

    /// Restores the previous action if the current one is ours, and returns whether no action leads
    /// to our handler any more.
    fn remove(&self) -> bool {
        let mut installation = self.installation.lock();
        if !installation.is_installed {
            return true;
        }
        if !self.set_action(None).is_ok_and(|current| is_ours(&current)) {
            return false;
        }
        // Acquire: pairs with the Release in `remember`.
        let previous = self.previous.load(Ordering::Acquire);
        // SAFETY: the pointer is NULL or points to an action that is never freed and never changes.
        let previous = unsafe { previous.as_ref() }.copied();
        let previous = previous.unwrap_or_else(|| action(libc::SIG_DFL));
        match self.set_action(Some(&previous)) {
            Ok(replaced) if is_ours(&replaced) => installation.is_installed = false,
            // Another thread has changed the action since it was looked at. Its action is restored.
            Ok(replaced) => drop(self.set_action(Some(&replaced))),
            Err(()) => {}
        }
        !installation.is_installed
    }

    /// Makes an action the previous one.
    fn remember(&self, action: sigaction, installation: &mut Installation) {
        // Other code has set a copy of our action again. Ours must not call itself.
        if is_ours(&action) {
            return;
        }
        let mut known = installation.known.iter().copied();
        let known = known.find(|known| is_same(known, &action));
        let remembered = known.unwrap_or_else(|| {
            let leaked = &*Box::leak(Box::new(action));
            installation.known.push(leaked);
            leaked
        });
        let remembered = ptr::from_ref(remembered).cast_mut();
        // Release: pairs with the Acquire in `run_previous`, publishes the action.
        self.previous.store(remembered, Ordering::Release);
    }

    /// Replaces the action for the signal, if a new one is given, and returns the old one.
    fn set_action(&self, new: Option<&sigaction>) -> Result<sigaction, ()> {
        let new = new.map_or(ptr::null(), ptr::from_ref);
        // Zeroed: the system does not fill the whole signal set.
        let mut old = MaybeUninit::zeroed();
        // SAFETY: `new` is NULL or points to an action whose handler is a function or `SIG_DFL`;
        // `old` has room for an action.
        match unsafe { sigaction(self.signal, new, old.as_mut_ptr()) } {
            // SAFETY: the call succeeded and so has written `old`. Zero is valid for the rest.
            0 => Ok(unsafe { old.assume_init() }),
            _ => Err(()),
        }
    }

    /// Does what the previous action prescribes.
    ///
    /// # Safety
    ///
    /// The calling thread is in our handler for this signal, which received `invocation`.
    unsafe fn run_previous(&self, invocation: Invocation) {
        // Acquire: pairs with the Release in `remember`.
        let previous = self.previous.load(Ordering::Acquire);
        // SAFETY: the pointer is NULL or points to an action that is never freed and never changes.
        let Some(previous) = (unsafe { previous.as_ref() }) else {
            return self.run_default(invocation);
        };
        match previous.sa_sigaction {
            libc::SIG_DFL => self.run_default(invocation),
            // The system does not let a process ignore a fault.
            libc::SIG_IGN if invocation.is_fault => self.run_default(invocation),
            libc::SIG_IGN => {}
            // SAFETY: the caller is in our handler, and the action has a handler: the two values
            // that stand for no handler were matched before.
            _ => unsafe { self.call_handler(previous, invocation) },
        }
    }

    /// Restores the default action. A fault then happens again at the same instruction. A signal
    /// that a process sent is raised again and delivered when our handler returns.
    fn run_default(&self, invocation: Invocation) {
        // An error is impossible: an action for this signal was set before.
        let _ours = self.set_action(Some(&action(libc::SIG_DFL)));
        if !invocation.is_fault {
            // SAFETY: `raise` accepts every signal number. The signal is blocked until the handler
            // returns.
            unsafe { libc::raise(self.signal) };
        }
    }

    /// Calls the handler of an action in the way the system would.
    ///
    /// # Safety
    ///
    /// The action has a handler. The calling thread is in our handler for this signal, which
    /// received `invocation`.
    unsafe fn call_handler(&self, action: &sigaction, invocation: Invocation) {
        // SAFETY: `sa_mask` is a signal set, and NULL is allowed for the old mask. The system
        // restores the mask of the thread when our handler returns.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const action.sa_mask, ptr::null_mut())
        };
        let flags = action.sa_flags;
        if flags & libc::SA_NODEFER != 0 {
            self.unblock();
        }
        if flags & libc::SA_RESETHAND != 0 {
            // Release: NULL publishes nothing; every store uses the same ordering.
            self.previous.store(ptr::null_mut(), Ordering::Release);
        }
        let handler = ptr::with_exposed_provenance::<()>(action.sa_sigaction);
        if flags & libc::SA_SIGINFO != 0 {
            // SAFETY: with `SA_SIGINFO`, the handler is a function with these three parameters.
            let handler = unsafe { mem::transmute::<*const (), HandlerWithInfo>(handler) };
            // SAFETY: the system would call it with these arguments, which are valid until our
            // handler returns.
            unsafe { handler(self.signal, invocation.info, invocation.context) };
        } else {
            // SAFETY: without `SA_SIGINFO`, the handler is a function of the signal number alone.
            let handler = unsafe { mem::transmute::<*const (), Handler>(handler) };
            // SAFETY: the system would call it with this argument.
            unsafe { handler(self.signal) };
        }
    }

    fn unblock(&self) {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `set` has room for a signal set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: `sigemptyset` has initialized the set.
        unsafe { libc::sigaddset(set.as_mut_ptr(), self.signal) };
        // SAFETY: the set is initialized, and NULL is allowed for the old mask.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
    }
}

#[expect(
    clippy::fn_to_numeric_cast_any,
    reason = "the handler is cast to a pointer, whose address the structure holds"
)]
fn our_handler() -> usize {
    let handler: HandlerWithInfo = on_fault;
    (handler as *const ()).expose_provenance()
}

fn our_action() -> sigaction {
    let mut ours = action(our_handler());
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    ours
}

fn is_ours(action: &sigaction) -> bool {
    action.sa_sigaction == our_handler()
}

/// Returns whether two actions have the same handler, flags and mask.
fn is_same(one: &sigaction, other: &sigaction) -> bool {
    /// Number of signals on Linux, and at least that of other systems.
    const SIGNALS: c_int = 64;
    let blocks = |action: &sigaction, signal| {
        // SAFETY: the set is initialized, and the call fails for signals that do not exist.
        unsafe { libc::sigismember(&raw const action.sa_mask, signal) }
    };
    one.sa_sigaction == other.sa_sigaction
        && one.sa_flags == other.sa_flags
        && (1..=SIGNALS).all(|signal| blocks(one, signal) == blocks(other, signal))
}

/// Creates an action without flags that blocks only its own signal.
fn action(handler: usize) -> sigaction {
    // SAFETY: the structure consists of integers and of an optional function pointer, for all of
    // which zero is a valid value.
    let mut action = unsafe { mem::zeroed::<sigaction>() };
    action.sa_sigaction = handler;
    // SAFETY: `sa_mask` has room for a signal set.
    unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
    action
}

/// The signal handler. On Linux it changes `errno` only if the message cannot be written.
///
/// # Safety
///
/// Only the system calls it, as the handler of an action with `SA_SIGINFO`.
unsafe extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // Relaxed: `remove` cannot see a thread that the system is about to send here in any case.
    HANDLING.fetch_add(1, Ordering::Relaxed);
    // SAFETY: with `SA_SIGINFO` the system passes valid information.
    let details = unsafe { &*info };
    // The system sets a positive code for faults; signals that a process sent have others.
    let is_fault = details.si_code > 0;
    if is_fault {
        if let Some(report) = REPORT.get() {
            // SAFETY: the information of a fault contains an address.
            report(unsafe { details.si_addr() }.addr());
        }
    }
    let invocation = Invocation {
        info,
        context,
        is_fault,
    };
    if let Some(fault) = FAULTS.iter().find(|fault| fault.signal == signal) {
        // SAFETY: this is our handler for that signal, and these are its arguments.
        unsafe { fault.run_previous(invocation) };
    }
    // Release: pairs with the Acquire in `remove`.
    HANDLING.fetch_sub(1, Ordering::Release);
}
