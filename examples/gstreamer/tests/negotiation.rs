//! Tests of ALLOCATION queries that become requirements, and of answers by an agreement.

use std::sync::mpsc;
use std::time::Duration;

use gst::prelude::*;
use gst::query::Allocation;
use gst::{AllocationParams, ClockTime, MemoryFlags, PadProbeData, PadProbeReturn, PadProbeType};
use gst_app::AppSink;
use gst_video::{VideoInfo, VideoMeta};
use ks_allocator::{Requirements, Sizes, negotiate};
use ks_allocator_gstreamer::{
    offer_agreement, requirements_behind, requirements_of_answer, requirements_of_caps,
};

const SIZE: (u32, u32) = (100, 6);

fn caps() -> gst::Caps {
    gst::init().unwrap();
    let info = VideoInfo::builder(gst_video::VideoFormat::I420, SIZE.0, SIZE.1);
    info.build().unwrap().to_caps().unwrap()
}

#[test]
fn the_fields_of_an_answer_become_requirements() {
    let mut query = Allocation::new(Some(&caps()), true);
    let answer = query.get_mut().unwrap();
    answer.add_allocation_pool(None::<&gst::BufferPool>, 2_000, 3, 9);
    answer.add_allocation_pool(None::<&gst::BufferPool>, 9_999, 8, 1);
    let params = AllocationParams::new(MemoryFlags::empty(), 31, 16, 100);
    answer.add_allocation_param(None::<&gst::Allocator>, params);
    answer.add_allocation_meta::<VideoMeta>(None);
    let picture = requirements_of_caps("sink", &query).unwrap();
    let expected = picture.holds(3).max_frames(9).alignment(32).prefix(16);
    let expected = expected.sizes(Sizes::at_least(2_100));
    assert_eq!(requirements_of_answer("sink", &query), Some(expected));
}

#[test]
fn without_video_meta_the_strides_are_the_default_ones() {
    let query = Allocation::new(Some(&caps()), true);
    let sink = requirements_of_answer("sink", &query).unwrap();
    let agreement = negotiate(std::slice::from_ref(&sink)).unwrap();
    let layout = agreement.video_layout().unwrap();
    let strides: Vec<_> = layout.planes().iter().map(|plane| plane.stride).collect();
    assert_eq!((&strides[..], layout.size()), (&[100, 52, 52][..], 912));
    let gpu = Requirements::new("gpu").stride_alignment(64);
    assert_eq!(
        negotiate(&[sink, gpu]).unwrap_err().to_string(),
        "`gpu` needs a stride that is a multiple of 64, `sink` needs a picture of 100 x 6 pixels, \
         the format I420 and a stride of plane 2 that is 52 bytes: no multiple of 64 lies between \
         52 and 52"
    );
}

#[test]
fn caps_without_a_picture_are_no_requirements() {
    gst::init().unwrap();
    let audio = gst::Caps::builder("audio/x-raw").build();
    assert!(requirements_of_caps("caps", &Allocation::new(Some(&audio), true)).is_none());
    assert!(requirements_of_answer("caps", &Allocation::new(None, true)).is_none());
}

/// Lets a pad answer ALLOCATION queries with a minimum number of buffers.
fn answer_with_minimum(pad: &gst::Pad, min: u32) {
    pad.add_probe(PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        let Some(PadProbeData::Query(query)) = &mut info.data else {
            return PadProbeReturn::Ok;
        };
        if let gst::QueryViewMut::Allocation(query) = query.view_mut() {
            query.add_allocation_pool(None::<&gst::BufferPool>, 900, min, 0);
            query.add_allocation_meta::<VideoMeta>(None);
            return PadProbeReturn::Handled;
        }
        PadProbeReturn::Ok
    });
}

#[test]
fn the_buffers_of_branches_add_where_a_tee_takes_the_maximum() {
    let caps = caps();
    let description = "identity name=source ! tee name=tee ! identity name=one ! \
                       fakesink name=sink1 tee. ! identity name=two ! fakesink name=sink2";
    let bin = gst::parse::bin_from_description(description, false).unwrap();
    bin.set_state(gst::State::Paused).unwrap();
    for (sink, min) in [("sink1", 2), ("sink2", 3)] {
        let sink = bin.by_name(sink).unwrap();
        answer_with_minimum(&sink.static_pad("sink").unwrap(), min);
    }
    let frames = |pads: &[(&str, &str)]| {
        let parties = pads.iter().map(|(element, pad)| {
            let element = bin.by_name(element).unwrap();
            requirements_behind(&element.static_pad(pad).unwrap(), &caps).unwrap()
        });
        let parties: Vec<_> = parties.collect();
        negotiate(&parties).unwrap().framing().frames
    };
    // The tee: the maximum and one; with the one that the source fills.
    assert_eq!(frames(&[("source", "src")]), 5);
    assert_eq!(frames(&[("one", "src"), ("two", "src")]), 6);
    bin.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_source_writes_into_a_pool_that_was_negotiated_in_its_query() {
    gst::init().unwrap();
    let description = "videotestsrc num-buffers=5 ! video/x-raw,format=NV12,width=100,height=60 ! \
                       appsink name=sink sync=false";
    let pipeline = gst::parse::launch(description).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let (sender, receiver) = mpsc::channel();
    let parties = vec![
        Requirements::new("screen").stride_alignment(256).holds(2),
        Requirements::new("appsink").holds(3),
    ];
    offer_agreement(&sink.static_pad("sink").unwrap(), parties, move |result| {
        sender.send(result).unwrap();
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    let (pool, agreement) = receiver
        .recv_timeout(Duration::from_secs(10))
        .unwrap()
        .unwrap();
    assert_eq!((pool.frames(), agreement.framing().frames), (6, 6));
    let sink = sink.downcast::<AppSink>().unwrap();
    for _ in 0..5 {
        let sample = sink.try_pull_sample(ClockTime::from_seconds(10)).unwrap();
        let buffer = sample.buffer().unwrap();
        assert_eq!(buffer.meta::<VideoMeta>().unwrap().stride(), [256, 256]);
        let address = buffer.map_readable().unwrap().as_ptr().addr();
        let segment = pool.segment();
        assert!(address.wrapping_sub(segment.base.addr().get()) < segment.bytes);
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_conflict_with_the_caps_is_reported() {
    gst::init().unwrap();
    let description = "videotestsrc num-buffers=1 ! video/x-raw,format=NV12,width=100,height=60 ! \
                       fakesink name=sink";
    let pipeline = gst::parse::launch(description).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let pad = pipeline
        .by_name("sink")
        .unwrap()
        .static_pad("sink")
        .unwrap();
    let (sender, receiver) = mpsc::channel();
    let parties = vec![Requirements::new("encoder").formats([ks_allocator::VideoFormat::P010])];
    offer_agreement(&pad, parties, move |result| {
        sender.send(result.map(|_| ())).unwrap();
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    assert_eq!(
        receiver.recv_timeout(Duration::from_secs(10)).unwrap(),
        Err("`caps` needs the format NV12, `encoder` needs the format P010: they have no format in \
             common"
            .to_owned())
    );
    pipeline.set_state(gst::State::Null).unwrap();
}
