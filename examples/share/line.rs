//! The line between two processes, one of which has started the other: bytes both ways, and a kernel
//! object one way.
//!
//! | | bytes | the object |
//! |---|---|---|
//! | Unix | a pair of sockets; one is the other process's standard input | comes with a byte (`SCM_RIGHTS`) |
//! | Windows | pipes to its standard input and from its standard output | is duplicated into it; its number is sent |

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, Command};

use ks_allocator::OwnedKernelObject;

pub(crate) use self::system::borrow;

pub(crate) struct Line {
    ends: system::Ends,
    bytes: u64,
}

impl Line {
    /// Starts a process with a line to it.
    pub(crate) fn start(command: Command) -> io::Result<(Child, Self)> {
        let (child, ends) = system::start(command)?;
        Ok((child, Self { ends, bytes: 0 }))
    }

    /// The line to the process that has started this one.
    pub(crate) fn to_the_starter() -> io::Result<Self> {
        let ends = system::to_the_starter()?;
        Ok(Self { ends, bytes: 0 })
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.ends.write_all(message)?;
        self.bytes += message.len() as u64;
        self.ends.flush()
    }

    /// The next message; `None` if the other end was closed before all of it came.
    pub(crate) fn receive<const BYTES: usize>(&mut self) -> io::Result<Option<[u8; BYTES]>> {
        let mut message = [0; BYTES];
        match self.ends.read_exact(&mut message) {
            Ok(()) => {
                self.bytes += BYTES as u64;
                Ok(Some(message))
            }
            Err(error) => match error.kind() {
                // The latter from a process that ended before it had read everything.
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        system::end(&mut self.ends)
    }

    /// Bytes that were sent and received.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the process that was started a kernel object, before anything else is sent.
    pub(crate) fn send_object(&mut self, to: &Child, object: &OwnedKernelObject) -> io::Result<()> {
        system::send_object(&mut self.ends, to, object)
    }

    pub(crate) fn receive_object(&mut self) -> io::Result<OwnedKernelObject> {
        system::receive_object(&mut self.ends)
    }
}

#[cfg(unix)]
mod system {
    use std::io::{IoSlice, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::net::Shutdown;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use rustix::cmsg_space;
    use rustix::net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    };

    use super::{Child, Command, ErrorKind, io};

    pub(super) type Ends = UnixStream;

    pub(super) fn start(mut command: Command) -> io::Result<(Child, Ends)> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        // Their end goes with the command: from here on it is the other process's alone.
        Ok((child, ours))
    }

    pub(super) fn to_the_starter() -> io::Result<Ends> {
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    pub(super) fn end(ends: &mut Ends) -> io::Result<()> {
        ends.shutdown(Shutdown::Write)
    }

    pub(crate) fn borrow(object: &OwnedFd) -> BorrowedFd<'_> {
        object.as_fd()
    }

    pub(super) fn send_object(ends: &mut Ends, _to: &Child, object: &OwnedFd) -> io::Result<()> {
        let objects = [object.as_fd()];
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut attached = SendAncillaryBuffer::new(&mut room);
        attached.push(SendAncillaryMessage::ScmRights(&objects));
        sendmsg(
            ends,
            &[IoSlice::new(&[0])],
            &mut attached,
            SendFlags::empty(),
        )?;
        Ok(())
    }

    pub(super) fn receive_object(ends: &mut Ends) -> io::Result<OwnedFd> {
        let mut room = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut attached = RecvAncillaryBuffer::new(&mut room);
        let mut byte = [0];
        let byte = &mut [IoSliceMut::new(&mut byte)];
        recvmsg(ends, byte, &mut attached, RecvFlags::CMSG_CLOEXEC)?;
        let mut objects = attached.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut objects) => objects.next(),
            _ => None,
        });
        objects
            .next()
            .ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(windows)]
mod system {
    use std::io::{Stdin, Stdout};
    use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
    use std::process::{ChildStdin, ChildStdout, Stdio};
    use std::ptr;

    use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle};
    use windows_sys::Win32::System::Threading::GetCurrentProcess;

    use super::{Child, Command, ErrorKind, Read, Write, io};

    pub(super) enum Ends {
        OfStarter(ChildStdout, Option<ChildStdin>),
        OfStarted(Stdin, Stdout),
    }

    pub(super) fn start(mut command: Command) -> io::Result<(Child, Ends)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let from = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let to = child.stdin.take();
        Ok((child, Ends::OfStarter(from, to)))
    }

    pub(super) fn to_the_starter() -> io::Result<Ends> {
        Ok(Ends::OfStarted(io::stdin(), io::stdout()))
    }

    pub(super) fn end(ends: &mut Ends) -> io::Result<()> {
        if let Ends::OfStarter(_, to) = ends {
            drop(to.take());
        }
        Ok(())
    }

    impl Read for Ends {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            match self {
                Self::OfStarter(from, _) => from.read(bytes),
                Self::OfStarted(from, _) => from.read(bytes),
            }
        }
    }

    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self {
                Self::OfStarter(_, Some(to)) => to.write(bytes),
                Self::OfStarter(_, None) => Err(ErrorKind::BrokenPipe.into()),
                Self::OfStarted(_, to) => to.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            match self {
                Self::OfStarter(..) => Ok(()),
                Self::OfStarted(_, to) => to.flush(),
            }
        }
    }

    pub(crate) fn borrow(object: &OwnedHandle) -> BorrowedHandle<'_> {
        object.as_handle()
    }

    pub(super) fn send_object(ends: &mut Ends, to: &Child, object: &OwnedHandle) -> io::Result<()> {
        let mut theirs = ptr::null_mut();
        // SAFETY: takes no arguments; the pseudo handle need not be closed.
        #[expect(
            unsafe_code,
            reason = "the standard library duplicates within a process only"
        )]
        let process = unsafe { GetCurrentProcess() };
        // SAFETY: the handles are open, and `theirs` can be written.
        #[expect(
            unsafe_code,
            reason = "the standard library duplicates within a process only"
        )]
        let done = unsafe {
            DuplicateHandle(
                process,
                object.as_raw_handle(),
                to.as_raw_handle(),
                &raw mut theirs,
                0,
                0,
                DUPLICATE_SAME_ACCESS,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        let number = theirs.expose_provenance() as u64;
        ends.write_all(&number.to_le_bytes())
    }

    pub(super) fn receive_object(ends: &mut Ends) -> io::Result<OwnedHandle> {
        let mut number = [0; 8];
        ends.read_exact(&mut number)?;
        let number = usize::try_from(u64::from_le_bytes(number));
        let handle = ptr::with_exposed_provenance_mut(number.map_err(io::Error::other)?);
        // SAFETY: the starter has made this handle for us.
        #[expect(unsafe_code, reason = "a handle comes as a number")]
        let object = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(object)
    }
}
