//! Command-line options.

use std::num::NonZeroU32;
use std::path::PathBuf;

/// Action that the command line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Measure.
    Measure {
        /// The workloads.
        filters: Filters,
        /// Run everything once, as a check.
        quick: bool,
        /// Leave out the peers.
        alone: bool,
        /// File that the results are written to.
        record: PathBuf,
    },
    /// Measure this pool several times, each time in another process.
    Repeat {
        /// The workloads.
        filters: Filters,
        /// Run everything once, as a check.
        quick: bool,
        /// Number of repetitions.
        times: NonZeroU32,
    },
    /// Draw results as pictures.
    Draw {
        /// File that the results are read from.
        record: PathBuf,
        /// Folder that the pictures are written to.
        folder: PathBuf,
    },
    /// Measure and draw how the cost depends on the number of frames and of threads.
    Curves {
        /// Folder that the pictures are written to.
        folder: PathBuf,
        /// Run everything once, as a check.
        quick: bool,
    },
    /// Put results into the tables of a README.
    Tables {
        /// The README.
        readme: PathBuf,
        /// Files that the results are read from.
        records: Vec<PathBuf>,
    },
    /// Print the usage.
    Help,
}

/// Names of workloads on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// The names; if empty, all workloads are meant.
    pub names: Vec<String>,
    /// `false` if a name also stands for the variants of a workload, as `W1` does for W1-1024.
    pub exact: bool,
}

/// Usage text. The name of the benchmark is printed before it.
pub const HELP: &str = "\
[WORKLOAD...]            measures these workloads: W3-8, for instance, or W3 with its variants
  --exact                  leaves out the variants of workloads that are not named themselves
  --alone                  leaves out the peers
  --quick, --test          runs everything once, as a check that measures nothing
  --json FILE              writes the results to FILE
  --repeat N               measures N times, each time in another process without the peers, and
                           shows how the medians of this pool are distributed
--draw FILE FOLDER       draws the results in FILE as pictures in FOLDER
--curves FOLDER          measures W1 and W3 with 4 to 65,536 frames, and W6 with 1 to 8 threads,
                         prints the results as tables and draws them in FOLDER; also --quick
--tables README FILE...  replaces the tables in README with the results in each FILE";

impl Request {
    /// Parses the arguments. Results are written to `record` unless the arguments name another
    /// file.
    ///
    /// # Errors
    ///
    /// If an argument is unknown, or its value is missing.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        record: PathBuf,
    ) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut filters, mut times) = (Filters::default(), None);
        let (mut quick, mut alone, mut record) = (false, false, record);
        while let Some(argument) = arguments.next() {
            let missing = |what: &str| format!("{argument} needs {what}");
            let mut next = |what: &str| {
                arguments
                    .next()
                    .map(PathBuf::from)
                    .ok_or_else(|| missing(what))
            };
            match argument.as_str() {
                "--quick" | "--test" => quick = true,
                "--exact" => filters.exact = true,
                "--alone" => alone = true,
                "--repeat" => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    times = Some(number.ok_or_else(|| missing("a number from 1"))?);
                }
                "--json" => record = next("a file")?,
                "--draw" => {
                    let (record, folder) = (next("a file")?, next("a folder")?);
                    return Ok(Self::Draw { record, folder });
                }
                "--curves" => {
                    let folder = next("a folder")?;
                    quick |= arguments.any(|rest| matches!(&*rest, "--quick" | "--test"));
                    return Ok(Self::Curves { folder, quick });
                }
                "--tables" => {
                    let readme = next("a README")?;
                    let records = arguments.map(PathBuf::from).collect();
                    return Ok(Self::Tables { readme, records });
                }
                "--help" | "-h" => return Ok(Self::Help),
                unknown if unknown.starts_with('-') => {
                    return Err(format!("unknown argument {unknown}"));
                }
                _ => filters.names.push(argument),
            }
        }
        Ok(match times {
            Some(times) => Self::Repeat {
                filters,
                quick,
                times,
            },
            None => Self::Measure {
                filters,
                quick,
                alone,
                record,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(line.split_whitespace().map(str::to_owned), "a.json".into())
    }

    fn filters(names: &[&str], exact: bool) -> Filters {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Filters { names, exact }
    }

    #[test]
    fn each_argument_is_parsed_and_an_incomplete_or_unknown_one_is_an_error() {
        let measure = |names: &[&str], quick, record: &str| Request::Measure {
            filters: filters(names, false),
            quick,
            alone: false,
            record: record.into(),
        };
        assert_eq!(parse(""), Ok(measure(&[], false, "a.json")));
        assert_eq!(parse("--test"), Ok(measure(&[], true, "a.json")));
        let line = "W1 W4 --quick --json b.json";
        assert_eq!(parse(line), Ok(measure(&["W1", "W4"], true, "b.json")));
        let alone = Request::Measure {
            filters: filters(&["W1"], true),
            quick: false,
            alone: true,
            record: "a.json".into(),
        };
        assert_eq!(parse("--exact --alone W1"), Ok(alone));
        assert!(parse("--draw a.json").is_err());
        assert!(parse("--curves").is_err());
        let curves = |quick| Request::Curves {
            folder: "p".into(),
            quick,
        };
        assert_eq!(parse("--curves p"), Ok(curves(false)));
        assert_eq!(parse("--curves p --quick"), Ok(curves(true)));
        assert_eq!(parse("--test --curves p"), Ok(curves(true)));
        assert!(parse("--slow").is_err());
        let tables = Request::Tables {
            readme: "R.md".into(),
            records: vec!["a.json".into()],
        };
        assert_eq!(parse("--tables R.md a.json"), Ok(tables));
    }

    #[test]
    fn a_repetition_needs_a_number_that_is_not_zero() {
        let repeat = |names: &[&str], quick, times| Request::Repeat {
            filters: filters(names, false),
            quick,
            times: NonZeroU32::new(times).unwrap(),
        };
        assert_eq!(
            parse("--repeat 20 W1 W2"),
            Ok(repeat(&["W1", "W2"], false, 20))
        );
        assert_eq!(parse("W1 --quick --repeat 1"), Ok(repeat(&["W1"], true, 1)));
        assert_eq!(parse("--repeat 3"), Ok(repeat(&[], false, 3)));
        for line in ["--repeat", "--repeat 0", "--repeat W1", "--repeat -1"] {
            assert_eq!(
                parse(line),
                Err("--repeat needs a number from 1".to_owned()),
                "{line}"
            );
        }
    }
}
