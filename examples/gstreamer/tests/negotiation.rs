//! Tests of ALLOCATION queries that become requirements, and of answers by an agreement.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use gst::prelude::*;
use gst::query::Allocation;
use gst::{
    AllocationParams, ClockTime, MemoryFlags, PadProbeData, PadProbeReturn, PadProbeType, Query,
};
use gst_app::AppSink;
use gst_video::{VideoInfo, VideoMeta};
use ks_allocator::{AgreedValue, Agreement, FramePool, Requirements, Sizes, negotiate};
use ks_allocator_gstreamer::{
    offer_agreement, requirements_behind, requirements_of_answer, requirements_of_source,
};

type Offer = Result<(Agreement, Option<FramePool>), String>;

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
    let picture = requirements_of_source("sink", &query).unwrap();
    let expected = picture.holds(3).max_frames(9).alignment(32).prefix(16);
    let expected = expected.sizes(Sizes::at_least(2_100));
    assert_eq!(requirements_of_answer("sink", &query), Some(expected));
}

#[test]
fn the_maximum_of_a_pool_that_is_offered_does_not_limit_another_pool() {
    let mut query = Allocation::new(Some(&caps()), true);
    let answer = query.get_mut().unwrap();
    answer.add_allocation_pool(Some(&gst::BufferPool::new()), 2_000, 3, 4);
    answer.add_allocation_meta::<VideoMeta>(None);
    let sink = requirements_of_answer("sink", &query).unwrap();
    let agreement = negotiate(&[sink, Requirements::new("app").holds(5)]).unwrap();
    assert_eq!(agreement.framing().frames, 9);
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
    assert!(requirements_of_source("caps", &Allocation::new(Some(&audio), true)).is_none());
    assert!(requirements_of_answer("caps", &Allocation::new(None, true)).is_none());
}

/// Offers an agreement at a pad. Returns what is reported.
fn offer(pad: &gst::Pad, branches: Vec<gst::Pad>, parties: Vec<Requirements>) -> Receiver<Offer> {
    let (sender, receiver) = mpsc::channel();
    offer_agreement(pad, branches, parties, move |result| {
        sender.send(result).unwrap();
    });
    receiver
}

/// Asks a query at a pad that offers an agreement of these parties. Returns the query, whether it
/// is answered, and what is reported.
fn ask(needs_pool: bool, parties: Vec<Requirements>) -> (Allocation<Query>, bool, Offer) {
    let mut query = Allocation::new(Some(&caps()), needs_pool);
    let sink = gst::ElementFactory::make("fakesink").build().unwrap();
    sink.set_state(gst::State::Paused).unwrap();
    let pad = sink.static_pad("sink").unwrap();
    let reports = offer(&pad, vec![], parties);
    let is_answered = pad.query(query.get_mut().unwrap());
    let report = reports.try_recv().unwrap();
    sink.set_state(gst::State::Null).unwrap();
    (query, is_answered, report)
}

/// Returns size, minimum, maximum and whether there is a pool, then alignment mask, prefix and
/// padding. They are the only pool and the only parameters of the answer.
fn fields(query: &Allocation) -> ((u32, u32, u32, bool), [usize; 3]) {
    let pools: Vec<_> = query.allocation_pools().collect();
    let params: Vec<_> = query.allocation_params().collect();
    let ([(pool, size, min, max)], [(None, params)]) = (&pools[..], &params[..]) else {
        panic!("{query:?}");
    };
    (
        (*size, *min, *max, pool.is_some()),
        [params.align(), params.prefix(), params.padding()],
    )
}

#[test]
fn an_agreement_becomes_the_fields_of_an_answer() {
    let parties = vec![
        Requirements::new("screen").holds(2).alignment(64),
        Requirements::new("network").holds(3).prefix(16),
        Requirements::new("encoder")
            .sizes(Sizes::at_least(1_000))
            .min_frames(8)
            .stride_alignment(32),
    ];
    let (query, is_answered, report) = ask(true, parties);
    assert!(is_answered);
    let (agreement, pool) = report.unwrap();
    let size = u32::try_from(agreement.framing().frame_size).unwrap();
    // Strides of 128 and twice 64 in 6 and twice 3 rows need more than 1,000 bytes.
    assert_eq!(size, 1_152);
    assert_eq!(fields(&query), ((size, 5, 8, true), [63, 64, 0]));
    assert!(query.find_allocation_meta::<VideoMeta>().is_some());
    let pool = pool.unwrap();
    assert_eq!((pool.frames(), pool.frame_len()), (8, 1_152));
    let frame = pool.acquire().unwrap();
    assert_eq!(frame.as_ptr().addr() % 64, 0);

    // An element that reads the answer gets the numbers of the agreement.
    let answer = requirements_of_answer("sink", &query).unwrap();
    let read = negotiate(&[answer.min_frames(8)]).unwrap().framing();
    let framing = agreement.framing();
    assert_eq!((read.frames, read.frame_size), (8, framing.frame_size));
    assert_eq!(
        (read.alignment, read.prefix),
        (framing.alignment, framing.prefix)
    );
}

#[test]
fn default_strides_are_answered_without_video_meta() {
    let unanswered = Allocation::new(Some(&caps()), true);
    let sink = requirements_of_answer("sink", &unanswered).unwrap();
    let (query, _, report) = ask(true, vec![sink.holds(1)]);
    assert_eq!(fields(&query), ((912, 1, 2, true), [0, 0, 0]));
    assert!(query.find_allocation_meta::<VideoMeta>().is_none());
    let (agreement, _) = report.unwrap();
    let strides = agreement.video_layout().unwrap().planes().iter();
    assert!(strides.map(|plane| plane.stride).eq([100, 52, 52]));
}

#[test]
fn a_source_that_asks_for_no_pool_allocates() {
    let source = |needs_pool| {
        let query = Allocation::new(Some(&caps()), needs_pool);
        requirements_of_source("source", &query).unwrap()
    };
    assert_eq!(source(false), source(true).allocates());

    let party = Requirements::new("sink").holds(2).alignment(32);
    let (query, is_answered, report) = ask(false, vec![party]);
    assert!(is_answered);
    let (agreement, pool) = report.unwrap();
    assert!(pool.is_none());
    assert_eq!(agreement.allocator(), Some("source"));
    assert_eq!(fields(&query), ((900, 2, 3, false), [31, 0, 0]));

    let (query, is_answered, report) = ask(false, vec![Requirements::new("gpu").allocates()]);
    assert!(!is_answered && query.allocation_pools().next().is_none());
    assert_eq!(
        report.unwrap_err(),
        "`gpu` needs to allocate the frames itself, `source` needs to allocate the frames itself: \
         a pool has one allocator"
    );
}

#[test]
fn an_alignment_that_has_no_mask_is_reported() {
    let (query, is_answered, report) = ask(true, vec![Requirements::new("sink").alignment(48)]);
    assert!(!is_answered && query.allocation_params().next().is_none());
    assert_eq!(
        report.unwrap_err(),
        "the agreed alignment of 48 bytes is not a power of 2, as GStreamer needs it"
    );
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

    let tee = bin.by_name("tee").unwrap();
    let pad = |name| tee.static_pad(name).unwrap();
    let application = Requirements::new("application").holds(1);
    let reports = offer(
        &pad("sink"),
        vec![pad("src_0"), pad("src_1")],
        vec![application],
    );
    let mut query = Allocation::new(Some(&caps), true);
    let source = bin.by_name("source").unwrap().static_pad("src").unwrap();
    assert!(source.peer_query(query.get_mut().unwrap()));
    assert_eq!(fields(&query).0, (912, 6, 7, true));
    let (agreement, _) = reports.try_recv().unwrap().unwrap();
    let held: Vec<_> = agreement.held_by().collect();
    assert_eq!(held, [("application", 1), ("one", 2), ("two", 3)]);
    bin.set_state(gst::State::Null).unwrap();
}

#[test]
fn without_an_agreement_the_answer_is_that_of_the_element() {
    let mut query = Allocation::new(Some(&caps()), true);
    let bin = gst::parse::bin_from_description("identity name=pass ! fakesink name=sink", false);
    let bin = bin.unwrap();
    let pad = |element, name| bin.by_name(element).unwrap().static_pad(name).unwrap();
    answer_with_minimum(&pad("sink", "sink"), 2);
    bin.set_state(gst::State::Paused).unwrap();
    let gpu = Requirements::new("gpu").alignment(65_537);
    let reports = offer(&pad("pass", "sink"), vec![pad("pass", "src")], vec![gpu]);
    assert!(pad("pass", "sink").query(query.get_mut().unwrap()));
    let pools: Vec<_> = query.allocation_pools().collect();
    assert_eq!(pools, [(None, 900, 2, 0)]);
    assert!(reports.try_recv().unwrap().is_err());
    assert!(reports.try_recv().is_err(), "the query is reported twice");
    bin.set_state(gst::State::Null).unwrap();
}

#[test]
fn the_answer_of_an_element_is_part_of_the_agreement() {
    gst::init().unwrap();
    let description = "videotestsrc num-buffers=1 ! video/x-raw,format=NV12,width=100,height=60 ! \
                       identity name=pass ! videoconvert name=converter ! \
                       video/x-raw,format=BGRx ! fakesink";
    let pipeline = gst::parse::launch(description).unwrap();
    let pass = pipeline.downcast_ref::<gst::Pipeline>().unwrap();
    let pass = pass.by_name("pass").unwrap();
    let pad = |name| pass.static_pad(name).unwrap();
    let reports = offer(&pad("sink"), vec![pad("src")], vec![]);
    pipeline.set_state(gst::State::Playing).unwrap();
    let report = reports.recv_timeout(Duration::from_secs(10)).unwrap();
    let (agreement, _) = report.unwrap();
    assert_eq!(agreement.framing().alignment, 16);
    assert_eq!(agreement.decided_by(AgreedValue::Alignment), ["converter"]);
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_source_writes_into_a_pool_that_was_negotiated_in_its_query() {
    gst::init().unwrap();
    let description = "videotestsrc num-buffers=5 ! video/x-raw,format=NV12,width=100,height=60 ! \
                       appsink name=sink sync=false";
    let pipeline = gst::parse::launch(description).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let parties = vec![
        Requirements::new("screen").stride_alignment(256).holds(2),
        Requirements::new("appsink").holds(3),
    ];
    let reports = offer(&sink.static_pad("sink").unwrap(), vec![], parties);
    pipeline.set_state(gst::State::Playing).unwrap();
    let report = reports.recv_timeout(Duration::from_secs(10)).unwrap();
    let (agreement, pool) = report.unwrap();
    let pool = pool.unwrap();
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
    let parties = vec![Requirements::new("encoder").formats([ks_allocator::VideoFormat::P010])];
    let reports = offer(&pad, vec![], parties);
    pipeline.set_state(gst::State::Playing).unwrap();
    let report = reports.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(
        report.unwrap_err(),
        "`encoder` needs the format P010, `source` needs the format NV12: they have no format in \
         common"
    );
    pipeline.set_state(gst::State::Null).unwrap();
}
