//! Whole files: what must be accepted is, with exactly the warnings that belong to it.

mod configs;

use configs::{Table, messages};

/// Loads a file of the corpus and compares its warnings.
fn check(name: &str, warnings: &[&str]) {
    match Table::default().load_corpus(name) {
        Ok(loaded) => assert_eq!(messages(&loaded.warnings), warnings, "{name}"),
        Err(diagnostics) => panic!("{name}: {:#?}", messages(&diagnostics)),
    }
}

#[test]
fn the_single_core_box_starts() {
    check(
        "single-core.conf",
        &[
            "single-core.conf:16:13 warning: cannot read \"/etc/mime.types\" (No such file or \
             directory): taken as empty (nginx would refuse this; here media types have no effect)",
            "single-core.conf:36:5 warning: answers go out uncompressed for now (the gzip \
             directives are accepted and have no effect; tunnels are never compressed)",
            "single-core.conf:51:9 warning: connections to upstreams are not kept for further \
             requests yet (\"keepalive\" has no effect for now; tunnels are not concerned)",
        ],
    );
}
