//! Frames in the user's own memory: here a file that is mapped into memory.
//!
//! ```text
//! cargo run --example own_memory
//! ```
//!
//! The bytes of a frame are in the file, at the offset that the segment's geometry gives, without a
//! copy. The same few lines put frames into memory that is pinned for a GPU, mapped from a device,
//! or bound to a NUMA node.

#![cfg_attr(unix, expect(unsafe_code, reason = "maps memory"))]
#![expect(clippy::print_stdout, reason = "a command-line program")]

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use ks_allocator::FramePool;

    use self::mapped_file::MappedFile;

    let path = std::env::temp_dir().join(format!("frames-{}", std::process::id()));
    let memory = MappedFile::create(&path)?;
    let file = memory.file()?;
    fs::remove_file(&path)?; // the file exists until its last handle is closed

    let pool = FramePool::builder()
        .frames(4)
        .frame_size(4096)
        .prefix(16)
        .memory(memory)
        .build()?;
    let segment = pool.segment();
    println!(
        "segment of {} bytes, one frame per {} bytes",
        segment.bytes, segment.stride
    );

    let mut found = 0;
    let frames = pool.acquire_many(4)?;
    for (number, mut frame) in frames.enumerate() {
        let text = format!("this is frame {number}");
        frame[..text.len()].copy_from_slice(text.as_bytes());

        let mut read = vec![0; text.len()];
        let offset = segment.first + frame.slot() * segment.stride;
        file.read_exact_at(&mut read, offset as u64)?;
        found += usize::from(read == text.as_bytes());
        println!(
            "offset {offset:5} of the file: {}",
            String::from_utf8_lossy(&read)
        );
    }
    println!("own_memory: frames=4 found_in_file={found}");
    Ok(())
}

#[cfg(unix)]
mod mapped_file {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::ptr::{self, NonNull};

    use ks_allocator::{FrameMemory, MemoryBlock};
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    /// A file that grows to the size of the segment.
    pub(crate) struct MappedFile(File);

    impl MappedFile {
        pub(crate) fn create(path: &Path) -> io::Result<Self> {
            File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)
                .map(Self)
        }

        /// Returns another handle of the file.
        pub(crate) fn file(&self) -> io::Result<File> {
            self.0.try_clone()
        }
    }

    impl FrameMemory for MappedFile {
        fn allocate(&self, bytes: usize) -> io::Result<MemoryBlock> {
            self.0.set_len(bytes as u64)?;
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: the system chooses the address, so no existing mapping is replaced.
            let start =
                unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &self.0, 0) };
            let start = NonNull::new(start?.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            let mapping = Mapping { start, bytes };
            // SAFETY: the bytes are mapped, readable and writable, until `mapping` is dropped. They
            // are initialized, because a file grows by zeros. The path is removed, and `main` only
            // reads frames from the file that it holds itself.
            Ok(unsafe { MemoryBlock::new(start, bytes, mapping) })
        }
    }

    /// A mapping of the file.
    struct Mapping {
        start: NonNull<u8>,
        bytes: usize,
    }

    // SAFETY: a mapping belongs to the process, and may be removed by any thread.
    unsafe impl Send for Mapping {}

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: `allocate` mapped exactly this range, and it is no longer used.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
            unmapped.unwrap_or_default(); // after a failure the mapping leaks
        }
    }
}

#[cfg(not(unix))]
fn main() {
    println!("own_memory: this example needs mmap, which only Unix systems have");
}
