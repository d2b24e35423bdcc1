//! Lending of frames to other processes.

use std::mem;

use crate::diagnostics::call_site::CallSite;
use crate::error::TokenError;
use crate::pool::core::{Core, Handle};
use crate::pool::loans::MAX_LOANS;
use crate::recording::EventKind;
use crate::token::FrameToken;

use super::held_slot::HeldSlot;
use super::shared::SharedFrame;
use super::unique::Frame;

impl Frame {
    /// Lends the frame to another process: the frame stays out, and the token owns it from now on.
    ///
    /// The other process finds it through [`RemoteFrames`](crate::RemoteFrames). The frame comes
    /// back by [`FramePool::redeem`](crate::FramePool::redeem) or
    /// [`FramePool::revoke`](crate::FramePool::revoke). To lend a frame to several processes, or to
    /// keep it readable in this one, [share](Self::share) it first and lend
    /// [handles](SharedFrame::lend) of it.
    ///
    /// The token is plain data, and dropping it does not end the loan. If the token is lost, for
    /// example by a panic before it is sent, the frame stays out. [`holders`] then lists its slot
    /// as [lent](crate::HolderState::Lent), and [`revoke_slot`] or [`revoke_all`] takes it back.
    /// All loans end when the last handle of the pool is dropped, as by [`revoke_all`].
    ///
    /// [`holders`]: crate::FramePool::holders
    /// [`revoke_all`]: crate::FramePool::revoke_all
    /// [`revoke_slot`]: crate::FramePool::revoke_slot
    ///
    /// # Errors
    ///
    /// Returns the frame itself in User mode, after the last handle of the pool was dropped, and in
    /// a [forked process](crate::AllocatorMode#forked-processes).
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// let user = FramePool::builder().frames(4).frame_size(64);
    /// let frame = user.build()?.acquire()?.lend().expect_err("no other process can see it");
    /// assert_eq!(frame.len(), 64);
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let kernel = user.mode(AllocatorMode::Kernel).build()?;
    /// let token = kernel.acquire()?.lend().expect("in Kernel mode");
    /// assert_eq!(token.length(), 64);
    /// drop(kernel.redeem(token)?); // until then it is out
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::mem_forget, reason = "by L1 the loan owns the handle")]
    pub fn lend(self) -> Result<FrameToken, Self> {
        match lend(&self.held) {
            Some(token) => {
                mem::forget(self);
                Ok(token)
            }
            None => Err(self),
        }
    }
}

impl SharedFrame {
    /// Lends this handle of the frame to another process. Other handles stay as they are.
    ///
    /// A loan counts as one handle. Each borrower has a token of its own, and returns only its own
    /// handle: the frame is released when all borrowers have returned theirs, or they were revoked,
    /// and all other handles are dropped. All loans end when the last handle of the pool is
    /// dropped; a handle of the frame that is then the only one can write to it. Otherwise like
    /// [`Frame::lend`].
    ///
    /// # Errors
    ///
    /// Returns the handle itself for the reasons of [`Frame::lend`], and if the frame is lent 8
    /// times already.
    ///
    /// ```
    /// # use ks_allocator::{AllocatorMode, FramePool};
    /// # if cfg!(any(target_os = "linux", windows)) {
    /// let pool = FramePool::builder().frames(4).frame_size(64);
    /// let pool = pool.mode(AllocatorMode::Kernel).build()?;
    /// let frame = pool.acquire()?.share();
    /// let to_encoder = frame.clone().lend().expect("in Kernel mode");
    /// let to_preview = frame.lend().expect("in Kernel mode");
    ///
    /// drop(pool.redeem(to_encoder)?);
    /// assert_eq!(pool.free_frames(), 3, "the preview still has it");
    /// drop(pool.redeem(to_preview)?);
    /// assert_eq!(pool.free_frames(), 4);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[expect(clippy::mem_forget, reason = "by L1 the loan owns the handle")]
    pub fn lend(self) -> Result<FrameToken, Self> {
        match lend(&self.held) {
            Some(token) => {
                mem::forget(self);
                Ok(token)
            }
            None => Err(self),
        }
    }

    /// Returns the handle that was lent by `token`.
    pub(crate) fn redeem(
        core: &Core,
        site: CallSite,
        token: FrameToken,
    ) -> Result<Self, TokenError> {
        let FrameToken {
            segment,
            loan,
            offset,
            length,
        } = token;
        if core.is_in_other_process() {
            return Err(TokenError::OtherProcess);
        }
        if core.loans.segment() != Some(segment) {
            return Err(TokenError::OtherSegment);
        }
        let Some(slot) = core.slot_at(offset) else {
            return Err(TokenError::Outside { offset, length });
        };
        if !core.loans.reclaim(slot, loan) {
            return Err(TokenError::NotLent { slot });
        }
        // SAFETY: the loan has ended.
        Ok(unsafe { Self::taken_back(core, site, slot) })
    }

    /// Ends all loans of the frame in `slot`. Returns one of the handles, if there were any, and
    /// drops the others.
    pub(crate) fn revoke(core: &Core, site: CallSite, slot: usize) -> Option<Self> {
        if core.is_in_other_process() {
            return None;
        }
        let loans = core.loans.revoke(slot);
        // SAFETY: the iterator has ended the loan.
        let handles = loans.map(|slot| unsafe { Self::taken_back(core, site, slot) });
        handles.reduce(|handle, _| handle)
    }

    /// Ends all loans and returns their handles.
    pub(crate) fn revoke_all(core: &Core, site: CallSite) -> Vec<Self> {
        if core.is_in_other_process() {
            return Vec::new();
        }
        let loans = core.loans.revoke_all();
        // SAFETY: the iterator has ended the loan.
        let handles = loans.map(|slot| unsafe { Self::taken_back(core, site, slot) });
        handles.collect()
    }

    /// Returns the handle of a loan that has ended.
    ///
    /// # Safety
    ///
    /// The caller has ended a loan of the frame in `slot`, and passes its handle on to the result.
    unsafe fn taken_back(core: &Core, site: CallSite, slot: usize) -> Self {
        // SAFETY: by L1 the frame is out, and the handle was counted when it was lent.
        let held = unsafe { HeldSlot::new(core.slot(slot)) };
        held.record_transfer(EventKind::Redeemed, site);
        Self { held }
    }
}

/// Makes a loan of a handle, which owns the handle from then on. Returns `None` if that cannot be.
fn lend(held: &HeldSlot) -> Option<FrameToken> {
    let core = held.core();
    let segment = core.loans.segment()?;
    if core.is_in_other_process() {
        return None;
    }
    // Only a handle of the pool can redeem the loan, and the last one ends all loans. This one
    // keeps the core alive beyond the loan, which another thread may end at once.
    let pool = Handle::of(core)?;
    let (slot, offset, length) = (held.slot().number, held.offset(), held.len());
    if core.loans.count(slot) == MAX_LOANS {
        return None;
    }
    held.record(EventKind::Lent);
    Some(FrameToken {
        segment,
        loan: pool.loans.lend(slot)?,
        offset: offset as u64,
        length: length as u64,
    })
}
