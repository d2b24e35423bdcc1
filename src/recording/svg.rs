//! SVG documents: the head with the fill patterns, and the background.

use std::io::{self, BufWriter, Write};

/// Fill patterns: for unclaimed frames and for waiting callers.
const DEFINITIONS: &str = "\
<defs>
<pattern id=\"unclaimed\" width=\"6\" height=\"6\" \
patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">
<rect width=\"6\" height=\"6\" fill=\"#eee\"/>\
<rect width=\"2\" height=\"6\" fill=\"#777\"/></pattern>
<pattern id=\"wait\" width=\"6\" height=\"6\" \
patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">
<rect width=\"6\" height=\"6\" fill=\"#f7b6b0\"/>\
<rect width=\"3\" height=\"6\" fill=\"#d7191c\"/></pattern>
</defs>
";

/// Writes a picture of this size, in pixels, with these elements.
pub(super) fn write_document(
    out: impl io::Write,
    width: f64,
    height: f64,
    elements: &str,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">"
    )?;
    out.write_all(DEFINITIONS.as_bytes())?;
    writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" rx=\"6\" \
         fill=\"#fdfdfd\" stroke=\"#999\"/>"
    )?;
    out.write_all(elements.as_bytes())?;
    out.write_all(b"</svg>\n")?;
    out.flush()
}
