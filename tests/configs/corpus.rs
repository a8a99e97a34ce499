//! Whole files: what must be accepted is, with exactly the warnings that belong to it.

use crate::world::{Table, corpus, messages};

/// Loads a file of the corpus and compares its warnings.
fn check(name: &str, warnings: &[&str]) {
    let table = Table::default()
        .with("/etc/sites/b.conf", &corpus("origins-site.conf"))
        .with("/etc/sites/a.txt", "this is not read");
    match table.load_corpus(name) {
        Ok(loaded) => assert_eq!(messages(&loaded.warnings), warnings, "{name}"),
        Err(diagnostics) => panic!("{name}: {:#?}", messages(&diagnostics)),
    }
}

#[test]
fn both_files_of_a_single_core_box_start() {
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
    check(
        "single-core-in-location.conf",
        &[
            "single-core-in-location.conf:20:5 warning: answers go out uncompressed for now (the \
             gzip directives are accepted and have no effect; tunnels are never compressed)",
            "single-core-in-location.conf:46:13 warning: \"client_header_buffer_size\" has no \
             effect in a location (a request head is read before its location is known; the \
             server's value applies: client_header_buffer_size 1024; nginx refuses the line here)",
            "single-core-in-location.conf:47:13 warning: \"large_client_header_buffers\" has no \
             effect in a location (a request head is read before its location is known; the \
             server's value applies: large_client_header_buffers 4 8192; nginx refuses the line \
             here)",
        ],
    );
}

#[test]
fn the_tutorials_start() {
    check("upgrade-plain.conf", &[]);
    check(
        "upgrade-map.conf",
        &["upgrade-map.conf:13:13 warning: a WebSocket that is silent for 60 s is closed here \
             (60 s is the default proxy_read_timeout: set it (proxy_read_timeout 1h;), or send a \
             ping more often)"],
    );
    check("upgrade-map-keepalive.conf", &[]);
    check("upgrade-none.conf", &[]);
    check("upgrade-without-version.conf", &[]);
    check("origins.conf", &[]);
    check(
        "several-backends.conf",
        &["several-backends.conf:9:9 warning: connections to upstreams are not kept for further \
           requests yet (\"keepalive\" has no effect for now; tunnels are not concerned)"],
    );
}

#[test]
fn the_classic_mistakes_are_warned_of() {
    check(
        "classic-mistakes.conf",
        &[
            "classic-mistakes.conf:8:13 warning: hiding \"Upgrade\" keeps WebSockets from opening \
             in nginx (here the field of a 101 passes all the same: remove the line)",
            "classic-mistakes.conf:12:13 warning: HTTP/1.0 has no upgrades: no WebSocket can be \
             opened (remove the line: 1.1 is the default here)",
            "classic-mistakes.conf:17:13 warning: the Connection value \"\" keeps WebSockets from \
             opening (\"upgrade\", a map of $http_upgrade, or no line: upgrades pass by \
             themselves; nothing to mend where none is wanted)",
            "classic-mistakes.conf:22:13 warning: a WebSocket that is silent for 60 s is closed \
             here (60 s is the default proxy_read_timeout: set it (proxy_read_timeout 1h;), or \
             send a ping more often)",
        ],
    );
}

#[test]
fn tls_is_refused_by_name() {
    let diagnostics = Table::default().load_corpus("tls.conf").unwrap_err();
    assert_eq!(
        messages(&diagnostics),
        [
            "tls.conf:5:20 error: \"ssl\" of \"listen\" is not supported by upsplice yet (TLS is \
             not built in yet: a server for wss:// needs a TLS terminator in front of it)",
            "tls.conf:7:9 error: nginx's \"ssl_certificate\" is not supported by upsplice yet (TLS \
             is not built in yet, nor are HTTP/2 and HTTP/3)",
            "tls.conf:8:9 error: nginx's \"ssl_certificate_key\" is not supported by upsplice yet \
             (TLS is not built in yet, nor are HTTP/2 and HTTP/3)",
        ]
    );
}
