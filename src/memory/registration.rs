//! Registration of segments with devices, by a function of the user's.

use std::fmt;
use std::io;

use crate::error::CommitError;
use crate::sync::unmodeled::Arc;

use super::segment_info::SegmentInfo;

/// The value that a registration returns, which ends it when it is dropped.
type Owner = Box<dyn Send>;

type Register = dyn Fn(&SegmentInfo) -> io::Result<Owner> + Send + Sync;

/// Function that registers a segment.
#[derive(Clone)]
pub(crate) struct RegisterSegment(Arc<Register>);

impl RegisterSegment {
    pub(crate) fn new<R: Send + 'static>(
        register: impl Fn(&SegmentInfo) -> io::Result<R> + Send + Sync + 'static,
    ) -> Self {
        let register = move |segment: &SegmentInfo| {
            let owner: Owner = Box::new(register(segment)?);
            Ok(owner)
        };
        Self(Arc::new(register))
    }

    pub(super) fn call(&self, segment: &SegmentInfo) -> Result<SegmentRegistration, CommitError> {
        let registered = (self.0)(segment).map_err(|source| CommitError::Os {
            call: "register_segment",
            source,
        });
        registered.map(SegmentRegistration)
    }
}

impl fmt::Debug for RegisterSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterSegment").finish_non_exhaustive()
    }
}

/// Registration of one segment, which ends when this is dropped.
pub(super) struct SegmentRegistration(#[expect(dead_code, reason = "kept to be dropped")] Owner);

impl fmt::Debug for SegmentRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentRegistration")
            .finish_non_exhaustive()
    }
}
