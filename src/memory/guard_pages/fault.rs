//! Handlers of faults: they explain what they can, and go on to whoever was there before.
//!
//! They are installed once and stay. A handler neither locks nor allocates, and is short of stack.

pub(super) use self::imp::install;

#[cfg(unix)]
mod imp {
    use std::ffi::{c_int, c_void};
    use std::mem::{self, MaybeUninit};
    use std::ptr;

    use libc::{sigaction, siginfo_t};

    use crate::sync::{AtomicPtr, OnceLock, Ordering};

    use super::super::explain;

    /// Linux says `SIGSEGV` of pages that may not be accessed, others `SIGBUS`.
    static FAULTS: [Fault; 2] = [Fault::new(libc::SIGSEGV), Fault::new(libc::SIGBUS)];

    struct Fault {
        signal: c_int,
        /// What was done about it before; NULL stands for the default. Leaked, for a handler may be
        /// reading it.
        previous: AtomicPtr<sigaction>,
    }

    type Handler = unsafe extern "C" fn(c_int);
    type HandlerWithInfo = unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

    /// What a handler is called with.
    #[derive(Clone, Copy)]
    struct Call {
        info: *mut siginfo_t,
        context: *mut c_void,
        /// Whether it came from an access, and not from a process.
        is_fault: bool,
    }

    /// Installs the handlers, the first time.
    pub(crate) fn install() {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(|| FAULTS.iter().for_each(Fault::install));
    }

    impl Fault {
        const fn new(signal: c_int) -> Self {
            Self {
                signal,
                previous: AtomicPtr::new(ptr::null_mut()),
            }
        }

        /// A system that has no such signal keeps its ways, and says nothing.
        fn install(&self) {
            // Before ours is there, so that it knows how to go on from its first moment; and then what
            // it has really replaced, if somebody was faster in between.
            if let Ok(seen) = self.set(None) {
                self.remember(seen);
            }
            if let Ok(replaced) = self.set(Some(&ours())) {
                self.remember(replaced);
            }
        }

        fn remember(&self, action: sigaction) {
            let kept = Box::leak(Box::new(action));
            // Release: pairs with the Acquire in `go_on`, hands over what is in it.
            self.previous.store(kept, Ordering::Release);
        }

        /// Sets what is done about the signal, if that is to be changed, and returns what was done before.
        fn set(&self, new: Option<&sigaction>) -> Result<sigaction, ()> {
            let new = new.map_or(ptr::null(), ptr::from_ref);
            let mut old = MaybeUninit::uninit();
            // SAFETY: `new` is NULL or an action, whose handler is one; there is room for the old one.
            match unsafe { sigaction(self.signal, new, old.as_mut_ptr()) } {
                // SAFETY: it was written.
                0 => Ok(unsafe { old.assume_init() }),
                _ => Err(()),
            }
        }

        /// Does what would have been done without us.
        ///
        /// # Safety
        ///
        /// The call is the one of our handler that is going on.
        unsafe fn go_on(&self, call: Call) {
            // Acquire: pairs with the Release in `remember`.
            let previous = self.previous.load(Ordering::Acquire);
            // SAFETY: NULL, or leaked and never changed.
            let Some(previous) = (unsafe { previous.as_ref() }) else {
                return self.give_up(call);
            };
            match previous.sa_sigaction {
                libc::SIG_DFL => self.give_up(call),
                // Of a fault the system ignores that it is to be ignored.
                libc::SIG_IGN if call.is_fault => self.give_up(call),
                libc::SIG_IGN => {}
                // SAFETY: the caller's promise; and these are the two numbers that are no handlers.
                _ => unsafe { self.call(previous, call) },
            }
        }

        /// Takes our handler away. A fault then happens again, in the same place, and does what it does;
        /// what somebody has sent is sent again, and comes when we return.
        fn give_up(&self, call: Call) {
            // It was there before, so it can be set.
            let _ours = self.set(Some(&action(libc::SIG_DFL)));
            if !call.is_fault {
                // SAFETY: sends a signal, which is blocked until the handler returns.
                unsafe { libc::raise(self.signal) };
            }
        }

        /// Calls the handler of the action, as the system would.
        ///
        /// # Safety
        ///
        /// It has one; the call is the one of our handler that is going on.
        unsafe fn call(&self, action: &sigaction, call: Call) {
            // SAFETY: both are signal sets; a thread may block signals for itself, and what it had
            // blocked comes back when our handler returns.
            unsafe {
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const action.sa_mask, ptr::null_mut())
            };
            let flags = action.sa_flags;
            if flags & libc::SA_NODEFER != 0 {
                self.unblock();
            }
            if flags & libc::SA_RESETHAND != 0 {
                // Release: nothing goes with it, but one ordering for all is easier to follow.
                self.previous.store(ptr::null_mut(), Ordering::Release);
            }
            let handler = ptr::with_exposed_provenance::<()>(action.sa_sigaction);
            if flags & libc::SA_SIGINFO != 0 {
                // SAFETY: a handler, which takes these arguments, by the flag.
                let handler = unsafe { mem::transmute::<*const (), HandlerWithInfo>(handler) };
                // SAFETY: called as the system would have.
                unsafe { handler(self.signal, call.info, call.context) };
            } else {
                // SAFETY: a handler, which takes only the number, without the flag.
                let handler = unsafe { mem::transmute::<*const (), Handler>(handler) };
                // SAFETY: called as the system would have.
                unsafe { handler(self.signal) };
            }
        }

        fn unblock(&self) {
            let mut set = MaybeUninit::uninit();
            // SAFETY: there is room for a set.
            unsafe { libc::sigemptyset(set.as_mut_ptr()) };
            // SAFETY: it was emptied, and so initialised.
            unsafe { libc::sigaddset(set.as_mut_ptr(), self.signal) };
            // SAFETY: a signal set.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
        }
    }

    #[expect(
        clippy::fn_to_numeric_cast_any,
        reason = "to a pointer, of which the structure wants the number"
    )]
    fn ours() -> sigaction {
        let handler: HandlerWithInfo = on_fault;
        let mut ours = action((handler as *const ()).expose_provenance());
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        ours
    }

    /// An action with no flags that blocks nothing but its own signal.
    fn action(handler: usize) -> sigaction {
        // SAFETY: a structure of numbers and of pointers that may be NULL.
        let mut action = unsafe { mem::zeroed::<sigaction>() };
        action.sa_sigaction = handler;
        // SAFETY: there is room for a set.
        unsafe { libc::sigemptyset(&raw mut action.sa_mask) };
        action
    }

    /// On Linux neither this nor what it calls changes `errno`, but for a line that cannot be written.
    ///
    /// # Safety
    ///
    /// The system calls it.
    unsafe extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the system hands a valid one to a handler that asks for it.
        let about = unsafe { &*info };
        let is_fault = about.si_code > 0;
        if is_fault {
            // SAFETY: of a fault there is an address.
            let address = unsafe { about.si_addr() };
            explain(address.addr());
        }
        let call = Call {
            info,
            context,
            is_fault,
        };
        if let Some(fault) = FAULTS.iter().find(|fault| fault.signal == signal) {
            // SAFETY: the call that is going on.
            unsafe { fault.go_on(call) };
        }
    }
}

#[cfg(windows)]
mod imp {
    use windows_sys::Win32::Foundation::EXCEPTION_ACCESS_VIOLATION;
    use windows_sys::Win32::System::Diagnostics::Debug::{
        AddVectoredExceptionHandler, EXCEPTION_CONTINUE_SEARCH, EXCEPTION_POINTERS,
    };

    use crate::sync::OnceLock;

    use super::super::explain;

    /// Installs the handler, the first time, behind those that are there: what they handle needs no
    /// explanation.
    pub(crate) fn install() {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(|| {
            // SAFETY: the handler is one, and is there for as long as the program.
            let handle = unsafe { AddVectoredExceptionHandler(0, Some(on_fault)) };
            // A system that refuses keeps its ways, and says nothing.
            let _stays = handle;
        });
    }

    /// # Safety
    ///
    /// The system calls it.
    unsafe extern "system" fn on_fault(exception: *mut EXCEPTION_POINTERS) -> i32 {
        // SAFETY: the system hands a valid one to a handler.
        let record = unsafe { (*exception).ExceptionRecord };
        // SAFETY: likewise.
        let record = unsafe { &*record };
        // What was tried, and where.
        if record.ExceptionCode == EXCEPTION_ACCESS_VIOLATION && record.NumberParameters >= 2 {
            explain(record.ExceptionInformation[1]);
        }
        EXCEPTION_CONTINUE_SEARCH
    }
}
