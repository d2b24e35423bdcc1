//! Stages of a pipeline, and the pipes that share frames.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use super::agreement::{Agreement, negotiate};
use super::conflict::Conflict;
use super::need::Need;
use super::requirements::Requirements;

/// Stage of a pipeline, and the stages that it passes frames on to.
///
/// Stages that share the frames of one pool are a *pipe*, as in kernel streaming. A stage that
/// copies is the end of one pipe and the source of another. [`negotiate`](Self::negotiate) finds an
/// agreement for each pipe.
///
/// A stage with several followers is a fan-out: all of them get every frame, and share it.
///
/// ```
/// use ks_allocator::{Requirements, Stage, VideoFormat};
///
/// let camera = Requirements::new("camera").picture(1920, 1080).formats([VideoFormat::Nv12]);
/// let denoiser = Requirements::new("denoiser").modifies();
/// let scaler_in = Requirements::new("scaler").holds(1);
/// let scaler_out = Requirements::new("scaler").picture(640, 360).formats([VideoFormat::Nv12]);
/// let encoder = Requirements::new("encoder").stride_alignment(64).holds(4);
/// let screen = Requirements::new("screen").stride_alignment(256).holds(2);
///
/// let scaler = Stage::copying(scaler_in, scaler_out).to(Stage::new(encoder));
/// let denoiser = Stage::new(denoiser).to(scaler).to(Stage::new(screen));
/// let pipes = Stage::new(camera).to(denoiser).negotiate()?;
///
/// let [large, small] = &pipes[..] else { unreachable!("one stage copies") };
/// assert_eq!(large.parties().collect::<Vec<_>>(), ["camera", "denoiser", "scaler", "screen"]);
/// assert_eq!(large.agreement().framing().frames, 4); // 1 + 2, and 1
/// assert_eq!(small.parties().collect::<Vec<_>>(), ["scaler", "encoder"]);
/// assert_eq!(small.agreement().framing().frames, 5);
/// # Ok::<(), ks_allocator::PipeConflict>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "stages have an effect when they are negotiated"]
pub struct Stage {
    /// Requirements of the frames that the stage gets, or makes if it is the first.
    pub(super) input: Requirements,
    /// Requirements of the frames that it copies to, if it copies.
    pub(super) output: Option<Requirements>,
    pub(super) next: Vec<Stage>,
}

/// Part of a pipeline: the stages that share the frames of one pool.
#[derive(Clone, Debug)]
pub struct Pipe {
    parties: Vec<String>,
    agreement: Agreement,
}

/// Conflict among the stages of one pipe.
///
/// ```
/// use ks_allocator::{Requirements, Sizes, Stage};
///
/// let small = Stage::new(Requirements::new("screen").sizes(Sizes::between(1, 99)));
/// let camera = Stage::new(Requirements::new("camera").sizes(Sizes::exactly(100)));
/// assert_eq!(
///     camera.to(small).negotiate().unwrap_err().to_string(),
///     "frames of `camera`: `camera` needs a frame size of 100 bytes, `screen` needs a frame size \
///      from 1 to 99 bytes: a frame would have at least 100 and at most 99 bytes"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipeConflict {
    /// Name of the stage whose frames they are.
    pub source: String,
    /// Requirements that cannot be met together.
    pub conflict: Conflict,
}

impl fmt::Display for PipeConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frames of `{}`: {}", self.source, self.conflict)
    }
}

impl Error for PipeConflict {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.conflict)
    }
}

impl Pipe {
    /// Returns the names of the stages, the source first, each before those that it passes frames
    /// on to.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, Stage};
    /// let camera = Stage::new(Requirements::new("camera").sizes(Sizes::exactly(100)));
    /// let camera = camera.to(Stage::new(Requirements::new("screen")));
    /// let pipes = camera.negotiate()?;
    /// assert_eq!(pipes[0].parties().collect::<Vec<_>>(), ["camera", "screen"]);
    /// # Ok::<(), ks_allocator::PipeConflict>(())
    /// ```
    pub fn parties(&self) -> impl Iterator<Item = &str> {
        self.parties.iter().map(String::as_str)
    }

    /// Returns the agreement on the frames.
    ///
    /// ```
    /// # use ks_allocator::{FramePool, Requirements, Sizes, Stage};
    /// let camera = Stage::new(Requirements::new("camera").sizes(Sizes::exactly(100)));
    /// let pipes = camera.negotiate()?;
    /// let pool = FramePool::builder().agreement(pipes[0].agreement()).build()?;
    /// assert_eq!(pool.frame_len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }
}

impl Stage {
    /// Makes a stage that passes on the frames that it gets: a filter that works in place, a sink,
    /// or the source of the pipeline.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, Stage};
    /// let camera = Stage::new(Requirements::new("camera").sizes(Sizes::exactly(100)));
    /// assert_eq!(camera.negotiate()?.len(), 1);
    /// # Ok::<(), ks_allocator::PipeConflict>(())
    /// ```
    pub fn new(requirements: Requirements) -> Self {
        Self {
            input: requirements,
            output: None,
            next: Vec::new(),
        }
    }

    /// Makes a stage that copies: it reads the frames that it gets, and writes frames of another
    /// pool. `input` and `output` are its requirements of either. Of the first stage of a pipeline,
    /// only `output` counts.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, Stage};
    /// let frames = |name: &str, bytes| Requirements::new(name).sizes(Sizes::exactly(bytes));
    /// let decoder = Stage::copying(Requirements::new("decoder"), frames("decoder", 6_000));
    /// let pipes = Stage::new(frames("network", 100)).to(decoder).negotiate()?;
    /// assert_eq!(pipes[0].agreement().framing().frame_size, 100);
    /// assert_eq!(pipes[1].agreement().framing().frame_size, 6_000);
    /// # Ok::<(), ks_allocator::PipeConflict>(())
    /// ```
    pub fn copying(input: Requirements, output: Requirements) -> Self {
        Self {
            input,
            output: Some(output),
            next: Vec::new(),
        }
    }

    /// Adds a stage that gets the frames of this one. If several are added, each gets every frame.
    ///
    /// A stage that [modifies](Requirements::modifies) frames must copy if another branch has the
    /// same frames:
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, Stage};
    /// let overlay = || Requirements::new("overlay").modifies();
    /// let camera = Stage::new(Requirements::new("camera").sizes(Sizes::exactly(100)))
    ///     .to(Stage::new(Requirements::new("encoder")));
    /// let error = camera.clone().to(Stage::new(overlay())).negotiate().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "frames of `camera`: `encoder` needs frames that no other branch modifies, `overlay` \
    ///      needs to modify frames in place: they have the same frames"
    /// );
    /// let copy = Requirements::new("overlay").sizes(Sizes::exactly(100));
    /// let copying = Stage::copying(Requirements::new("overlay"), copy);
    /// assert_eq!(camera.to(copying).negotiate()?.len(), 2);
    /// # Ok::<(), ks_allocator::PipeConflict>(())
    /// ```
    pub fn to(mut self, next: Self) -> Self {
        self.next.push(next);
        self
    }

    /// Finds an agreement for each pipe of the pipeline that begins with this stage. A pipe comes
    /// after the one that its source reads from.
    ///
    /// The pools cannot deadlock. [`Requirements::holds`] has the reason for one pipe. A stage that
    /// copies waits only for frames of the pipe behind it, and the last pipes wait for no other. So
    /// no pipe waits for ever.
    ///
    /// # Errors
    ///
    /// Returns a [`PipeConflict`] for the first pipe that has no agreement.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Stage};
    /// let error = Stage::new(Requirements::new("camera")).negotiate().unwrap_err();
    /// assert_eq!(error.to_string(), "frames of `camera`: no party says how large a frame is");
    /// ```
    pub fn negotiate(&self) -> Result<Vec<Pipe>, PipeConflict> {
        let source = self.output.as_ref().unwrap_or(&self.input);
        let mut waiting = VecDeque::from([(Members::of_source(source), &self.next)]);
        let mut pipes = Vec::new();
        while let Some((mut members, next)) = waiting.pop_front() {
            let mut stages: Vec<_> = next.iter().rev().map(|stage| (0, stage)).collect();
            while let Some((giver, stage)) = stages.pop() {
                let number = members.add(&stage.input, giver);
                match &stage.output {
                    Some(output) => waiting.push_back((Members::of_source(output), &stage.next)),
                    None => stages.extend(stage.next.iter().rev().map(|next| (number, next))),
                }
            }
            pipes.push(members.negotiate()?);
        }
        Ok(pipes)
    }
}

/// Parties of one pipe.
struct Members {
    parties: Vec<Requirements>,
    /// For each party, the numbers of those that have a frame before it.
    before: Vec<Vec<usize>>,
}

impl Members {
    fn of_source(source: &Requirements) -> Self {
        Self {
            parties: vec![source.clone()],
            before: vec![Vec::new()],
        }
    }

    /// Adds a party that gets the frames of another, and returns its number.
    fn add(&mut self, party: &Requirements, giver: usize) -> usize {
        let mut before = self.before[giver].clone();
        before.push(giver);
        self.before.push(before);
        self.parties.push(party.clone());
        self.parties.len() - 1
    }

    fn negotiate(mut self) -> Result<Pipe, PipeConflict> {
        for number in 0..self.parties.len() {
            self.add_order(number);
        }
        match negotiate(&self.parties) {
            Ok(agreement) => Ok(Pipe {
                parties: self.parties.into_iter().map(|party| party.name).collect(),
                agreement,
            }),
            Err(conflict) => Err(PipeConflict {
                source: self.parties[0].name.clone(),
                conflict,
            }),
        }
    }

    /// Adds to the requirements of a party which others have frames before it, and beside it.
    fn add_order(&mut self, number: usize) {
        let before = self.before[number].clone();
        let is_beside = |other: usize| {
            other != number && !before.contains(&other) && !self.before[other].contains(&number)
        };
        let (beside, except): (Vec<usize>, Vec<usize>) =
            (0..self.parties.len()).partition(|&other| is_beside(other));
        let party = &mut self.parties[number];
        for need in party.all_needs_mut() {
            if let Need::Unmodified { except } = need {
                except.clone_from(&before);
            }
        }
        if beside.iter().any(|&other| self.parties[other].may_modify()) {
            let need = Need::BranchUnmodified { except };
            self.parties[number].needs.push(need);
        }
    }
}
