//! What the command line asks for.

use std::path::PathBuf;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Measure.
    Measure {
        /// The workloads; all if none is named.
        filters: Vec<String>,
        /// Everything once only.
        quick: bool,
        /// Where to write the results.
        record: PathBuf,
    },
    /// Draw pictures of results into a folder.
    Draw {
        /// The results.
        record: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// Put results into a README.
    Tables {
        /// The README.
        readme: PathBuf,
        /// The results.
        records: Vec<PathBuf>,
    },
    /// Say how this is used.
    Help,
}

/// How the program is used; the benchmark's name comes before it.
pub const HELP: &str = "\
[WORKLOAD...]            measures those, such as W1 or W3-8; all if none is named
  --quick, --test          everything once only: a check, no measurement
  --json FILE              where the results go
--draw FILE FOLDER       draws pictures of the results in FILE
--tables README FILE...  puts the results in FILE into the tables of README";

impl Request {
    /// Reads the arguments; results go to `record` unless they say otherwise.
    ///
    /// # Errors
    ///
    /// If one of them is unknown or lacks what belongs to it.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        record: PathBuf,
    ) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut filters, mut quick, mut record) = (Vec::new(), false, record);
        while let Some(argument) = arguments.next() {
            let mut next = |what: &str| {
                let missing = || format!("{argument} lacks {what}");
                arguments.next().map(PathBuf::from).ok_or_else(missing)
            };
            match argument.as_str() {
                "--quick" | "--test" => quick = true,
                "--json" => record = next("a file")?,
                "--draw" => {
                    let (record, folder) = (next("a file")?, next("a folder")?);
                    return Ok(Self::Draw { record, folder });
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
                _ => filters.push(argument),
            }
        }
        Ok(Self::Measure {
            filters,
            quick,
            record,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(line.split_whitespace().map(str::to_owned), "a.json".into())
    }

    #[test]
    fn arguments_are_understood() {
        let measure = |filters: &[&str], quick, record: &str| Request::Measure {
            filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
            quick,
            record: record.into(),
        };
        assert_eq!(parse(""), Ok(measure(&[], false, "a.json")));
        assert_eq!(parse("--test"), Ok(measure(&[], true, "a.json")));
        let line = "W1 W4 --quick --json b.json";
        assert_eq!(parse(line), Ok(measure(&["W1", "W4"], true, "b.json")));
        assert!(parse("--draw a.json").is_err());
        assert!(parse("--slow").is_err());
        let tables = Request::Tables {
            readme: "R.md".into(),
            records: vec!["a.json".into()],
        };
        assert_eq!(parse("--tables R.md a.json"), Ok(tables));
    }
}
