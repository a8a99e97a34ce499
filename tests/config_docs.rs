//! `docs/CONFIG.md` says what the table of directives says.

#[test]
fn the_reference_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIG.md");
    let printed = upsplice::config::reference();
    if std::env::var_os("UPSPLICE_UPDATE_DOCS").is_some() {
        std::fs::write(path, &printed).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == printed,
        "docs/CONFIG.md is out of date: UPSPLICE_UPDATE_DOCS=1 cargo test --test config_docs"
    );
}
