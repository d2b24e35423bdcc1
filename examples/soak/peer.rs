//! The other process: it borrows frames, and is killed while it has them. On Linux only, where a
//! process can open the memory of its parent.

use std::process::ExitCode;

use ks_allocator::FramePool;

use crate::BoxError;
use crate::random::Random;

/// The argument that makes the program a peer. The path of the memory follows.
pub(crate) const ARGUMENT: &str = "--borrow";

/// Lends frames to a process, lets it read some, and kills it. Then takes all frames back. Returns
/// whether a process was killed.
#[cfg(target_os = "linux")]
pub(crate) fn lend_and_kill(pool: &FramePool, random: &mut Random) -> Result<bool, BoxError> {
    use std::env;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::process::{self, Command, Stdio};

    use crate::{COUNTS, Counts};

    let Some(memory) = pool.handle() else {
        return Ok(false);
    };
    let path = format!("/proc/{}/fd/{}", process::id(), memory.as_raw_fd());
    let mut peer = Command::new(env::current_exe()?)
        .args([ARGUMENT, &path])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut to_peer, from_peer) = (peer.stdin.take(), peer.stdout.take());
    let mut answers = from_peer.map(|answers| BufReader::new(answers).lines());
    let mut tokens = Vec::new();
    for number in 0..1 + random.below(3) {
        let Ok(mut frame) = pool.try_acquire() else {
            break;
        };
        Counts::add(&COUNTS.acquired, 1);
        let byte = random.below(256).to_le_bytes()[0];
        frame.fill(byte);
        let token = frame.lend().map_err(|_| "the frame cannot be lent")?;
        tokens.push(token);
        let bytes: Vec<String> = token
            .to_bytes()
            .iter()
            .map(|byte| byte.to_string())
            .collect();
        let sent = to_peer
            .as_mut()
            .map(|peer| writeln!(peer, "{}", bytes.join(" ")));
        if number == 0 && matches!(sent, Some(Ok(()))) {
            // The first is read before the end; the others may be.
            let answer = answers.as_mut().and_then(Iterator::next).transpose()?;
            if answer != Some(format!("{byte} {byte}")) {
                Counts::add(&COUNTS.wrong, 1);
            }
        }
    }
    peer.kill()?;
    peer.wait()?;
    for token in tokens {
        drop(pool.revoke(token)?);
        Counts::add(&COUNTS.released, 1);
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn lend_and_kill(_: &FramePool, _: &mut Random) -> Result<bool, BoxError> {
    Ok(false)
}

/// Reads tokens, and answers each with the smallest and the largest byte of its frame.
#[cfg(target_os = "linux")]
pub(crate) fn run(memory: &str) -> ExitCode {
    match answer_all(memory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(target_os = "linux")]
fn answer_all(memory: &str) -> Result<(), BoxError> {
    use std::fs::File;
    use std::io::{Write as _, stdin, stdout};
    use std::os::fd::AsFd as _;

    use ks_allocator::{FrameToken, RemoteFrames};

    let memory = File::open(memory)?;
    #[expect(unsafe_code, reason = "the owner's behavior is known here only")]
    // SAFETY: the owner writes to no frame while this process has its token.
    let frames = unsafe { RemoteFrames::open(memory.as_fd()) }?;
    for line in stdin().lines() {
        let bytes: Result<Vec<u8>, _> = line?.split(' ').map(str::parse).collect();
        let bytes = <[u8; 32]>::try_from(bytes?).map_err(|_| "a token has 32 bytes")?;
        let frame = frames.get(FrameToken::from_bytes(bytes))?;
        let (least, most) = (frame.iter().min(), frame.iter().max());
        writeln!(stdout(), "{} {}", least.unwrap_or(&0), most.unwrap_or(&0))?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_: &str) -> ExitCode {
    ExitCode::FAILURE
}
