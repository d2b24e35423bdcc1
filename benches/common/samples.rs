//! Samples of several contenders, taken in turn, so that a disturbance of the machine affects all
//! contenders alike.

/// Result of a contender.
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) minimum: f64,
}

/// Calls each of `contenders` once per round, and returns the summary of what each returned.
pub(crate) fn take_in_turn(
    rounds: usize,
    contenders: &[Box<dyn Fn() -> f64 + '_>],
) -> Vec<Summary> {
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        // Each round starts with another contender.
        for index in (0..contenders.len()).map(|index| (index + round) % contenders.len()) {
            samples[index].push(contenders[index]());
        }
    }
    samples.into_iter().map(summarize).collect()
}

fn summarize(mut samples: Vec<f64>) -> Summary {
    samples.sort_by(f64::total_cmp);
    Summary {
        median: samples[samples.len() / 2],
        minimum: samples[0],
    }
}
