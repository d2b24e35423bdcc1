//! Writing to the standard error stream from a signal handler.

/// Writes a message to the standard error stream. A failure is ignored.
///
/// The function is async-signal-safe: it makes only the system call `write`. It changes `errno`
/// only if that call fails.
pub(crate) fn write(message: &[u8]) {
    let mut rest = message;
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of a slice. Any descriptor may be passed: if
        // it is closed, `write` fails with EBADF.
        let written = unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
        let Ok(written @ 1..) = usize::try_from(written) else {
            return;
        };
        rest = rest.get(written..).unwrap_or_default();
    }
}
