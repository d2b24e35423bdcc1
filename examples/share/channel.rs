//! Channel between a process and its child: bytes both ways, and a kernel object to the child.
//!
//! | system | bytes | kernel object |
//! |---|---|---|
//! | Unix | socket pair; one is the child's standard input | attached to a byte (`SCM_RIGHTS`) |
//! | Windows | pipes: standard input and output of the child | duplicated into the child |

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, Command};

use ks_allocator::OwnedKernelObject;

pub(crate) use self::system::borrow;

pub(crate) struct Channel {
    ends: system::Ends,
    bytes: u64,
}

impl Channel {
    /// Starts a child process, and returns the channel to it.
    pub(crate) fn start(command: Command) -> io::Result<(Child, Self)> {
        let (child, ends) = system::start(command)?;
        Ok((child, Self { ends, bytes: 0 }))
    }

    /// Returns the channel to the process that started this one.
    pub(crate) fn to_parent() -> io::Result<Self> {
        let ends = system::to_parent()?;
        Ok(Self { ends, bytes: 0 })
    }

    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.ends.write_all(message)?;
        self.bytes += message.len() as u64;
        self.ends.flush()
    }

    /// Receives the next message. Returns `None` if the other end closes before it is complete.
    pub(crate) fn receive<const BYTES: usize>(&mut self) -> io::Result<Option<[u8; BYTES]>> {
        let mut message = [0; BYTES];
        match self.ends.read_exact(&mut message) {
            Ok(()) => {
                self.bytes += BYTES as u64;
                Ok(Some(message))
            }
            Err(error) => match error.kind() {
                // ConnectionReset: the other process ended before it had read everything.
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Closes the sending direction of the parent's end.
    pub(crate) fn finish_sending(&mut self) -> io::Result<()> {
        system::finish_sending(&mut self.ends)
    }

    /// Returns the number of bytes that were sent and received.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends a kernel object to the child. Must precede all messages.
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
        // `command` is dropped here, and with it this process's copy of the child's end.
        Ok((child, ours))
    }

    pub(super) fn to_parent() -> io::Result<Ends> {
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    pub(super) fn finish_sending(ends: &mut Ends) -> io::Result<()> {
        ends.shutdown(Shutdown::Write)
    }

    pub(crate) fn borrow(object: &OwnedFd) -> BorrowedFd<'_> {
        object.as_fd()
    }

    pub(super) fn send_object(ends: &mut Ends, _to: &Child, object: &OwnedFd) -> io::Result<()> {
        let objects = [object.as_fd()];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
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
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
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
        Parent(ChildStdout, Option<ChildStdin>),
        Child(Stdin, Stdout),
    }

    pub(super) fn start(mut command: Command) -> io::Result<(Child, Ends)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let from = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let to = child.stdin.take();
        Ok((child, Ends::Parent(from, to)))
    }

    pub(super) fn to_parent() -> io::Result<Ends> {
        Ok(Ends::Child(io::stdin(), io::stdout()))
    }

    pub(super) fn finish_sending(ends: &mut Ends) -> io::Result<()> {
        if let Ends::Parent(_, to) = ends {
            drop(to.take());
        }
        Ok(())
    }

    impl Read for Ends {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            match self {
                Self::Parent(from, _) => from.read(bytes),
                Self::Child(from, _) => from.read(bytes),
            }
        }
    }

    impl Write for Ends {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self {
                Self::Parent(_, Some(to)) => to.write(bytes),
                Self::Parent(_, None) => Err(ErrorKind::BrokenPipe.into()),
                Self::Child(_, to) => to.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            match self {
                Self::Parent(..) => Ok(()),
                Self::Child(_, to) => to.flush(),
            }
        }
    }

    pub(crate) fn borrow(object: &OwnedHandle) -> BorrowedHandle<'_> {
        object.as_handle()
    }

    pub(super) fn send_object(ends: &mut Ends, to: &Child, object: &OwnedHandle) -> io::Result<()> {
        let mut theirs = ptr::null_mut();
        // SAFETY: the call has no preconditions, and its pseudo handle is not closed.
        #[expect(
            unsafe_code,
            reason = "the standard library duplicates handles within a process only"
        )]
        let process = unsafe { GetCurrentProcess() };
        // SAFETY: all three handles are open, and `theirs` is a valid place for a handle.
        #[expect(
            unsafe_code,
            reason = "the standard library duplicates handles within a process only"
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
        // SAFETY: the parent made this handle for this process alone, and sent its number once.
        #[expect(unsafe_code, reason = "the handle arrives as a number")]
        let object = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(object)
    }
}
