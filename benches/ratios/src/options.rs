//! Command-line options.

use std::path::PathBuf;

/// Action that the command line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Measure.
    Measure {
        /// Names of workloads; if empty, all workloads.
        filters: Vec<String>,
        /// Run everything once, as a check.
        quick: bool,
        /// File that the results are written to.
        record: PathBuf,
    },
    /// Draw results as pictures.
    Draw {
        /// File that the results are read from.
        record: PathBuf,
        /// Folder that the pictures are written to.
        folder: PathBuf,
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

/// Usage text. The name of the benchmark is printed before it.
pub const HELP: &str = "\
[WORKLOAD...]            measures these workloads, such as W1 or W3-8; without any, all of them
  --quick, --test          runs everything once, as a check that measures nothing
  --json FILE              writes the results to FILE
--draw FILE FOLDER       draws the results in FILE as pictures in FOLDER
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
        let (mut filters, mut quick, mut record) = (Vec::new(), false, record);
        while let Some(argument) = arguments.next() {
            let mut next = |what: &str| {
                let missing = || format!("{argument} needs {what}");
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
    fn each_argument_is_parsed_and_an_incomplete_or_unknown_one_is_an_error() {
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
