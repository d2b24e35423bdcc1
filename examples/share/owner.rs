//! The process that owns the pool: fills frames, lends them, and takes them back.

use std::env;
use std::process::{Child, Command};

use ks_allocator::{AcquireError, Frame, FramePool, FrameToken, TokenError};

use crate::BoxError;
use crate::channel::Channel;
use crate::pattern::{Pattern, checksum};

/// Bytes of a token.
pub(crate) const TOKEN: usize = 32;

/// The borrower's answer for each frame.
pub(crate) struct Answer {
    pub(crate) token: FrameToken,
    pub(crate) checksum: u64,
}

impl Answer {
    pub(crate) const BYTES: usize = TOKEN + 8;

    pub(crate) fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..TOKEN].copy_from_slice(&self.token.to_bytes());
        bytes[TOKEN..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (token, checksum) = bytes.split_at(TOKEN);
        Self {
            token: FrameToken::from_bytes(token.try_into().expect("the 32 bytes of a token")),
            checksum: u64::from_le_bytes(checksum.try_into().expect("the other 8 bytes")),
        }
    }
}

/// A frame that is lent.
struct Loan {
    token: FrameToken,
    number: u64,
    checksum: u64,
}

/// The borrowing process, and the frames that it has.
pub(crate) struct Loans<'a> {
    pool: &'a FramePool,
    borrower: Child,
    channel: Channel,
    loans: Vec<Loan>,
}

impl<'a> Loans<'a> {
    /// Starts a borrower, and sends it a handle of the pool's memory.
    pub(crate) fn to_new_process(pool: &'a FramePool) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(crate::BORROW);
        let (borrower, mut channel) = Channel::start(command)?;
        channel.send_object(&borrower, &pool.try_clone_handle()?)?;
        Ok(Self {
            pool,
            borrower,
            channel,
            loans: Vec::with_capacity(pool.frames()),
        })
    }

    /// Returns the borrower's process id.
    pub(crate) fn borrower(&self) -> u32 {
        self.borrower.id()
    }

    /// Draws a frame and lends it, as soon as a frame is free.
    pub(crate) fn lend(&mut self, number: u64, pattern: &Pattern) -> Result<(), BoxError> {
        let mut frame = self.free_frame()?;
        pattern.draw(number, &mut frame);
        frame.metadata_mut().sequence = number;
        let checksum = checksum(&frame);
        let token = frame.lend().map_err(|_| "the pool is not in Kernel mode")?;
        self.loans.push(Loan {
            token,
            number,
            checksum,
        });
        let sent = self.channel.send(&token.to_bytes());
        sent.map_err(|error| format!("the borrower is gone: {error}").into())
    }

    /// Acquires a frame. While none is free, takes frames back from the borrower.
    fn free_frame(&mut self) -> Result<Frame, BoxError> {
        loop {
            match self.pool.try_acquire() {
                Err(AcquireError::Exhausted(_)) => self.await_answer()?,
                other => return Ok(other?),
            }
        }
    }

    fn await_answer(&mut self) -> Result<(), BoxError> {
        match self.channel.receive()? {
            Some(answer) => self.redeem(&Answer::from_bytes(answer)),
            None => Err("the borrower is gone, and has not returned all frames".into()),
        }
    }

    /// Takes a frame back, and compares the two checksums.
    fn redeem(&mut self, answer: &Answer) -> Result<(), BoxError> {
        let frame = self.pool.redeem(answer.token)?;
        let is_answered = |loan: &Loan| loan.token == answer.token;
        let index = self.loans.iter().position(is_answered);
        let index = index.ok_or("the borrower returned a token that it was not sent")?;
        let loan = self.loans.swap_remove(index);
        let number = loan.number;
        if frame.metadata().sequence != number {
            return Err(format!("the token of frame {number} returned another frame").into());
        }
        if answer.checksum != loan.checksum {
            return Err(format!(
                "the checksum of frame {number} is {:016x}, but {:016x} for the borrower",
                loan.checksum, answer.checksum
            )
            .into());
        }
        Ok(())
    }

    /// Waits until all frames are back and the borrower has ended. Returns the number of bytes that
    /// were sent and received.
    pub(crate) fn finish(mut self) -> Result<u64, BoxError> {
        self.channel.finish_sending()?;
        while !self.loans.is_empty() {
            self.await_answer()?;
        }
        let status = self.borrower.wait()?;
        if status.success() {
            Ok(self.channel.bytes())
        } else {
            Err(format!("the borrower failed: {status}").into())
        }
    }

    /// Kills the borrower and revokes its frames. Returns the number of revoked frames.
    pub(crate) fn kill(mut self) -> Result<usize, BoxError> {
        self.borrower.kill()?;
        self.borrower.wait()?;
        // Answers that were sent before the kill are valid.
        while let Some(answer) = self.channel.receive()? {
            self.redeem(&Answer::from_bytes(answer))?;
        }
        for loan in &self.loans {
            drop(self.pool.revoke(loan.token)?);
            // A revoked token cannot be redeemed.
            let late = self.pool.redeem(loan.token);
            if !matches!(late, Err(TokenError::NotLent { .. })) {
                return Err(format!("frame {} came back twice", loan.number).into());
            }
        }
        Ok(self.loans.len())
    }
}
