//! The process that the pool belongs to: fills frames, lends them, and takes them back.

use std::env;
use std::process::{Child, Command};

use ks_allocator::{AcquireError, Frame, FramePool, FrameToken, TokenError};

use crate::BoxError;
use crate::line::Line;
use crate::pattern::{Pattern, checksum};

/// Bytes of a token.
pub(crate) const TOKEN: usize = 32;

/// What the borrower sends for each frame.
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
            token: FrameToken::from_bytes(token.try_into().expect("a token's bytes")),
            checksum: u64::from_le_bytes(checksum.try_into().expect("the other eight")),
        }
    }
}

/// A frame that is lent.
struct Loan {
    token: FrameToken,
    number: u64,
    checksum: u64,
}

/// The borrower, and the frames that it has.
pub(crate) struct Loans<'a> {
    pool: &'a FramePool,
    borrower: Child,
    line: Line,
    loans: Vec<Loan>,
}

impl<'a> Loans<'a> {
    /// Starts a borrower, and gives it a handle of the pool's memory.
    pub(crate) fn to_a_new_process(pool: &'a FramePool) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        command.arg(crate::BORROW);
        let (borrower, mut line) = Line::start(command)?;
        line.send_object(&borrower, &pool.try_clone_handle()?)?;
        Ok(Self {
            pool,
            borrower,
            line,
            loans: Vec::with_capacity(pool.frames()),
        })
    }

    /// The number of the borrower's process.
    pub(crate) fn borrower(&self) -> u32 {
        self.borrower.id()
    }

    /// Draws a frame and lends it, as soon as the pool has one.
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
        let sent = self.line.send(&token.to_bytes());
        sent.map_err(|error| format!("the borrower has gone: {error}").into())
    }

    fn free_frame(&mut self) -> Result<Frame, BoxError> {
        loop {
            match self.pool.try_acquire() {
                Err(AcquireError::Exhausted(_)) => self.await_answer()?,
                other => return Ok(other?),
            }
        }
    }

    fn await_answer(&mut self) -> Result<(), BoxError> {
        match self.line.receive()? {
            Some(answer) => self.assign(&Answer::from_bytes(answer)),
            None => Err("the borrower has gone, and kept frames".into()),
        }
    }

    /// Takes a frame back, and compares what the borrower has seen with what was drawn.
    fn assign(&mut self, answer: &Answer) -> Result<(), BoxError> {
        let frame = self.pool.redeem(answer.token)?;
        let lent = |loan: &Loan| loan.token == answer.token;
        let place = self.loans.iter().position(lent);
        let loan = self
            .loans
            .swap_remove(place.ok_or("a token came back that is none of ours")?);
        let number = loan.number;
        if frame.metadata().sequence != number {
            return Err(format!("frame {number} came back as another").into());
        }
        if answer.checksum != loan.checksum {
            return Err(format!(
                "frame {number} is {:016x}, and the borrower has read {:016x}",
                loan.checksum, answer.checksum
            )
            .into());
        }
        Ok(())
    }

    /// Sees all frames back and the borrower off. Returns how many bytes were sent and received.
    pub(crate) fn finish(mut self) -> Result<u64, BoxError> {
        self.line.end()?;
        while !self.loans.is_empty() {
            self.await_answer()?;
        }
        let status = self.borrower.wait()?;
        match status.success() {
            true => Ok(self.line.bytes()),
            false => Err(format!("the borrower has failed: {status}").into()),
        }
    }

    /// Kills the borrower, and takes back what it had. Returns how many frames that were.
    pub(crate) fn kill(mut self) -> Result<usize, BoxError> {
        self.borrower.kill()?;
        self.borrower.wait()?;
        // What it sent before counts.
        while let Some(answer) = self.line.receive()? {
            self.assign(&Answer::from_bytes(answer))?;
        }
        for loan in &self.loans {
            drop(self.pool.revoke(loan.token)?);
            // Should a token come after all, it is worth nothing.
            let late = self.pool.redeem(loan.token);
            if !matches!(late, Err(TokenError::NotLent { .. })) {
                return Err(format!("frame {} came back twice", loan.number).into());
            }
        }
        Ok(self.loans.len())
    }
}
