//! Requirements that do not go together.

use std::error::Error;
use std::fmt;

use super::need::{Listed, Need, PartyNeed};
use super::solver::{Failure, solve};

/// Requirements that cannot be met together, returned by [`negotiate`](super::negotiate).
///
/// It is minimal: without any one of its requirements, the others can be met. It displays as one
/// sentence. The conflict of an [`UnmetWish`](super::UnmetWish) contains wishes, too.
///
/// ```
/// use ks_allocator::{AllocatorMode, Requirements, Sizes, negotiate};
///
/// let driver = Requirements::new("driver").modes([AllocatorMode::Kernel]).alignment(4096);
/// let plugin = Requirements::new("plugin").modes([AllocatorMode::User]).prefix(16);
/// let conflict = negotiate(&[driver.sizes(Sizes::exactly(64)), plugin]).unwrap_err();
/// assert_eq!(
///     conflict.to_string(),
///     "`driver` needs the mode kernel, `plugin` needs the mode user: they have no mode in common"
/// );
/// assert_eq!(conflict.parties().collect::<Vec<_>>(), ["driver", "plugin"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    parties: Vec<PartyTexts>,
    reason: Box<Failure>,
}

/// Texts of the requirements and wishes of one party.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PartyTexts {
    name: String,
    needs: Vec<String>,
    wishes: Vec<String>,
}

impl Conflict {
    /// Returns the names of the parties whose requirements do not go together.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::between(9, 8));
    /// let conflict = negotiate(&[one, Requirements::new("two")]).unwrap_err();
    /// assert_eq!(conflict.parties().collect::<Vec<_>>(), ["one"]);
    /// ```
    pub fn parties(&self) -> impl Iterator<Item = &str> {
        self.parties.iter().map(|party| party.name.as_str())
    }

    /// Returns the number of requirements and wishes that do not go together.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::at_least(9)).alignment(4);
    /// let two = Requirements::new("two").sizes(Sizes::between(1, 8)).prefix(4);
    /// assert_eq!(negotiate(&[one, two]).unwrap_err().requirements(), 2);
    /// ```
    #[must_use]
    pub fn requirements(&self) -> usize {
        let parties = self.parties.iter();
        parties
            .map(|party| party.needs.len() + party.wishes.len())
            .sum()
    }

    /// Returns the name and the text of each requirement.
    #[cfg(all(test, not(any(loom, miri))))]
    pub(super) fn requirements_of_parties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parties.iter().flat_map(|party| {
            let texts = party.needs.iter().chain(&party.wishes);
            texts.map(|text| (party.name.as_str(), text.as_str()))
        })
    }

    /// Returns the conflict of parties none of which says how large a frame is.
    pub(super) fn no_size() -> Self {
        Self {
            parties: Vec::new(),
            reason: Box::new(Failure::NoSize),
        }
    }

    /// Finds a minimal conflict in requirements and wishes that cannot be met together.
    pub(super) fn in_needs(names: &[&str], needs: &[PartyNeed<'_>]) -> Self {
        let mut minimal = needs.to_vec();
        // In an order of their own, so that the result does not depend on that of the parties.
        // Wishes are left out first.
        minimal.sort_by_cached_key(|need| (!need.is_wish, sentence_order(names, need)));
        // Leaves out several at a time, twice as many each time that this leaves a conflict.
        let (mut position, mut count) = (0, 1);
        while position < minimal.len() {
            let end = minimal.len().min(position + count);
            let fewer = [&minimal[..position], &minimal[end..]].concat();
            if solve(&fewer).is_err() {
                minimal = fewer;
                count *= 2;
            } else if count > 1 {
                count /= 2;
            } else {
                position += 1;
            }
        }
        minimal.sort_by_cached_key(|need| sentence_order(names, need));
        let reason = solve(&minimal).err().unwrap_or(Failure::NoSize);
        let mut parties: Vec<PartyTexts> = Vec::new();
        for need in minimal {
            let name = names[need.party];
            if parties.last().is_none_or(|last| last.name != name) {
                parties.push(PartyTexts {
                    name: name.to_owned(),
                    needs: Vec::new(),
                    wishes: Vec::new(),
                });
            }
            if let Some(party) = parties.last_mut() {
                let texts = if need.is_wish {
                    &mut party.wishes
                } else {
                    &mut party.needs
                };
                texts.push(need.need.to_string());
            }
        }
        Self {
            parties,
            reason: Box::new(reason),
        }
    }
}

fn sentence_order<'a>(names: &[&'a str], need: &PartyNeed<'_>) -> (&'a str, usize, String) {
    (names[need.party], rank(need.need), need.need.to_string())
}

/// Returns the position of a requirement in a sentence.
fn rank(need: &Need) -> usize {
    match need {
        Need::Picture { .. } => 0,
        Need::Formats(_) => 1,
        Need::DerivedStrides => 2,
        Need::Stride(_) => 3,
        Need::Sizes(_) => 4,
        Need::Alignment(_) => 5,
        Need::WholePages(_) => 6,
        Need::Prefix(_) => 7,
        Need::Modes(_) => 8,
        Need::Holds { .. } => 9,
        Need::MinFrames(_) => 10,
        Need::MaxFrames(_) => 11,
        Need::Allocates => 12,
        Need::Modifies => 13,
        Need::Unmodified { .. } => 14,
        Need::BranchUnmodified { .. } => 15,
        Need::Unavailable(_) => 16,
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, party) in self.parties.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}`{}` ", party.name)?;
            if !party.needs.is_empty() {
                write!(f, "needs {}", Listed(&party.needs))?;
            }
            if !party.wishes.is_empty() {
                let and = if party.needs.is_empty() { "" } else { " and " };
                write!(f, "{and}wants {}", Listed(&party.wishes))?;
            }
        }
        let colon = if self.parties.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.reason)
    }
}

impl Error for Conflict {}
