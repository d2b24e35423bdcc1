//! Results that depend on a number, such as that of the threads.

use crate::contender::Role;

/// Line of a chart.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Name of the contender, and of the workload if there are several.
    pub name: String,
    /// Part of the contender in the comparison.
    pub role: Role,
    /// `true` if the points are hollow, to tell the line from another of the same role.
    pub hollow: bool,
    /// Nanoseconds per frame, one for each of [`Chart::xs`].
    pub medians: Vec<f64>,
}

/// Lines with a common horizontal axis.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Name of the picture.
    pub id: &'static str,
    /// Description of the workloads.
    pub title: String,
    /// Name of the horizontal axis.
    pub axis: &'static str,
    /// Values on the horizontal axis.
    pub xs: Vec<f64>,
    /// The lines.
    pub curves: Vec<Curve>,
}
