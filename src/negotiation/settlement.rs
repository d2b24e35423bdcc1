//! Requirements and wishes of parties, put together one after the other.

use super::conflict::Conflict;
use super::need::{Need, PartyNeed};
use super::requirements::Requirements;
use super::sizes::Sizes;
use super::solver::{Solution, nearest_size, solve};

/// Wish that an agreement does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnmetWish {
    /// Name of the party.
    pub party: String,
    /// Weight of the wish. It is 0 for a size that a party [prefers](crate::Sizes::preferably), and
    /// for frames that it [likes to keep](Requirements::holds_between). They come after all other
    /// wishes.
    pub weight: u32,
    /// Requirements, and wishes that were met before, that it does not go together with.
    pub conflict: Conflict,
}

/// Says if the reasons of unmet wishes are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reasons {
    Found,
    LeftOut,
}

/// Values that meet all requirements, and the wishes that they do not meet.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) solution: Solution,
    pub(super) held: Vec<Held>,
    /// Empty if the reasons are left out.
    pub(super) unmet_wishes: Vec<UnmetWish>,
}

/// Number of frames that a party may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) party: usize,
    pub(super) frames: usize,
    /// Part of `min` that is not a wish.
    needed: usize,
    min: usize,
    max: usize,
}

/// Finds the values that meet the requirements of those parties that are `included`, and as many
/// of their wishes as possible. `wishes` are those of all parties.
///
/// The order is that of the weights of wishes. Then come the preferred sizes, the largest first. If
/// none is possible, the size is the nearest to the largest of them. The order of the formats in
/// the lists of the parties is more important than these.
pub(super) fn settle(
    parties: &[Requirements],
    wishes: &[Wish<'_>],
    included: &[bool],
    reasons: Reasons,
) -> Result<Settled, Conflict> {
    let names: Vec<&str> = parties.iter().map(|party| party.name.as_str()).collect();
    let numbers = || (0..parties.len()).filter(|&party| included[party]);
    let mut needs: Vec<PartyNeed<'_>> = Vec::new();
    for party in numbers() {
        needs.extend(of_party(party, &parties[party].needs, false));
    }
    if solve(&needs).is_err() {
        return Err(Conflict::in_needs(&names, &needs));
    }
    let mut unmet_wishes = Vec::new();
    let mut add_unmet = |party: usize, weight, needs: &[PartyNeed<'_>]| {
        if reasons == Reasons::Found {
            unmet_wishes.push(UnmetWish {
                party: names[party].to_owned(),
                weight,
                conflict: Conflict::in_needs(&names, needs),
            });
        }
    };
    let mut decided: Vec<&[Need]> = Vec::new();
    for &(party, weight, wished) in wishes.iter().filter(|(party, ..)| included[*party]) {
        if reasons == Reasons::LeftOut && wished.iter().all(Need::is_idempotent) {
            // An equal wish changes nothing if it was met, and fails again if it was not.
            if decided.contains(&wished) {
                continue;
            }
            decided.push(wished);
        }
        let met = needs.len();
        needs.extend(of_party(party, wished, true));
        if solve(&needs).is_err() {
            add_unmet(party, weight, &needs);
            needs.truncate(met);
        }
    }

    let (preferred, chosen) = (preferred_sizes(&names, &needs), chosen_format(&needs));
    if !preferred.is_empty() {
        needs.extend(chosen.iter().map(as_wish));
    }
    let mut is_met = false;
    for size in &preferred {
        needs.push(as_wish(size));
        if solve(&needs).is_ok() {
            is_met = true;
        } else {
            add_unmet(size.0, 0, &needs);
            needs.pop();
        }
    }
    let nearest = preferred.first().filter(|_| !is_met);
    let nearest = nearest.and_then(|size| nearest_to(size, &needs));
    if let Some(nearest) = &nearest {
        needs.push(as_wish(nearest));
        if solve(&needs).is_err() {
            needs.pop();
        }
    }

    let solution = solve(&needs).map_err(|_| Conflict::in_needs(&names, &needs))?;
    let held = held(&names, &needs, solution.framing.frames);
    for (position, of_party) in held.iter().enumerate() {
        if of_party.frames < of_party.max {
            let wished = with_frames(&held, position);
            let rest = needs
                .iter()
                .filter(|need| !matches!(need.need, Need::Holds { .. }));
            let held = wished.iter().map(|(party, need, is_wish)| PartyNeed {
                party: *party,
                need,
                is_wish: *is_wish,
            });
            let needs: Vec<_> = rest.copied().chain(held).collect();
            add_unmet(of_party.party, 0, &needs);
        }
    }
    Ok(Settled {
        solution,
        held,
        unmet_wishes,
    })
}

fn of_party(party: usize, needs: &[Need], is_wish: bool) -> impl Iterator<Item = PartyNeed<'_>> {
    needs.iter().map(move |need| PartyNeed {
        party,
        need,
        is_wish,
    })
}

fn as_wish((party, need): &(usize, Need)) -> PartyNeed<'_> {
    PartyNeed {
        party: *party,
        need,
        is_wish: true,
    }
}

/// Party, weight and needs of a wish.
pub(super) type Wish<'a> = (usize, u32, &'a [Need]);

/// Returns all wishes, those of larger weight first, in an order that does not depend on that of
/// the parties.
pub(super) fn wishes(parties: &[Requirements]) -> Vec<Wish<'_>> {
    let wishes = parties.iter().enumerate().flat_map(|(party, all)| {
        let wishes = all.wishes.iter();
        wishes.map(move |(weight, needs)| (party, *weight, needs.as_slice()))
    });
    let mut wishes: Vec<_> = wishes.collect();
    wishes.sort_by_cached_key(|&(party, weight, needs)| {
        let texts: Vec<_> = needs.iter().map(Need::to_string).collect();
        (u32::MAX - weight, &parties[party].name, texts)
    });
    wishes
}

/// Returns the sizes that parties prefer, the largest first.
fn preferred_sizes(names: &[&str], needs: &[PartyNeed<'_>]) -> Vec<(usize, Need)> {
    let sizes = needs.iter().filter_map(|party| match party.need {
        Need::Sizes(sizes) => sizes.preferred.map(|size| (party.party, size)),
        _ => None,
    });
    let mut sizes: Vec<_> = sizes.collect();
    sizes.sort_by_key(|&(party, size)| (usize::MAX - size, names[party]));
    let needs = sizes
        .into_iter()
        .map(|(party, size)| (party, Need::Sizes(Sizes::exactly(size))));
    needs.collect()
}

/// Returns the size that is possible and nearest to a preferred one.
fn nearest_to(
    (party, preferred): &(usize, Need),
    needs: &[PartyNeed<'_>],
) -> Option<(usize, Need)> {
    let Need::Sizes(preferred) = preferred else {
        return None;
    };
    let smallest = solve(needs).ok()?.framing.frame_size;
    let size = nearest_size(needs, smallest, preferred.min);
    Some((*party, Need::Sizes(Sizes::exactly(size))))
}

/// Returns the format that is the best by the lists of the parties, as a need of each of them.
fn chosen_format(needs: &[PartyNeed<'_>]) -> Vec<(usize, Need)> {
    let format = solve(needs).ok().and_then(|solution| solution.format);
    let lists = needs
        .iter()
        .filter(|party| matches!(party.need, Need::Formats(_)));
    format
        .into_iter()
        .flat_map(|format| {
            let lists = lists.clone();
            lists.map(move |party| (party.party, Need::Formats(vec![format])))
        })
        .collect()
}

/// Divides the frames of a pool, except one, among the parties that keep frames. Each gets its
/// minimum. The other frames are shared out one by one, in the order of the names, to those that
/// have less than their maximum.
fn held(names: &[&str], needs: &[PartyNeed<'_>], frames: usize) -> Vec<Held> {
    let mut all: Vec<Held> = Vec::new();
    for need in needs {
        if let Need::Holds { min, max } = *need.need {
            let needed = if need.is_wish { 0 } else { min };
            match all.iter_mut().find(|held| held.party == need.party) {
                Some(held) => {
                    held.needed = held.needed.saturating_add(needed);
                    held.min = held.min.saturating_add(min);
                    held.max = held.max.saturating_add(max);
                }
                None => all.push(Held {
                    party: need.party,
                    frames: 0,
                    needed,
                    min,
                    max,
                }),
            }
        }
    }
    all.retain(|held| held.max > 0);
    all.sort_by_key(|held| (names[held.party], held.min, held.max));
    let left = all
        .iter()
        .fold(frames, |left, held| left.saturating_sub(held.min));
    let mut left = left.saturating_sub(1);
    // The number that each can get without any getting more than another that still wants one.
    let shared = |level: usize| {
        let shares = all
            .iter()
            .map(|held| (held.max - held.min).min(level) as u128);
        shares.sum::<u128>()
    };
    let (mut level, mut beyond) = (0, left.saturating_add(1));
    while beyond - level > 1 {
        let middle = level.midpoint(beyond);
        if shared(middle) <= left as u128 {
            level = middle;
        } else {
            beyond = middle;
        }
    }
    for held in &mut all {
        let share = (held.max - held.min).min(level);
        held.frames = held.min + share;
        left -= share;
    }
    for held in &mut all {
        if held.frames < held.max && left > 0 {
            held.frames += 1;
            left -= 1;
        }
    }
    all
}

/// Returns the frames of all parties as needs: the maximum of one, and what the others have got.
/// The third value is whether it is a wish.
fn with_frames(held: &[Held], wishing: usize) -> Vec<(usize, Need, bool)> {
    let needs = held.iter().enumerate().map(|(position, held)| {
        let frames = if position == wishing {
            held.max
        } else {
            held.frames
        };
        let need = Need::Holds {
            min: frames,
            max: frames,
        };
        (held.party, need, frames > held.needed)
    });
    needs.collect()
}
