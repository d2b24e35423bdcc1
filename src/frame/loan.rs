//! Lending of frames to other processes.

use crate::diagnostics::call_site::CallSite;
use crate::error::TokenError;
use crate::pool::core::{Core, Handle};
use crate::recording::EventKind;
use crate::token::FrameToken;

use super::unique::Frame;

impl Frame {
    /// Lends the frame to another process: the frame stays out, and the token owns it from now on.
    ///
    /// The other process finds it through [`RemoteFrames`](crate::RemoteFrames). The frame comes
    /// back by [`FramePool::redeem`](crate::FramePool::redeem) or
    /// [`FramePool::revoke`](crate::FramePool::revoke).
    ///
    /// The token is plain data, and dropping it does not end the loan. If the token is lost, for
    /// example by a panic before it is sent, the frame stays out. [`holders`] then lists its slot
    /// as [lent](crate::HolderState::Lent), and [`revoke_slot`] or [`revoke_all`] takes it back.
    /// All loans end when the last handle of the pool is dropped.
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
    pub fn lend(self) -> Result<FrameToken, Self> {
        let Some(segment) = self.core().loans.segment() else {
            return Err(self);
        };
        if self.core().is_in_other_process() {
            return Err(self);
        }
        // Only a handle can redeem the frame, and the last one ends all loans. The handle keeps the
        // core alive beyond the loan, which another thread may end at once.
        let Some(handle) = Handle::of(self.core()) else {
            return Err(self);
        };
        self.record(EventKind::Lent);
        let (slot, offset, length) = (self.slot(), self.offset(), self.len());
        // By L1 the token owns the frame from here on.
        self.into_slot();
        Ok(FrameToken {
            segment,
            loan: handle.loans.lend(slot),
            offset: offset as u64,
            length: length as u64,
        })
    }

    /// Returns the frame that was lent by `token`.
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
        // SAFETY: by L1 the frame is the caller's, as it was the lender's.
        Ok(unsafe { Self::taken_back(core, site, slot) })
    }

    /// Returns the frame in `slot`, if it is lent.
    pub(crate) fn revoke(core: &Core, site: CallSite, slot: usize) -> Option<Self> {
        // SAFETY: by L1 the frame is the caller's, as it was the lender's.
        let taken_back = || unsafe { Self::taken_back(core, site, slot) };
        let revoked = !core.is_in_other_process() && core.loans.revoke(slot);
        revoked.then(taken_back)
    }

    /// Returns all frames that are lent.
    pub(crate) fn revoke_all(core: &Core, site: CallSite) -> Vec<Self> {
        if core.is_in_other_process() {
            return Vec::new();
        }
        let slots = core.loans.revoke_all();
        // SAFETY: by L1 the frame is the caller's, as it was the lender's.
        slots
            .map(|slot| unsafe { Self::taken_back(core, site, slot) })
            .collect()
    }

    /// # Safety
    ///
    /// The caller has ended the loan of the frame in `slot`.
    unsafe fn taken_back(core: &Core, site: CallSite, slot: usize) -> Self {
        // SAFETY: the frame is out, and by L1 the caller is its unique holder.
        let frame = unsafe { Self::from_slot(core.slot(slot)) };
        frame.record_transfer(site, EventKind::Redeemed);
        frame
    }
}
