//! The example `why_dry`, run as a program.
#![cfg(not(any(loom, miri)))]

use std::fs;
use std::path::PathBuf;

use support::example::example;

mod support {
    pub(crate) mod example;
}

#[test]
fn the_error_names_the_slow_stage_and_the_files_show_it() {
    // The example writes to `target` in its working directory.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("why_dry");
    fs::create_dir_all(&folder).unwrap();
    let output = example("why_dry").current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();

    let first = stdout.lines().next().unwrap();
    let last = stdout.lines().last().unwrap();
    let words: Vec<_> = last.split(' ').collect();
    let [_, culprit, held, "of", "8", trace, picture] = words[..] else {
        panic!("{last}");
    };
    assert_eq!(culprit, "culprit=encoder");
    let held: usize = held.strip_prefix("held=").unwrap().parse().unwrap();
    assert!((6..=8).contains(&held), "{last}");
    let begin = format!(
        "timed out while waiting for a frame: 8 of 8 frames are out: \
         {held} held by `encoder` (examples"
    );
    assert!(first.starts_with(&begin), "{first}");

    // On a busy machine the first frames can be as late as the last ones.
    let advice = "\n`encoder` falls behind: more frames only delay the waits\n";
    let number = " frames would have sufficed for ";
    assert!(
        stdout.contains(advice) || stdout.contains(number),
        "{stdout}"
    );
    assert!(stdout.contains("the pool had 8; with "), "{stdout}");

    let read = |file: &str| {
        let (_, file) = file.split_once('=').unwrap();
        fs::read_to_string(folder.join(file)).unwrap()
    };
    let trace: serde_json::Value = serde_json::from_str(&read(trace)).unwrap();
    let sizing = trace["otherData"]["sizing"].as_str().unwrap();
    assert!(stdout.contains(sizing), "{sizing}");
    assert!(trace["otherData"]["frames needed"].as_u64().unwrap() > 8);
    let bars = trace["traceEvents"].as_array().unwrap().iter();
    assert!(bars.filter(|bar| bar["name"] == "encoder").count() > 50);
    let picture = read(picture);
    let document = roxmltree::Document::parse(&picture).unwrap();
    let dry = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("band"));
    assert!(dry.count() >= 1);
    assert!(picture.contains("While the pool was dry, its frames were held by: encoder "));
}
