//! Which server and which location take a request: the cases of nginx's documentation, and more.

use std::collections::BTreeSet;

use upsplice::http::facts::Captures;
use upsplice::prng::Prng;

use crate::fixture::{World, pick};

/// Checks `host path -> location` lines.
#[track_caller]
fn check(world: &World, cases: &[(&str, &str)]) {
    for (path, expect) in cases {
        assert_eq!(world.route("h", path), *expect, "{path}");
    }
}

#[test]
fn locations_are_chosen_as_nginx_documents_it() {
    let world = World::server(
        "location = / { } location / { } location /documents/ { }
         location ^~ /images/ { } location ~* \\.(gif|jpg|jpeg)$ { }",
    );
    check(
        &world,
        &[
            ("/", "= /"),
            ("/index.html", "/"),
            ("/documents/document.html", "/documents/"),
            ("/images/1.gif", "^~ /images/"),
            ("/documents/1.JPG", "~ \\.(gif|jpg|jpeg)$"),
            ("/documents", "/"),
        ],
    );
}

#[test]
fn the_longest_prefix_wins_and_the_first_expression_beats_it() {
    let world = World::server(
        "location /a { } location /ab/ { } location /abc { } location /ab { }
         location ~ ^/abc/x { } location ~ x$ { } location ~ ^/abc/xx { }",
    );
    check(
        &world,
        &[
            ("/a", "/a"),
            ("/aa", "/a"),
            ("/ab", "/ab"),
            ("/ab/", "/ab/"),
            ("/abb", "/ab"),
            ("/abcd", "/abc"),
            ("/ab/c", "/ab/"),
            ("/abc/xx", "~ ^/abc/x"),
            ("/b/x", "~ x$"),
            ("/b", "server"),
        ],
    );
}

#[test]
fn nested_locations_are_searched_before_outer_expressions() {
    let world = World::server(
        "location /a/ { location /a/b/ { } location ~ \\.in$ { } }
         location ^~ /s/ { location ~ \\.out$ { } location /s/t/ { } }
         location ~ \\.out$ { location ~ ^/deep { } }",
    );
    check(
        &world,
        &[
            ("/a/x", "/a/"),
            ("/a/b/x", "/a/b/"),
            ("/a/b/x.in", "~ \\.in$"),
            ("/a/b/x.out", "~ \\.out$"),
            ("/s/x.out", "~ \\.out$"),
            ("/s/t/x", "/s/t/"),
            ("/deep.out", "~ ^/deep"),
        ],
    );
}

#[test]
fn a_path_that_lacks_the_slash_of_a_proxied_location_is_redirected() {
    let world = World::server(
        "location /app/ { proxy_pass http://127.0.0.1:1; } location /app-b { }
         location /own/ { } location / { }
         location /two { } location /two/ { proxy_pass http://127.0.0.1:1; }
         location = /one { } location /one/ { proxy_pass http://127.0.0.1:1; }
         location ~ app$ { }",
    );
    check(
        &world,
        &[
            ("/app", "slash /app/"),
            ("/app/", "/app/"),
            ("/own", "/"),
            ("/two", "/two"),
            ("/one", "= /one"),
            ("/ap", "/"),
        ],
    );
}

#[test]
fn servers_are_chosen_as_nginx_documents_it() {
    let server =
        |names: &str| format!("server {{ listen 80; server_name {names}; location / {{ }} }}");
    let names = [
        "other",
        "example.org www.example.org",
        "*.example.org",
        "*.deep.example.org",
        "mail.*",
        "mail.example.*",
        "~^(?<user>.+)\\.example\\.net$",
        "~^.+\\.net$",
        ".both.com",
        "example.org second",
        "\"\"",
    ];
    let text: String = names.iter().map(|names| server(names)).collect();
    let world = World::new(&text);
    for (host, expect) in [
        ("example.org", 1),
        ("www.example.org", 1),
        ("a.example.org", 2),
        ("a.b.example.org", 2),
        ("x.deep.example.org", 3),
        ("deep.example.org", 2),
        ("mail.x", 4),
        ("mail.example.x", 5),
        ("mail.example.org", 2),
        ("ann.example.net", 6),
        ("example.net", 7),
        ("both.com", 8),
        ("a.both.com", 8),
        ("second", 9),
        ("", 10),
        ("unknown", 0),
        (".example.org", 0),
        ("mail.", 0),
    ] {
        let mut captures = Captures::default();
        let found = world.router.server(&world.config, 0, host.as_bytes(), &mut captures);
        assert_eq!(found, expect, "{host}");
        assert_eq!(captures.named("user"), (expect == 6).then_some(&b"ann"[..]));
    }
}

#[test]
fn a_thousand_names_and_locations_are_told_apart() {
    let mut text = String::new();
    for n in 0..1000 {
        text += &format!("server {{ listen 80; server_name n{n}.test *.w{n}.test; ");
        text += &format!("location /p{n}/ {{ }} location = /e{n} {{ }} }}");
    }
    text += "server { listen 80; server_name many; ";
    (0..1000).for_each(|n| text += &format!("location /p{n}/ {{ }} location = /e{n} {{ }} "));
    let world = World::new(&format!("{text} }}"));
    for n in [0, 7, 500, 999] {
        assert_eq!(world.route(&format!("n{n}.test"), &format!("/p{n}/x")), format!("/p{n}/"));
        assert_eq!(world.route(&format!("x.w{n}.test"), &format!("/e{n}")), format!("= /e{n}"));
        assert_eq!(world.route("many", &format!("/p{n}/")), format!("/p{n}/"));
        assert_eq!(world.route("many", &format!("/e{n}/")), "server");
    }
}

/// Against a search that looks at every location.
#[test]
fn locations_are_found_as_by_looking_at_all_of_them() {
    let word = |prng: &mut Prng, most: usize| -> String {
        let letters = (0..pick(prng, most)).map(|_| ['a', 'b', '-', '/'][pick(prng, 4)]);
        format!("/{}", letters.collect::<String>())
    };
    for seed in 0..300 {
        let mut prng = Prng::new(seed);
        let paths: BTreeSet<String> = (0..12).map(|_| word(&mut prng, 5)).collect();
        let exact: BTreeSet<String> = (0..3).map(|_| word(&mut prng, 5)).collect();
        let mut text = String::new();
        paths.iter().for_each(|path| text += &format!("location {path} {{ }} "));
        exact.iter().for_each(|path| text += &format!("location = {path} {{ }} "));
        let world = World::server(&text);
        for _ in 0..50 {
            let path = word(&mut prng, 8);
            let longest = paths.iter().filter(|prefix| path.starts_with(*prefix));
            let expect = match longest.max_by_key(|prefix| prefix.len()) {
                _ if exact.contains(&path) => format!("= {path}"),
                Some(prefix) => prefix.clone(),
                None => "server".into(),
            };
            assert_eq!(world.route("h", &path), expect, "seed {seed}: {path} in {paths:?}");
        }
    }
}
