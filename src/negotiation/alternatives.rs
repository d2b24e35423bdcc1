//! Parties that have alternatives.

use std::error::Error;
use std::fmt;

use super::agreement::{Agreement, negotiate};
use super::conflict::Conflict;
use super::requirements::Requirements;

/// Maximum number of combinations of alternatives.
const MAX_COMBINATIONS: usize = 4096;

/// Alternatives that go together, and their agreement, made by [`negotiate_alternatives`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Choice {
    /// The agreement.
    pub agreement: Agreement,
    /// For each party, the position of the chosen alternative in its list.
    pub positions: Vec<usize>,
}

/// Finds an agreement of parties each of which has alternatives: lists of requirements, the best
/// first.
///
/// An item of a kernel streaming pin is such an alternative, as is a value of an enumeration of
/// `SPA_PARAM_Buffers`. The combination with the best sum of positions is chosen, among those that
/// have an agreement. Wishes do not matter for this choice. If several are equal, the parties whose
/// names come first get their better alternatives.
///
/// # Errors
///
/// Returns a [`NoAlternative`] if no combination has an agreement, if a party has no alternative,
/// and if there are more than 4,096 combinations.
///
/// ```
/// use ks_allocator::{Requirements, Sizes, negotiate_alternatives};
///
/// let size = |name: &str, bytes| Requirements::new(name).sizes(Sizes::exactly(bytes));
/// let source = [300, 200, 100].map(|bytes| size("source", bytes));
/// let sink = [100, 150, 200].map(|bytes| size("sink", bytes));
/// let choice = negotiate_alternatives(&[source.clone(), sink])?;
/// assert_eq!(choice.agreement.framing().frame_size, 100); // positions 2 + 0; 200 would be 1 + 2
/// assert_eq!(choice.positions, [2, 0]);
///
/// let error = negotiate_alternatives(&[&source[..2], &[size("sink", 100)]]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "none of 2 combinations of alternatives has an agreement; the best: `sink` needs a frame \
///      size of 100 bytes, `source` needs a frame size of 300 bytes: a frame would have at least \
///      300 and at most 100 bytes"
/// );
/// # Ok::<(), ks_allocator::NoAlternative>(())
/// ```
#[doc(alias("KS_FRAMING_ITEM", "SPA_CHOICE_Enum"))]
pub fn negotiate_alternatives<P: AsRef<[Requirements]>>(
    parties: &[P],
) -> Result<Choice, NoAlternative> {
    let parties: Vec<&[Requirements]> = parties.iter().map(AsRef::as_ref).collect();
    let mut conflicts = Vec::new();
    for positions in combinations(&parties)? {
        let chosen = parties.iter().zip(&positions);
        let chosen: Vec<_> = chosen
            .map(|(alternatives, &position)| alternatives[position].clone())
            .collect();
        match negotiate(&chosen) {
            Ok(agreement) => {
                return Ok(Choice {
                    agreement,
                    positions,
                });
            }
            Err(conflict) => conflicts.push(conflict),
        }
    }
    Err(NoAlternative::Conflicts(conflicts))
}

/// Returns all combinations of positions, those with the smallest sum first.
fn combinations(parties: &[&[Requirements]]) -> Result<Vec<Vec<usize>>, NoAlternative> {
    if let Some(party) = parties.iter().position(|party| party.is_empty()) {
        return Err(NoAlternative::NoneOf { party });
    }
    let count = parties
        .iter()
        .fold(1_usize, |count, party| count.saturating_mul(party.len()));
    if count > MAX_COMBINATIONS {
        return Err(NoAlternative::TooMany {
            combinations: count,
            max: MAX_COMBINATIONS,
        });
    }
    let mut by_name: Vec<usize> = (0..parties.len()).collect();
    by_name.sort_by_key(|&party| parties[party][0].name());
    let mut all = vec![vec![0; parties.len()]];
    for &party in &by_name {
        all = all
            .into_iter()
            .flat_map(|start| {
                (0..parties[party].len()).map(move |position| {
                    let mut positions = start.clone();
                    positions[party] = position;
                    positions
                })
            })
            .collect();
    }
    // Stable: of equal sums, the order by name stays.
    all.sort_by_key(|positions| positions.iter().sum::<usize>());
    Ok(all)
}

/// Reason why [`negotiate_alternatives`] has found no agreement.
///
/// ```
/// use ks_allocator::{NoAlternative, Requirements, negotiate_alternatives};
///
/// let error = negotiate_alternatives(&[vec![Requirements::new("camera")], vec![]]).unwrap_err();
/// assert_eq!(error.to_string(), "party 1 has no alternative");
/// assert!(matches!(error, NoAlternative::NoneOf { party: 1 }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoAlternative {
    /// A party has no alternative.
    NoneOf {
        /// Number of the party, from 0.
        party: usize,
    },
    /// There are too many combinations to try.
    TooMany {
        /// Number of combinations.
        combinations: usize,
        /// Maximum number.
        max: usize,
    },
    /// No combination has an agreement. There is one conflict per combination, that of the best
    /// combination first.
    Conflicts(Vec<Conflict>),
}

impl fmt::Display for NoAlternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneOf { party } => write!(f, "party {party} has no alternative"),
            Self::TooMany { combinations, max } => write!(
                f,
                "{combinations} combinations of alternatives are too many; the maximum is {max}"
            ),
            Self::Conflicts(conflicts) => match &conflicts[..] {
                [] => f.write_str("there are no parties"),
                [conflict] => conflict.fmt(f),
                [best, ..] => write!(
                    f,
                    "none of {} combinations of alternatives has an agreement; the best: {best}",
                    conflicts.len()
                ),
            },
        }
    }
}

impl Error for NoAlternative {}
