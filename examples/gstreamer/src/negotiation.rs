//! ALLOCATION queries as requirements, and their answers by an agreement.

use gst::prelude::*;
use gst::query::Allocation;
use gst::{PadProbeData, PadProbeReturn, PadProbeType, QueryViewMut};
use gst_video::{VideoInfo, VideoMeta};
use ks_allocator::{Agreement, FramePool, Requirements, Sizes, VideoFormat, negotiate};

use crate::pool::FrameBufferPool;

/// Returns what the caps of a query require: the picture and its format. Returns `None` if they are
/// not those of a video format that `ks_allocator` has.
#[must_use]
pub fn requirements_of_caps(name: &str, query: &Allocation) -> Option<Requirements> {
    let info = video_info(query)?;
    let format: VideoFormat = info.name().parse().ok()?;
    Some(
        Requirements::new(name)
            .picture(info.width(), info.height())
            .formats([format]),
    )
}

/// Returns what the elements that have answered a query require, and its caps. Returns `None` if
/// these are not those of a video format that `ks_allocator` has.
///
/// An answer without `GstVideoMeta`, or no answer at all, requires the default strides.
#[must_use]
pub fn requirements_of_answer(name: &str, query: &Allocation) -> Option<Requirements> {
    let info = video_info(query)?;
    let mut requirements = requirements_of_caps(name, query)?;
    let mut bytes = info.size();
    // The first pool is the one that counts.
    if let Some((_, size, min, max)) = query.allocation_pools().next() {
        bytes = bytes.max(usize::try_from(size).ok()?);
        requirements = requirements.holds(usize::try_from(min).ok()?);
        if max > 0 {
            requirements = requirements.max_frames(usize::try_from(max).ok()?);
        }
    }
    if let Some((_, params)) = query.allocation_params().next() {
        let alignment = params.align().checked_add(1)?; // a mask
        bytes = bytes.checked_add(params.padding())?;
        requirements = requirements.alignment(alignment).prefix(params.prefix());
    }
    if query.find_allocation_meta::<VideoMeta>().is_none() {
        for (plane, &stride) in info.stride().iter().enumerate() {
            let stride = usize::try_from(stride).ok()?;
            requirements = requirements.stride(Some(plane), 1, stride, stride);
        }
    }
    Some(requirements.sizes(Sizes::at_least(bytes)))
}

/// Asks the elements behind a source pad what they require of buffers with these caps. Returns
/// `None` if the caps are not those of a video format that `ks_allocator` has.
///
/// With one such party for each branch, the frames that the branches keep add. A `tee` would offer
/// the maximum.
#[must_use]
pub fn requirements_behind(pad: &gst::Pad, caps: &gst::Caps) -> Option<Requirements> {
    let mut query = Allocation::new(Some(caps), true);
    pad.peer_query(query.get_mut()?);
    let name = pad
        .parent_element()
        .map_or_else(|| pad.name(), |element| element.name());
    requirements_of_answer(&name, &query)
}

fn video_info(query: &Allocation) -> Option<VideoInfo> {
    let caps = query.get_owned().0?;
    VideoInfo::from_caps(&caps).ok()
}

/// Answers the ALLOCATION queries at a sink pad with a pool that suits the caps and all `parties`.
///
/// `report` gets each pool, with the agreement that it is built of, or the reason why there is
/// none. Without a pool, the pad answers as it would without this. To be called before the caps are
/// negotiated.
pub fn offer_agreement(
    pad: &gst::Pad,
    parties: Vec<Requirements>,
    report: impl Fn(Result<(FramePool, Agreement), String>) + Send + Sync + 'static,
) {
    pad.add_probe(PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        let Some(PadProbeData::Query(query)) = &mut info.data else {
            return PadProbeReturn::Ok;
        };
        let QueryViewMut::Allocation(query) = query.view_mut() else {
            return PadProbeReturn::Ok;
        };
        match agree(query, &parties) {
            Ok((pool, agreement)) => {
                let proposed = FrameBufferPool::new(&pool).propose(query);
                report(Ok((pool, agreement)));
                proposed.map_or(PadProbeReturn::Ok, |()| PadProbeReturn::Handled)
            }
            Err(reason) => {
                report(Err(reason));
                PadProbeReturn::Ok
            }
        }
    });
}

fn agree(query: &Allocation, parties: &[Requirements]) -> Result<(FramePool, Agreement), String> {
    let source = requirements_of_caps("caps", query).ok_or("the caps are of no known format")?;
    let all: Vec<_> = [source]
        .into_iter()
        .chain(parties.iter().cloned())
        .collect();
    let agreement = negotiate(&all).map_err(|conflict| conflict.to_string())?;
    let pool = FramePool::builder().agreement(&agreement).build();
    Ok((pool.map_err(|error| error.to_string())?, agreement))
}
