//! Frames that are lent, in this process and to others, and what becomes of their tokens.
//!
//! The other process is this same test, started to run [`other_process`] alone.
#![cfg(all(
    any(target_os = "linux", target_os = "android", windows),
    not(any(loom, miri))
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/share/line.rs"]
#[expect(dead_code, reason = "the example counts the bytes")]
mod line;
#[cfg(unix)]
#[path = "lending/unix.rs"]
#[expect(unsafe_code, reason = "maps memory as one who means harm would")]
mod unix;
#[cfg(windows)]
#[path = "lending/windows.rs"]
#[expect(unsafe_code, reason = "calls the system as one who means harm would")]
mod windows;

use std::env;
use std::io::{self, ErrorKind};
use std::process::{self, Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ks_allocator::{
    AcquireError, AllocatorMode, AllocatorState, BorrowedKernelObject, Frame, FrameFlags,
    FramePool, FramePoolBuilder, FrameToken, Framing, FramingError, KsAllocator, OwnedKernelObject,
    PoolAllocator, RemoteFrames, RemoteFramesMut, Starvation, TokenError,
};

use line::{Line, borrow};

const FRAMES: usize = 4;
const SIZE: usize = 5000;

fn builder() -> FramePoolBuilder {
    FramePool::builder()
        .frames(FRAMES)
        .frame_size(SIZE)
        .mode(AllocatorMode::Kernel)
}

#[expect(unsafe_code, reason = "of the peers only we know")]
fn pool_for_writers() -> FramePool {
    // SAFETY: the peers are of these tests, and write to what they are lent.
    unsafe { builder().peers_may_write(true) }.build().unwrap()
}

fn pool() -> FramePool {
    builder().build().unwrap()
}

fn lent(pool: &FramePool) -> FrameToken {
    pool.try_acquire().unwrap().lend().unwrap()
}

/// A frame full of `byte`.
fn filled(pool: &FramePool, byte: u8) -> Frame {
    let mut frame = pool.try_acquire().unwrap();
    frame.fill(byte);
    frame
}

/// The token with one of its words changed: slot, generation, offset or length.
fn forged(token: FrameToken, word: usize, change: impl FnOnce(u64) -> u64) -> FrameToken {
    let mut bytes = token.to_bytes();
    let place: &mut [u8; 8] = (&mut bytes[word * 8..][..8]).try_into().unwrap();
    *place = change(u64::from_le_bytes(*place)).to_le_bytes();
    FrameToken::from_bytes(bytes)
}

const SLOT: usize = 0;
const GENERATION: usize = 1;
const OFFSET: usize = 2;
const LENGTH: usize = 3;

/// What anybody could make up who has seen `token`, or none.
fn forgeries(token: FrameToken) -> Vec<FrameToken> {
    let mut all = vec![
        forged(token, SLOT, |slot| slot ^ 1),
        forged(token, SLOT, |_| FRAMES as u64),
        forged(token, SLOT, |_| u64::MAX),
        forged(token, SLOT, |slot| slot | 1 << 32),
        forged(token, GENERATION, |_| 0),
        forged(token, GENERATION, |_| u64::MAX),
        forged(token, GENERATION, |generation| generation.wrapping_add(1)),
        forged(token, OFFSET, |offset| offset + 1),
        forged(token, OFFSET, |offset| offset | 1 << 32),
        forged(token, OFFSET, |_| u64::MAX),
        FrameToken::from_bytes([0; 32]),
        FrameToken::from_bytes([0xFF; 32]),
    ];
    all.extend((0..64).map(|bit| forged(token, GENERATION, |generation| generation ^ 1 << bit)));
    // Noise: the numbers of a linear congruence.
    let mut state = 1u64;
    all.extend((0..1000).map(|_| {
        FrameToken::from_bytes([(); 32].map(|()| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        }))
    }));
    all
}

fn open(pool: &FramePool) -> RemoteFrames {
    let object = pool.try_clone_handle().unwrap();
    open_object(borrow(&object)).unwrap()
}

#[expect(unsafe_code, reason = "whoever opens a mapping answers for its owner")]
fn open_object(object: BorrowedKernelObject<'_>) -> io::Result<RemoteFrames> {
    // SAFETY: the owner is of these tests, which do not write to what they have lent.
    unsafe { RemoteFrames::open(object) }
}

#[expect(unsafe_code, reason = "whoever opens a mapping answers for its owner")]
fn open_to_write(object: BorrowedKernelObject<'_>) -> io::Result<RemoteFramesMut> {
    // SAFETY: the owner is of these tests, which do not touch what they have lent.
    unsafe { RemoteFramesMut::open(object) }
}

#[test]
fn a_frame_comes_back_as_it_was_lent() {
    let pool = pool();
    let frames: Vec<_> = (0..FRAMES).map(|_| pool.acquire().unwrap()).collect();
    let lent = frames.into_iter().zip(1..).map(|(mut frame, n)| {
        frame.fill(n);
        frame.set_len(usize::from(n) * 1000).unwrap();
        let metadata = frame.metadata_mut();
        metadata.presentation_time = Some(i64::from(n));
        metadata.flags = FrameFlags::SYNC_POINT;
        metadata.sequence = u64::from(n) << 40;
        metadata.user = u64::MAX - u64::from(n);
        let known = (n, frame.slot(), frame.as_ptr(), *frame.metadata());
        let offset = frame.offset() as u64;
        let token = frame.lend().unwrap();
        assert_eq!(
            (token.offset(), token.length()),
            (offset, u64::from(n) * 1000)
        );
        (token, known)
    });
    let mut lent: Vec<_> = lent.collect();
    // In no order.
    lent.rotate_left(1);
    lent.swap(0, 2);
    for (token, (n, slot, start, metadata)) in lent {
        let frame = pool.redeem(token).unwrap();
        assert_eq!(*frame, vec![n; usize::from(n) * 1000]);
        assert_eq!((frame.slot(), frame.as_ptr()), (slot, start));
        assert_eq!(*frame.metadata(), metadata);
    }
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn a_frame_that_was_lent_is_cleared_for_its_next_owner() {
    let pool = builder().frames(1).build().unwrap();
    let mut frame = pool.acquire().unwrap();
    frame.set_len(1).unwrap();
    frame.metadata_mut().sequence = 7;
    let token = frame.lend().unwrap();
    drop(pool.redeem(token).unwrap());
    let frame = pool.acquire().unwrap();
    assert_eq!((frame.len(), frame.metadata().sequence), (SIZE, 0));
}

#[test]
fn a_lent_frame_is_out() {
    let pool = pool();
    let tokens: Vec<_> = (0..FRAMES).map(|_| lent(&pool)).collect();
    assert_eq!(pool.free_frames(), 0);
    assert_eq!(
        pool.try_acquire().unwrap_err(),
        AcquireError::Exhausted(Starvation::default())
    );
    for (token, free) in tokens.into_iter().zip(1..) {
        drop(pool.redeem(token).unwrap());
        assert_eq!(pool.free_frames(), free);
    }
}

#[test]
fn whoever_waits_gets_the_frame_that_is_revoked() {
    let pool = builder().frames(1).build().unwrap();
    let token = lent(&pool);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.acquire().map(|frame| frame.slot()));
        while pool.waiting() == 0 {
            thread::yield_now();
        }
        drop(pool.revoke(token).unwrap());
        assert_eq!(waiter.join().unwrap(), Ok(0));
    });
}

#[test]
fn an_allocator_that_has_lent_a_frame_is_decommitting_until_it_is_back() {
    let framing = Framing::new(FRAMES, SIZE);
    let allocator = PoolAllocator::with_framing(framing).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    allocator.commit().unwrap();
    let token = allocator.acquire().unwrap().lend().unwrap();
    assert_eq!(allocator.free_frames(), FRAMES - 1);

    allocator.decommit();
    let status = allocator.allocator_status();
    assert_eq!(status.state, AllocatorState::Decommitting);
    assert_eq!(status.allocated_frames, 1);
    let refused = FramingError::FramesOutstanding {
        outstanding: 1,
        frames: FRAMES,
    };
    assert_eq!(allocator.set_framing(&framing), Err(refused));
    allocator
        .set_allocator_mode(AllocatorMode::User)
        .unwrap_err();

    let pool = allocator.pool().unwrap();
    let frame = pool.redeem(token).unwrap();
    assert_eq!(allocator.allocator_status().allocated_frames, 1);
    drop(frame);
    let status = allocator.allocator_status();
    assert_eq!(status.state, AllocatorState::Uncommitted);
    assert_eq!(status.allocated_frames, 0);
    allocator.set_framing(&framing).unwrap();
}

#[test]
fn a_token_is_good_across_a_decommit_and_a_commit_that_keeps_the_memory() {
    let allocator = PoolAllocator::with_framing(Framing::new(FRAMES, SIZE)).unwrap();
    allocator.set_allocator_mode(AllocatorMode::Kernel).unwrap();
    allocator.commit().unwrap();
    let token = filled(&allocator.pool().unwrap(), 7).lend().unwrap();
    allocator.decommit();
    allocator.commit().unwrap();
    let pool = allocator.pool().unwrap();
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn in_user_mode_the_frame_stays_with_its_owner() {
    let pool = builder().mode(AllocatorMode::User).build().unwrap();
    let mut frame = filled(&pool, 7);
    frame.metadata_mut().sequence = 1;
    let frame = frame.lend().unwrap_err();
    assert_eq!((&*frame, frame.metadata().sequence), (&[7; SIZE][..], 1));
    assert_eq!(pool.free_frames(), FRAMES - 1);
    for token in forgeries(FrameToken::from_bytes([0; 32])) {
        pool.redeem(token).unwrap_err();
    }
    drop(frame);
    assert_eq!(pool.free_frames(), FRAMES);
    let error = pool.try_clone_handle().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_shared_frame_is_lent_once_it_is_unique() {
    let pool = pool();
    let one = filled(&pool, 7).share();
    let two = one.clone();
    let one = one.try_into_unique().unwrap_err();
    drop(two);
    let token = one.try_into_unique().unwrap().lend().unwrap();
    let again = pool.redeem(token).unwrap().share();
    assert_eq!(*again.clone(), [7; SIZE]);
}

#[test]
fn a_token_is_good_once() {
    let pool = pool();
    let token = lent(&pool);
    let frame = pool.redeem(token).unwrap();
    let spent = TokenError::NotLent { slot: 0 };
    assert_eq!(frame.slot(), 0);
    assert_eq!(pool.redeem(token).unwrap_err(), spent);
    assert_eq!(pool.revoke(token).unwrap_err(), spent);
    drop(frame);
    assert_eq!(pool.redeem(token).unwrap_err(), spent);
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn what_is_revoked_is_not_redeemed() {
    let pool = pool();
    let token = lent(&pool);
    drop(pool.revoke(token).unwrap());
    assert_eq!(
        pool.redeem(token).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(
        pool.revoke(token).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn a_stale_token_is_refused_while_its_frame_is_lent_again() {
    let pool = builder().frames(1).build().unwrap();
    let mut stale = Vec::new();
    for _ in 0..100 {
        let token = lent(&pool);
        for &old in &stale {
            assert_eq!(
                pool.redeem(old).unwrap_err(),
                TokenError::NotLent { slot: 0 }
            );
        }
        assert_eq!(pool.free_frames(), 0);
        drop(pool.redeem(token).unwrap());
        stale.push(token);
    }
}

#[test]
fn forged_tokens_are_refused_and_change_nothing() {
    let pool = pool();
    let (token, other) = (lent(&pool), lent(&pool));
    for forged in forgeries(token) {
        pool.redeem(forged).unwrap_err();
        pool.revoke(forged).unwrap_err();
        assert_eq!(pool.free_frames(), FRAMES - 2);
    }
    drop((pool.redeem(token).unwrap(), pool.redeem(other).unwrap()));
    assert_eq!(pool.free_frames(), FRAMES);
}

#[test]
fn the_error_says_what_is_wrong_with_a_token() {
    let pool = pool();
    let (token, other) = (lent(&pool), lent(&pool));
    let refused =
        |word, change: fn(u64) -> u64| pool.redeem(forged(token, word, change)).unwrap_err();
    let outside = |error| matches!(error, TokenError::Outside { .. });

    assert_eq!(
        refused(GENERATION, |n| n ^ 1),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(refused(GENERATION, |_| 0), TokenError::NotLent { slot: 0 });
    assert!(outside(refused(SLOT, |_| 1)));
    assert!(outside(refused(SLOT, |_| FRAMES as u64)));
    assert!(outside(refused(OFFSET, |offset| offset + 1)));

    // The place of one with the number of the other.
    let generation = u64::from_le_bytes(other.to_bytes()[8..16].try_into().unwrap());
    let mixed = forged(token, GENERATION, |_| generation);
    assert_eq!(
        pool.redeem(mixed).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    // A frame that is at home.
    let home = lent(&pool);
    drop(pool.redeem(home).unwrap());
    let home = forged(home, GENERATION, |_| 0);
    assert_eq!(
        pool.redeem(home).unwrap_err(),
        TokenError::NotLent { slot: 2 }
    );

    drop((pool.redeem(token).unwrap(), pool.redeem(other).unwrap()));
}

#[test]
fn the_length_is_the_owners_whatever_the_token_says() {
    let pool = pool();
    let mut frame = pool.acquire().unwrap();
    frame.set_len(10).unwrap();
    let token = frame.lend().unwrap();
    let longer = forged(token, LENGTH, |_| u64::MAX);
    assert_eq!(pool.redeem(longer).unwrap().len(), 10);
}

#[test]
fn a_token_of_another_pool_is_refused() {
    let (one, two) = (pool(), pool());
    let (of_one, of_two) = (lent(&one), lent(&two));
    assert_eq!(of_one.offset(), of_two.offset());
    assert_eq!(
        one.redeem(of_two).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    assert_eq!(
        two.revoke(of_one).unwrap_err(),
        TokenError::NotLent { slot: 0 }
    );
    drop((one.redeem(of_one).unwrap(), two.redeem(of_two).unwrap()));
}

#[test]
fn any_bytes_are_a_token_and_stay_what_they_are() {
    let pool = pool();
    let token = lent(&pool);
    let mut tokens = forgeries(token);
    tokens.push(token);
    for token in tokens {
        let bytes = token.to_bytes();
        assert_eq!(FrameToken::from_bytes(bytes), token);
        assert_eq!(FrameToken::from_bytes(bytes).to_bytes(), bytes);
    }
    drop(pool.redeem(token).unwrap());
}

#[test]
fn of_two_who_come_with_a_token_one_gets_the_frame() {
    const ROUNDS: usize = 300;
    const MANY: usize = 500;
    let pool = builder().frames(MANY).frame_size(64).build().unwrap();
    let start = Barrier::new(2);
    let redeem_all = |tokens: &[FrameToken], canary: u8| {
        start.wait();
        let redeemed = tokens.iter().filter_map(|&token| pool.redeem(token).ok());
        let mut frames: Vec<_> = redeemed.collect();
        frames.iter_mut().for_each(|frame| frame.fill(canary));
        start.wait();
        assert!(frames.iter().all(|frame| **frame == [canary; 64]));
        frames
    };
    for _ in 0..ROUNDS {
        let tokens = [(); MANY].map(|()| lent(&pool));
        let frames = thread::scope(|scope| {
            let other = scope.spawn(|| redeem_all(&tokens, 1));
            [redeem_all(&tokens, 2), other.join().unwrap()]
        });
        assert_eq!(frames.iter().map(Vec::len).sum::<usize>(), MANY);
        assert_eq!(pool.free_frames(), 0);
        drop(frames);
        assert_eq!(pool.free_frames(), MANY);
    }
}

/// The name has it left out where leaks are looked for: nobody can take this frame back.
#[test]
fn a_forgotten_frame_that_is_lent_keeps_the_memory_for_its_borrower() {
    let pool = pool();
    let frames = open(&pool);
    let token = filled(&pool, 7).lend().unwrap();
    drop(pool);
    assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
}

#[test]
fn a_mapping_outlives_the_pool_and_every_handle() {
    let pool = pool();
    let token = filled(&pool, 7).lend().unwrap();
    let frames = open(&pool);
    drop(pool.revoke(token).unwrap());
    drop(pool);
    assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
}

#[test]
fn a_frame_lies_where_its_token_says() {
    for (alignment, prefix) in [(1, 0), (64, 3), (4096, 100), (65_536, 1)] {
        let pool = builder().alignment(alignment).prefix(prefix);
        let pool = pool.build().unwrap();
        let frames = open(&pool);
        let tokens = [1, 2, 3].map(|n| {
            let mut frame = filled(&pool, n);
            frame.prefix_mut().fill(0xEE);
            frame.set_len(SIZE - usize::from(n)).unwrap();
            (n, frame.lend().unwrap())
        });
        for (n, token) in tokens {
            assert_eq!(frames.get(token).unwrap(), vec![n; SIZE - usize::from(n)]);
        }
        drop(tokens.map(|(_, token)| pool.revoke(token).unwrap()));
    }
}

#[test]
fn a_borrower_reads_nothing_outside_of_the_segment() {
    let pool = pool();
    let frames = open(&pool);
    let token = lent(&pool);
    // Whole pages, which a segment is.
    let end = (FRAMES * SIZE).next_multiple_of(4096) as u64;
    for (offset, length) in [
        (0, u64::MAX),
        (u64::MAX, 0),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (u64::MAX - 10, 11),
        (end * 100, 0),
        (end - 1, end),
        (1 << 40, 1),
        (i64::MAX as u64, 1),
        (i64::MAX as u64, i64::MAX as u64),
    ] {
        let token = forged(forged(token, OFFSET, |_| offset), LENGTH, |_| length);
        let error = frames.get(token).unwrap_err();
        assert_eq!(error, TokenError::Outside { slot: 0, offset });
    }
    assert_eq!(frames.get(token).unwrap().len(), SIZE);
    drop(pool.redeem(token).unwrap());
}

#[test]
fn peers_read_and_do_not_write_unless_they_may() {
    let pool = pool();
    let object = pool.try_clone_handle().unwrap();
    let error = open_to_write(borrow(&object)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");

    let pool = pool_for_writers();
    let object = pool.try_clone_handle().unwrap();
    let mut frames = open_to_write(borrow(&object)).unwrap();
    let token = lent(&pool);
    frames.get_mut(token).unwrap().fill(7);
    frames
        .get_mut(FrameToken::from_bytes([0xFF; 32]))
        .unwrap_err();
    assert_eq!(frames.get(token).unwrap()[0], 7);
    assert_eq!(*pool.redeem(token).unwrap(), [7; SIZE]);
}

/// What the other process says when it begins: what a test prints by itself comes before.
const HERE: &[u8] = b"\n<here>\n";

/// Another process with a line to it.
struct Peer {
    process: Child,
    line: Line,
}

impl Peer {
    /// Starts this test anew, as [`other_process`] with this part to play.
    ///
    /// One starts after the other. Windows, or what stands in for it, now and then refuses to start one
    /// while others start; then it is asked again.
    #[expect(clippy::disallowed_types, reason = "no model runs these tests")]
    fn start(part: &str, object: &OwnedKernelObject) -> Self {
        static ONE_AT_A_TIME: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
        let turn = ONE_AT_A_TIME.lock();
        let mut tries = if cfg!(windows) { 10 } else { 1 };
        let (process, line) = loop {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "other_process", "--nocapture"]);
            command.env(PART, part).stdout(Stdio::null());
            tries -= 1;
            match Line::start(command) {
                Ok(started) => break started,
                Err(error) if tries == 0 => panic!("{part}: {error}"),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        };
        drop(turn);
        let mut peer = Self { process, line };
        peer.line.send_object(&peer.process, object).unwrap();
        peer.await_begin();
        peer
    }

    fn await_begin(&mut self) {
        let mut seen = Vec::new();
        while !seen.ends_with(HERE) {
            let byte = self.line.receive::<1>().unwrap();
            seen.extend(byte.expect("the other process should begin"));
        }
    }

    fn of(part: &str, pool: &FramePool) -> Self {
        Self::start(part, &pool.try_clone_handle().unwrap())
    }

    fn lend(&mut self, frame: Frame) -> FrameToken {
        let token = frame.lend().unwrap();
        self.line.send(&token.to_bytes()).unwrap();
        token
    }

    fn returned(&mut self) -> Option<FrameToken> {
        self.line.receive().unwrap().map(FrameToken::from_bytes)
    }

    /// Waits for the end of the other process, which finds nothing wrong.
    fn finish(mut self) {
        self.line.end().unwrap();
        let surplus = self.returned();
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(surplus, None);
    }
}

/// The name of the part that the other process is to play.
const PART: &str = "KS_ALLOCATOR_TEST_LENDING";

/// Not a test of its own: what the other processes do.
#[test]
fn other_process() {
    let Ok(part) = env::var(PART) else {
        return;
    };
    let mut line = Line::to_the_starter().unwrap();
    let object = line.receive_object().unwrap();
    line.send(HERE).unwrap();
    match &*part {
        "read" => read(&mut line, &object),
        "write" => write(&mut line, &object),
        "hold" => hold(&mut line),
        "forge" => forge(&mut line),
        "count" => count(),
        #[cfg(unix)]
        "attack" => unix::attack(&mut line, &object),
        #[cfg(windows)]
        "attack" => windows::attack(&mut line, &object),
        other => panic!("there is no part {other}"),
    }
    process::exit(0);
}

fn next(line: &mut Line) -> Option<FrameToken> {
    line.receive().unwrap().map(FrameToken::from_bytes)
}

fn read(line: &mut Line, object: &OwnedKernelObject) {
    let frames = open_object(borrow(object)).unwrap();
    for n in 1.. {
        let Some(token) = next(line) else { break };
        assert_eq!(frames.get(token).unwrap(), [n; SIZE]);
        line.send(&token.to_bytes()).unwrap();
    }
}

#[test]
fn another_process_reads_what_is_lent() {
    let pool = pool();
    let mut peer = Peer::of("read", &pool);
    for n in 1..=200 {
        let token = peer.lend(filled(&pool, n));
        assert_eq!(peer.returned(), Some(token));
        assert_eq!(*pool.redeem(token).unwrap(), [n; SIZE]);
    }
    peer.finish();
    assert_eq!(pool.free_frames(), FRAMES);
}

fn write(line: &mut Line, object: &OwnedKernelObject) {
    let mut frames = open_to_write(borrow(object)).unwrap();
    while let Some(token) = next(line) {
        for byte in frames.get_mut(token).unwrap() {
            *byte += 100;
        }
        line.send(&token.to_bytes()).unwrap();
    }
}

#[test]
fn another_process_writes_where_it_may() {
    let pool = pool_for_writers();
    let mut peer = Peer::of("write", &pool);
    let mine = filled(&pool, 1);
    for n in 1..=100 {
        let token = peer.lend(filled(&pool, n));
        assert_eq!(peer.returned(), Some(token));
        assert_eq!(*pool.redeem(token).unwrap(), [n + 100; SIZE]);
    }
    assert_eq!(*mine, [1; SIZE]);
    peer.finish();
}

/// Gives the first frame back, and keeps all others.
fn hold(line: &mut Line) {
    let first = next(line).unwrap();
    line.send(&first.to_bytes()).unwrap();
    while next(line).is_some() {}
}

#[test]
fn the_frames_of_a_killed_process_are_revoked() {
    let pool = pool();
    let mut peer = Peer::of("hold", &pool);
    let tokens = [(); FRAMES].map(|()| peer.lend(pool.acquire().unwrap()));
    let returned = peer.returned().unwrap();
    assert_eq!(returned, tokens[0]);
    drop(pool.redeem(returned).unwrap());

    peer.process.kill().unwrap();
    assert!(!peer.process.wait().unwrap().success());
    assert_eq!(peer.returned(), None);
    assert_eq!(pool.free_frames(), 1);
    for token in &tokens[1..] {
        drop(pool.revoke(*token).unwrap());
    }
    assert_eq!(pool.free_frames(), FRAMES);
    for token in tokens {
        pool.redeem(token).unwrap_err();
    }
    assert_eq!(pool.acquire_many(FRAMES).unwrap().len(), FRAMES);
}

/// Sends whatever it can make up of each token, and then the token, twice.
fn forge(line: &mut Line) {
    while let Some(token) = next(line) {
        for token in forgeries(token).into_iter().chain([token, token]) {
            line.send(&token.to_bytes()).unwrap();
        }
    }
}

#[test]
fn a_process_that_sends_forged_tokens_gets_nothing() {
    let pool = pool();
    let mut peer = Peer::of("forge", &pool);
    let kept = lent(&pool);
    let token = peer.lend(filled(&pool, 7));
    for _ in forgeries(token) {
        pool.redeem(peer.returned().unwrap()).unwrap_err();
        assert_eq!(pool.free_frames(), FRAMES - 2);
    }
    let frame = pool.redeem(peer.returned().unwrap()).unwrap();
    assert_eq!(*frame, [7; SIZE]);
    pool.redeem(peer.returned().unwrap()).unwrap_err();
    peer.finish();
    drop((frame, pool.redeem(kept).unwrap()));
    assert_eq!(pool.free_frames(), FRAMES);
}

/// Descriptors that this process has open, and mappings of pools' memory.
#[cfg(unix)]
fn left_behind() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    (descriptors, maps.matches("memfd:ks-allocator").count())
}

/// Handles that this process has open; nothing tells how much is mapped.
#[cfg(windows)]
#[expect(unsafe_code, reason = "nothing else tells")]
fn left_behind() -> (u32, usize) {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};

    let mut handles = 0;
    // SAFETY: takes no arguments; the pseudo handle need not be closed.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: `handles` can be written.
    let done = unsafe { GetProcessHandleCount(process, &raw mut handles) };
    assert_ne!(done, 0);
    (handles, 0)
}

/// In a process of its own, for other tests open handles, too.
fn count() {
    let round = |_| {
        let pool = pool();
        let frames = open(&pool);
        let token = filled(&pool, 7).lend().unwrap();
        assert_eq!(frames.get(token).unwrap(), [7; SIZE]);
        drop(pool.redeem(token).unwrap());
        let object = pool.try_clone_handle().unwrap();
        open_to_write(borrow(&object)).unwrap_err();
        drop(pool.revoke(lent(&pool)).unwrap());
    };
    round(0);
    let before = left_behind();
    (0..1000).for_each(round);
    assert_eq!(left_behind(), before);
    assert_eq!(before.1, 0);
}

#[test]
fn a_thousand_rounds_leave_no_handle_and_no_mapping() {
    Peer::of("count", &pool()).finish();
}
