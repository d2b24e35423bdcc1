//! Requirements that do not go together.

use std::error::Error;
use std::fmt;

use super::need::{Listed, Need, PartyNeed};
use super::solver::{Failure, solve};

/// Requirements that cannot be met together, returned by [`negotiate`](super::negotiate).
///
/// It is minimal: without any one of its requirements, the others can be met. It displays as one
/// sentence.
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
    /// Name of each party, and its requirements.
    parties: Vec<(String, Vec<String>)>,
    reason: Failure,
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
        self.parties.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the number of requirements that do not go together.
    ///
    /// ```
    /// # use ks_allocator::{Requirements, Sizes, negotiate};
    /// let one = Requirements::new("one").sizes(Sizes::at_least(9)).alignment(4);
    /// let two = Requirements::new("two").sizes(Sizes::between(1, 8)).prefix(4);
    /// assert_eq!(negotiate(&[one, two]).unwrap_err().requirements(), 2);
    /// ```
    #[must_use]
    pub fn requirements(&self) -> usize {
        self.parties.iter().map(|(_, needs)| needs.len()).sum()
    }

    /// Returns the name and the text of each requirement.
    #[cfg(all(test, not(any(loom, miri))))]
    pub(super) fn requirements_of_parties(&self) -> impl Iterator<Item = (&str, String)> {
        let parties = self.parties.iter();
        parties.flat_map(|(name, needs)| needs.iter().map(|need| (name.as_str(), need.clone())))
    }

    /// Finds a minimal conflict in requirements that cannot be met together.
    pub(super) fn in_needs(names: &[&str], needs: &[PartyNeed<'_>]) -> Self {
        let mut minimal = needs.to_vec();
        // In an order of their own, so that the result does not depend on that of the parties.
        minimal
            .sort_by_cached_key(|need| (names[need.party], rank(need.need), need.need.to_string()));
        let mut reason = Failure::NoSize;
        let mut position = 0;
        while position < minimal.len() {
            let need = minimal.remove(position);
            if conflict_of(&minimal).is_none() {
                minimal.insert(position, need);
                position += 1;
            }
        }
        if let Some(failure) = conflict_of(&minimal) {
            reason = failure;
        }
        let mut parties: Vec<(String, Vec<String>)> = Vec::new();
        for need in minimal {
            let name = names[need.party];
            let text = need.need.to_string();
            match parties.iter_mut().find(|(known, _)| known == name) {
                Some((_, needs)) => needs.push(text),
                None => parties.push((name.to_owned(), vec![text])),
            }
        }
        Self { parties, reason }
    }
}

/// Returns why the requirements cannot be met. Requirements that only leave the size open can.
fn conflict_of(needs: &[PartyNeed<'_>]) -> Option<Failure> {
    solve(needs)
        .err()
        .filter(|failure| *failure != Failure::NoSize)
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
        Need::Holds(_) => 9,
        Need::MinFrames(_) => 10,
        Need::MaxFrames(_) => 11,
        Need::Allocates => 12,
        Need::Modifies => 13,
        Need::Unmodified { .. } => 14,
        Need::BranchUnmodified { .. } => 15,
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, needs)) in self.parties.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}`{name}` needs {}", Listed(needs))?;
        }
        let colon = if self.parties.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.reason)
    }
}

impl Error for Conflict {}
