//! Sections of the documentation that tests write and check.

use std::path::PathBuf;

/// The file in `docs/` has this text, which begins with a heading of the second level, up to the
/// next one. With `CITUS_TEST_WRITE_DOCS` set the file gets it.
#[track_caller]
pub fn check_section(file: &str, section: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let heading = section.lines().next().unwrap_or_default();
    assert!(heading.starts_with("## "), "a heading of the second level");
    let start = text.find(&format!("{heading}\n")).unwrap_or(text.len());
    let end = text[start..].find("\n## ").map_or(text.len(), |i| start + i + 1);
    if std::env::var_os("CITUS_TEST_WRITE_DOCS").is_some() {
        let gap = if end < text.len() { "\n" } else { "" };
        let new = format!("{}{}\n{gap}{}", &text[..start], section.trim_end(), &text[end..]);
        std::fs::write(&path, new).unwrap();
        return;
    }
    assert!(
        text[start..end].trim_end() == section.trim_end(),
        "docs/{file} is out of date: run this test with CITUS_TEST_WRITE_DOCS=1"
    );
}
