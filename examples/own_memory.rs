//! Frames in memory of the user's own: here a file, mapped into memory.
//!
//! ```text
//! cargo run --example own_memory
//! ```
//!
//! What is written to a frame is in the file, where the segment's geometry says, without a copy. The
//! same few lines put frames into memory that is pinned for a GPU, mapped from a device, or bound to a
//! node.

#![expect(unsafe_code, reason = "maps memory")]
#![expect(clippy::print_stdout, reason = "a program for people")]

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use ks_allocator::FramePool;

    use self::mapped_file::MappedFile;

    let path = std::env::temp_dir().join(format!("frames-{}", std::process::id()));
    let memory = MappedFile::create(&path)?;
    let file = memory.file()?;
    fs::remove_file(&path)?; // it lives on until nobody uses it

    let pool = FramePool::builder()
        .frames(4)
        .frame_size(4096)
        .prefix(16)
        .memory(memory)
        .build()?;
    let segment = pool.segment();
    println!(
        "{} bytes, a frame every {} bytes",
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
            "at {offset:5} of the file: {}",
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

    use ks_allocator::FrameMemory;
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    /// A file that is as long as the frames need.
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

        /// The same file, to be looked into.
        pub(crate) fn file(&self) -> io::Result<File> {
            self.0.try_clone()
        }
    }

    // SAFETY: a mapping starts at a page, is as long as was asked for, and a file that was grown has
    // zeroes. Nothing else in this process writes to the file.
    unsafe impl FrameMemory for MappedFile {
        fn allocate(&self, bytes: usize) -> io::Result<NonNull<u8>> {
            self.0.set_len(bytes as u64)?;
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping, where the system likes, replaces none that exists.
            let start =
                unsafe { mmap(ptr::null_mut(), bytes, access, MapFlags::SHARED, &self.0, 0) };
            NonNull::new(start?.cast()).ok_or(io::ErrorKind::OutOfMemory.into())
        }

        unsafe fn release(&self, start: NonNull<u8>, bytes: usize) {
            // SAFETY: mapped by `allocate`, and no longer used.
            let unmapped = unsafe { munmap(start.as_ptr().cast(), bytes) };
            unmapped.unwrap_or_default(); // if it fails the mapping stays, and nothing else happens
        }
    }
}

#[cfg(not(unix))]
fn main() {
    println!("own_memory: this example maps a file by mmap, which there is on Unix only");
}
