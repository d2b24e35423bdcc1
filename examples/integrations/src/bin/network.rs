//! Packets from TCP to two tokio tasks, without a copy in this process.
//!
//! The receiving task reads many packets into one frame and sends each on as `Bytes`, which are a
//! part of that frame. The frame is released when the last of its packets is dropped. If the
//! consumers are slow, the receiver waits for a frame, and TCP slows the sender down.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use ks_allocator::{AcquireError, Frame, FramePool, SegmentInfo};
use ks_allocator_integrations::{Result, check};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;

const PACKETS: u32 = 2000;
const MAX_PACKET: usize = 1500;
const FRAME_SIZE: usize = 16 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let pool = FramePool::builder()
        .frames(4)
        .frame_size(FRAME_SIZE)
        .build()?;
    check_time_limit(&pool).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let socket = TcpStream::connect(listener.local_addr()?).await?;
    let sender = tokio::spawn(send(socket));
    let (socket, _) = listener.accept().await?;

    let (to_first, first) = mpsc::channel(16);
    let (to_second, second) = mpsc::channel(16);
    let consumers = [first, second].map(|packets| tokio::spawn(consume(packets, pool.segment())));
    let received = receive(&pool, socket, [to_first, to_second]).await;
    let (mut packets, mut bytes) = (0, 0);
    for consumer in consumers {
        let counted = consumer.await??;
        (packets, bytes) = (packets + counted.0, bytes + counted.1);
    }
    received?;
    sender.await??;
    check(
        packets == PACKETS,
        format!("{PACKETS} packets, not {packets}"),
    )?;
    check(pool.free_frames() == pool.frames(), "all frames are free")?;
    check(
        pool.stats().waits_cancelled == 1,
        "only one wait was given up",
    )?;
    let (free, frames) = (pool.free_frames(), pool.frames());
    println!("network: packets={packets} bytes={bytes} free={free} of {frames}");
    Ok(())
}

/// Acquires a frame within a time limit. The error says who holds the frames.
async fn next_frame(pool: &FramePool, limit: Duration) -> Result<Frame, AcquireError> {
    match timeout(limit, pool.acquire_async()).await {
        Ok(acquired) => acquired,
        Err(_) => Err(pool.explain_wait()),
    }
}

/// Checks that a wait ends at its limit, and that a task can be spawned with a wait.
async fn check_time_limit(pool: &FramePool) -> Result {
    let held = pool.with_label("screen").acquire_exact(pool.frames())?;
    let error = match next_frame(pool, Duration::from_millis(10)).await {
        Ok(_) => return Err("a frame was free".into()),
        Err(error) => error.to_string(),
    };
    println!("{error}");
    check(
        error.contains("4 held by `screen` ("),
        "the error names the holder",
    )?;

    let waiting = tokio::spawn(pool.clone().acquire_owned());
    tokio::task::yield_now().await;
    check(pool.waiting() == 1, "the spawned task waits")?;
    drop(held);
    drop(waiting.await??);
    Ok(())
}

/// Sends packets: each is its length in 4 bytes and that many bytes. A length of 0 is the end.
async fn send(mut socket: TcpStream) -> Result {
    let pool = FramePool::builder()
        .frames(2)
        .frame_size(4 + MAX_PACKET)
        .build()?;
    let mut frames = pool.clone().frame_stream();
    for number in 0..PACKETS {
        let mut frame = frames.next().await.ok_or("the pool is open")??;
        frame.clear();
        write_packet(&mut frame, number);
        socket.write_all(&frame).await?;
    }
    socket.write_u32(0).await?;

    pool.close();
    check(
        frames.next().await.is_none(),
        "the stream ends when the pool is closed",
    )
}

fn write_packet(packet: &mut impl BufMut, number: u32) {
    let fill = 1 + number.wrapping_mul(37) % 1400;
    packet.put_u32(4 + fill);
    packet.put_u32(number);
    (0..fill).for_each(|_| packet.put_u8(number.to_le_bytes()[0]));
}

/// A frame, and the lengths of the packets that it contains.
struct Batch {
    frame: Frame,
    lengths: Vec<usize>,
}

async fn receive(
    pool: &FramePool,
    mut socket: TcpStream,
    consumers: [mpsc::Sender<Bytes>; 2],
) -> Result {
    let mut length = read_length(&mut socket).await?;
    while length > 0 {
        let mut frame = next_frame(pool, Duration::from_secs(10)).await?;
        frame.clear();
        let mut batch = Batch {
            frame,
            lengths: Vec::new(),
        };
        while length > 0 && length <= batch.frame.remaining_mut() {
            read_packet(&mut socket, &mut batch, length).await?;
            length = read_length(&mut socket).await?;
        }
        distribute(batch, &consumers).await?;
    }
    Ok(())
}

async fn read_length(socket: &mut TcpStream) -> Result<usize> {
    let length = usize::try_from(socket.read_u32().await?)?;
    check(
        length <= MAX_PACKET,
        format!("{length} bytes fit into a frame"),
    )?;
    Ok(length)
}

/// Appends the bytes of a packet to the frame, straight from the socket.
async fn read_packet(socket: &mut TcpStream, batch: &mut Batch, length: usize) -> Result {
    let mut room = (&mut batch.frame).limit(length);
    while room.has_remaining_mut() {
        let read = socket.read_buf(&mut room).await?;
        check(read > 0, "the stream does not end within a packet")?;
    }
    batch.lengths.push(length);
    Ok(())
}

/// Sends the packets of a frame to the consumers in turn.
async fn distribute(batch: Batch, consumers: &[mpsc::Sender<Bytes>; 2]) -> Result {
    let mut bytes = Bytes::from(batch.frame);
    for (length, consumer) in batch.lengths.into_iter().zip(consumers.iter().cycle()) {
        consumer.send(bytes.split_to(length)).await?;
    }
    Ok(())
}

/// Checks packets, and returns their number and their size in bytes.
async fn consume(mut packets: mpsc::Receiver<Bytes>, segment: SegmentInfo) -> Result<(u32, usize)> {
    let (mut count, mut bytes) = (0, 0);
    while let Some(mut packet) = packets.recv().await {
        check(segment.contains(&packet), "the packet lies in a frame")?;
        count += 1;
        bytes += packet.len();
        let fill = packet.get_u32().to_le_bytes()[0];
        check(
            packet.iter().all(|&byte| byte == fill),
            "the packet is intact",
        )?;
    }
    Ok((count, bytes))
}
