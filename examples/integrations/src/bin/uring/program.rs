//! Writes a file, reads it in two ways, and checks what was read.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process;

use ks_allocator::{BuildError, CommitError, FramePool};
use ks_allocator_integrations::{Result, check};

use crate::buffers::Ring;
use crate::reader::Reader;

const FRAMES: usize = 8;
const FRAME_SIZE: usize = 64 * 1024;
/// The last read is shorter than a frame.
const FILE_SIZE: usize = 37 * FRAME_SIZE + 1000;

/// File that is removed when this is dropped.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

pub(crate) fn run() -> Result {
    let content: Vec<u8> = (0..FILE_SIZE).map(byte_at).collect();
    let path = TemporaryFile(env::temp_dir().join(format!("uring-{}", process::id())));
    fs::write(&path.0, content)?;
    let (file, direct) = open(&path.0)?;

    let mut reads = 0;
    // First one buffer per frame, whose number is that of the slot; then one per 4 frames.
    for frames_per_buffer in [1, 4] {
        let ring = match Ring::new(u32::try_from(FRAMES)?) {
            Ok(ring) => ring,
            Err(error) => return unsupported(error),
        };
        let pool = match registered_pool(&ring, frames_per_buffer) {
            Ok(pool) => pool,
            Err(error) => return unsupported(error),
        };
        reads += read_file(&pool, Reader::new(ring.clone(), &file, frames_per_buffer))?;
        check(pool.free_frames() == FRAMES, "all frames are free")?;
        drop(pool);
        let again = ring.lock().submitter().unregister_buffers();
        check(again.is_err(), "the pool unregistered its buffers")?;
    }
    println!(
        "uring: reads={reads} bytes={} direct={direct}",
        2 * FILE_SIZE
    );
    Ok(())
}

/// Opens a file for reads past the page cache, if the file system has them.
fn open(path: &PathBuf) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    match options.read(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            println!("the file system of {} has no O_DIRECT", path.display());
            Ok((File::open(path)?, false))
        }
        Err(error) => Err(error),
    }
}

/// Makes a pool whose memory is registered with the ring.
fn registered_pool(ring: &Ring, frames_per_buffer: usize) -> io::Result<FramePool> {
    let ring = ring.clone();
    let builder = FramePool::builder()
        .frames(FRAMES)
        .frame_size(FRAME_SIZE)
        .alignment(4096);
    let builder =
        builder.register_segment(move |segment| ring.register(segment, frames_per_buffer));
    builder.build().map_err(|error| match error {
        BuildError::Commit(CommitError::Os { source, .. }) => source,
        error => error.into(),
    })
}

/// Ends the program without an error if the kernel refuses the ring or the registration: by a
/// setting, a container's profile, or the limit of locked memory.
fn unsupported(error: io::Error) -> Result {
    let refusals = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::ENOMEM];
    if !error
        .raw_os_error()
        .is_some_and(|code| refusals.contains(&code))
    {
        return Err(error.into());
    }
    println!("uring: unsupported ({error})");
    Ok(())
}

/// Reads the file with as many reads at a time as the pool has frames. Returns the number of reads.
fn read_file(pool: &FramePool, mut reader: Reader<'_>) -> Result<usize> {
    let (mut offset, mut reads, mut bytes) = (0, 0, 0);
    while offset < FILE_SIZE || reader.in_flight() > 0 {
        if offset < FILE_SIZE
            && let Ok(frame) = pool.try_acquire()
        {
            reader.start(frame, u64::try_from(offset)?)?;
            offset += FRAME_SIZE;
            continue;
        }
        let frame = reader.finish()?;
        let start = usize::try_from(frame.metadata().user)?;
        let expected = (start..).map(byte_at);
        check(
            frame.iter().copied().eq(expected.take(frame.len())),
            "the bytes of the file",
        )?;
        (reads, bytes) = (reads + 1, bytes + frame.len());
    }
    check(
        bytes == FILE_SIZE,
        format!("{FILE_SIZE} bytes, not {bytes}"),
    )?;
    Ok(reads)
}

/// Returns the byte of the file at this offset.
fn byte_at(offset: usize) -> u8 {
    (offset / FRAME_SIZE * 7 + offset % 251).to_le_bytes()[0]
}
