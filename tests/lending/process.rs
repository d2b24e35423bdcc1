//! Other processes: this test program, started again to run the test `other_process` alone.
//!
//! Messages go through the standard input and output of the other process.

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use ks_allocator::{Frame, FramePool, FrameToken, OwnedKernelObject};

use super::support::rerun::{rerun, role};
use super::support::start_process::start_process;
use super::system;

/// The first message of the other process. The test harness prints lines of its own before it.
const READY: &[u8] = b"\n<ready>\n";

/// Another process, as its parent sees it.
pub(crate) struct Peer {
    process: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Peer {
    /// Starts a process in a role, with a handle of the pool's memory.
    pub(crate) fn start(role: &str, pool: &FramePool) -> Self {
        let mut command = rerun("other_process", role);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut process, number) = start_process(|| {
            // Every process that starts while this descriptor is open inherits it.
            let object = pool.try_clone_handle()?;
            system::before_start(&object);
            let process = command.spawn()?;
            let number = system::number_for(&process, &object);
            Ok((process, number))
        });

        let (input, output) = (process.stdin.take(), process.stdout.take().unwrap());
        let mut peer = Self {
            process,
            input,
            output,
        };
        peer.send(&number.to_le_bytes());
        peer.await_ready();
        peer
    }

    fn await_ready(&mut self) {
        let mut seen = Vec::new();
        while !seen.ends_with(READY) {
            let byte: Option<[u8; 1]> = receive(&mut self.output);
            seen.extend(byte.expect("the other process should get ready"));
        }
    }

    fn send(&mut self, message: &[u8]) {
        self.input.as_mut().unwrap().write_all(message).unwrap();
    }

    pub(crate) fn lend(&mut self, frame: Frame) -> FrameToken {
        let token = frame.lend().unwrap();
        self.send(&token.to_bytes());
        token
    }

    /// Waits for the next token. Returns `None` if the process has ended.
    pub(crate) fn returned(&mut self) -> Option<FrameToken> {
        receive(&mut self.output).map(FrameToken::from_bytes)
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        assert!(!self.process.wait().unwrap().success());
    }

    /// Waits for the end of the process, and asserts that it succeeded.
    pub(crate) fn finish(mut self) {
        drop(self.input.take());
        let surplus = self.returned();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(surplus, None);
    }
}

/// The parent, as the other process sees it.
pub(crate) struct Parent;

impl Parent {
    /// Returns the role of this process, the parent, and the kernel object from it. Returns `None`
    /// if this process is no other process.
    pub(crate) fn find() -> Option<(String, Self, OwnedKernelObject)> {
        let role = role()?;
        let number = receive(&mut io::stdin()).unwrap();
        let object = system::from_number(u64::from_le_bytes(number));
        let parent = Self;
        parent.send(READY);
        Some((role, parent, object))
    }

    /// Waits for the next token. Returns `None` if there will be no more.
    pub(crate) fn next(&self) -> Option<FrameToken> {
        receive(&mut io::stdin()).map(FrameToken::from_bytes)
    }

    pub(crate) fn give_back(&self, token: FrameToken) {
        self.send(&token.to_bytes());
    }

    fn send(&self, message: &[u8]) {
        io::stdout().write_all(message).unwrap();
        io::stdout().flush().unwrap();
    }
}

/// Returns `None` if the input ends before the message is complete.
fn receive<const BYTES: usize>(input: &mut impl Read) -> Option<[u8; BYTES]> {
    let mut message = [0; BYTES];
    match input.read_exact(&mut message) {
        Ok(()) => Some(message),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        Err(error) => panic!("{error}"),
    }
}
