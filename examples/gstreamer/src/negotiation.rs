//! ALLOCATION queries as requirements, and their answers by an agreement.

use gst::prelude::*;
use gst::query::Allocation;
use gst::{
    AllocationParams, MemoryFlags, PadProbeData, PadProbeReturn, PadProbeType, QueryViewMut,
};
use gst_video::{VideoInfo, VideoMeta};
use ks_allocator::{Agreement, FramePool, Requirements, Sizes, VideoFormat, negotiate};

use crate::pool::{self, FrameBufferPool};

const UNKNOWN_CAPS: &str = "the caps are of no known video format";

/// Returns what the element that asks a query requires: the picture and format of the caps. If it
/// asks for no pool, it allocates the frames itself. Returns `None` if the caps are not those of a
/// video format that `ks_allocator` has.
#[must_use]
pub fn requirements_of_source(name: &str, query: &Allocation) -> Option<Requirements> {
    let requirements = requirements_of_picture(name, &video_info(query)?)?;
    Some(if query.need_pool() {
        requirements
    } else {
        requirements.allocates()
    })
}

/// Returns what the elements that have answered a query require, and its caps. Returns `None` if
/// these are not those of a video format that `ks_allocator` has.
///
/// An answer without `GstVideoMeta`, or no answer at all, requires the default strides.
#[must_use]
pub fn requirements_of_answer(name: &str, query: &Allocation) -> Option<Requirements> {
    let info = video_info(query)?;
    let mut requirements = requirements_of_picture(name, &info)?;
    let mut bytes = info.size();
    // The first pool is the one that counts. The maximum of a pool that is offered is about that
    // pool. Without one, it is about the pool that the source makes.
    if let Some((pool, size, min, max)) = query.allocation_pools().next() {
        bytes = bytes.max(usize::try_from(size).ok()?);
        requirements = requirements.holds(usize::try_from(min).ok()?);
        if max > 0 && pool.is_none() {
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
    let peer = pad.peer().and_then(|peer| peer.parent_element());
    let name = peer.map_or_else(|| pad.name(), |element| element.name());
    requirements_of_answer(&name, &query)
}

fn video_info(query: &Allocation) -> Option<VideoInfo> {
    VideoInfo::from_caps(query.get().0?).ok()
}

fn requirements_of_picture(name: &str, info: &VideoInfo) -> Option<Requirements> {
    let format: VideoFormat = info.name().parse().ok()?;
    let requirements = Requirements::new(name).picture(info.width(), info.height());
    Some(requirements.formats([format]))
}

/// Answers the ALLOCATION queries at a sink pad by an agreement of the source, which asks, with all
/// that get its frames.
///
/// `branches` are the source pads through which the frames go on, for example those of a tee. The
/// element behind each is asked what it requires, as in [`requirements_behind`]. `parties` are
/// those that answer no query, such as an application with an `appsink`.
///
/// The answer has the pool of the agreement, its size and the agreed alignment and prefix. Its
/// minimum of buffers is the number that the branches and the parties keep, and its maximum that of
/// the pool. It allows strides other than the default ones if these are agreed. If the source asks
/// for no pool, the answer has only the numbers, and there is no pool.
///
/// `report` gets each agreement with its pool, or the reason why there is none. Without an
/// agreement, or if the query has no caps, the pad answers as it would without this. To be called
/// before the caps are negotiated.
pub fn offer_agreement(
    pad: &gst::Pad,
    branches: Vec<gst::Pad>,
    parties: Vec<Requirements>,
    report: impl Fn(Result<(Agreement, Option<FramePool>), String>) + Send + Sync + 'static,
) {
    let probe = PadProbeType::QUERY_DOWNSTREAM | PadProbeType::PUSH; // before the pad answers
    pad.add_probe(probe, move |_, info| {
        let Some(PadProbeData::Query(query)) = &mut info.data else {
            return PadProbeReturn::Ok;
        };
        let QueryViewMut::Allocation(query) = query.view_mut() else {
            return PadProbeReturn::Ok;
        };
        if query.caps().is_none() {
            return PadProbeReturn::Ok; // from an `appsrc`, for example
        }
        let result = agree(query, &branches, &parties).and_then(|agreement| {
            let pool = answer(query, &agreement)?;
            Ok((agreement, pool))
        });
        let is_answered = result.is_ok();
        report(result);
        if is_answered {
            PadProbeReturn::Handled
        } else {
            PadProbeReturn::Ok
        }
    });
}

fn agree(
    query: &Allocation,
    branches: &[gst::Pad],
    parties: &[Requirements],
) -> Result<Agreement, String> {
    let caps = query.get_owned().0.ok_or(UNKNOWN_CAPS)?;
    let mut all = vec![requirements_of_source("source", query).ok_or(UNKNOWN_CAPS)?];
    for pad in branches {
        all.push(requirements_behind(pad, &caps).ok_or(UNKNOWN_CAPS)?);
    }
    all.extend_from_slice(parties);
    negotiate(&all).map_err(|conflict| conflict.to_string())
}

/// Adds the values of an agreement to a query, and the pool that it asks for. On an error, the
/// query is unchanged.
fn answer(query: &mut Allocation, agreement: &Agreement) -> Result<Option<FramePool>, String> {
    let (caps, needs_pool) = query.get_owned();
    let caps = caps.ok_or(UNKNOWN_CAPS)?;
    let layout = agreement.video_layout().ok_or(UNKNOWN_CAPS)?;
    if !pool::fits(layout, &caps, true) {
        return Err(format!("there are no such frames with the caps {caps}"));
    }
    let framing = agreement.framing();
    if !framing.alignment.is_power_of_two() {
        return Err(format!(
            "the agreed alignment of {} bytes is not a power of 2, as GStreamer needs it",
            framing.alignment
        ));
    }
    let params = AllocationParams::new(
        MemoryFlags::empty(),
        framing.alignment - 1, // a mask
        framing.prefix,
        0, // the size has the padding
    );
    let number = |value: usize| {
        u32::try_from(value).map_err(|_| format!("{value} is too large for an ALLOCATION query"))
    };
    let size = number(framing.frame_size)?;
    let min = number(agreement.held_by().map(|(_, frames)| frames).sum())?;
    let max = number(framing.frames)?;
    let build = || FramePool::builder().agreement(agreement).build();
    let pool = needs_pool.then(build).transpose();
    let pool = pool.map_err(|error| error.to_string())?;

    let proposed = pool.as_ref().map(|pool| {
        let handle = pool.with_label("source");
        FrameBufferPool::new(&handle)
    });
    query.add_allocation_pool(proposed.as_ref(), size, min, max);
    query.add_allocation_param(None::<&gst::Allocator>, params);
    if !pool::fits(layout, &caps, false) {
        query.add_allocation_meta::<VideoMeta>(None);
    }
    Ok(pool)
}
