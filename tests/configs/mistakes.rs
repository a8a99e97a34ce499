//! Mistakes in the language itself: a snippet and exactly what is said of it.
//!
//! Positions are `line:column`; the wrapper of a snippet is one line, so that its first line is 2
//! (at the main level there is no wrapper).

use crate::world::{In, check};

#[test]
fn broken_grammar_is_reported_and_read_on() {
    check(
        In::Main,
        "http {",
        &["1:6 error: the block of \"http\" is not closed (unexpected end of file, expecting \
             \"}\")"],
    );
    check(
        In::Main,
        "}\nhttp { server {} }",
        &["1:1 error: unexpected \"}\" (no block is open here)"],
    );
    check(In::Main, "http { server {} };", &["1:19 error: unexpected \";\""]);
    check(
        In::Main,
        "http { server { listen 80 } }",
        &["1:26 error: directive \"listen\" is not terminated by \";\" (put a \";\" here)"],
    );
    check(
        In::Server,
        "listen 80\nserver_name a;",
        &["2:10 error: directive \"listen\" is not terminated by \";\" (put a \";\" here)"],
    );
    check(
        In::Server,
        "server_name a \"b;\nlisten 80;",
        &["2:15 error: no closing \" for this quoted argument"],
    );
    check(
        In::Server,
        "listen \"80\"x;",
        &["2:12 error: unexpected \"x\" (after a closing quote there must be white space, \";\" \
             or \"{\")"],
    );
    check(In::Server, "{ listen 80; }", &["2:1 error: unexpected \"{\""]);
    check(
        In::Main,
        "user nginx",
        &["1:11 error: unexpected end of file, expecting \";\" or \"}\""],
    );
    check(
        In::Location,
        "proxy_pass http://127.0.0.1",
        &["2:28 error: directive \"proxy_pass\" is not terminated by \";\" (put a \";\" here)"],
    );
}

#[test]
fn names_that_are_unknown_misplaced_or_not_supported() {
    check(
        In::Main,
        "wroker_processes 1;\nhttp { server { lisen 80; locaton / { porxy_pass http://127.0.0.1; } \
         } }",
        &[
            "1:1 error: unknown directive \"wroker_processes\" (did you mean \
             \"worker_processes\"?)",
            "2:17 error: unknown directive \"lisen\" (did you mean \"listen\"?)",
            "2:27 error: unknown directive \"locaton\" (did you mean \"location\"?)",
            "2:39 error: unknown directive \"porxy_pass\" (did you mean \"proxy_pass\"?)",
        ],
    );
    check(
        In::Main,
        "server { listen 80; }",
        &["1:1 error: \"server\" directive is not allowed here (this is the main level; \
             \"server\" is allowed in: http)"],
    );
    check(
        In::Main,
        "server { lisen 80; }",
        &[
            "1:1 error: \"server\" directive is not allowed here (this is the main level; \
             \"server\" is allowed in: http)",
            "1:10 error: unknown directive \"lisen\" (did you mean \"listen\"?)",
        ],
    );
    check(
        In::Main,
        "http { sever { listen 80; listne 81; } }",
        &[
            "1:8 error: unknown directive \"sever\" (did you mean \"server\"?)",
            "1:27 error: unknown directive \"listne\" (did you mean \"listen\"?)",
        ],
    );
    check(
        In::Http,
        "upstream a { server 127.0.0.1; listen 80; }",
        &["2:32 error: \"listen\" directive is not allowed here (this is a block of \
             \"upstream\"; \"listen\" is allowed in: server)"],
    );
    check(
        In::Main,
        "include;",
        &["1:1 error: invalid number of arguments in \"include\" directive (usage: include FILE;)"],
    );
}

#[test]
fn directives_in_the_wrong_place_say_where_they_belong() {
    check(
        In::Http,
        "listen 80;",
        &["2:1 error: \"listen\" directive is not allowed here (this is a block of \"http\"; \
             \"listen\" is allowed in: server)"],
    );
    check(
        In::Server,
        "proxy_pass http://127.0.0.1;",
        &["2:1 error: \"proxy_pass\" directive is not allowed here (this is a block of \
             \"server\"; \"proxy_pass\" is allowed in: location)"],
    );
    check(
        In::Location,
        "listen 80;",
        &["2:1 error: \"listen\" directive is not allowed here (this is a block of \"location\"; \
             \"listen\" is allowed in: server)"],
    );
    check(
        In::Main,
        "events { worker_processes 1; }",
        &["1:10 error: \"worker_processes\" directive is not allowed here (this is a block of \
             \"events\"; \"worker_processes\" is allowed in: main)"],
    );
}

#[test]
fn directives_of_nginx_are_refused_by_name() {
    check(
        In::Location,
        "return 200 ok;",
        &["2:1 error: nginx's \"return\" is not supported by upsplice yet (the proxy makes no \
             answers of its own yet but errors)"],
    );
    check(
        In::Location,
        "if ($http_upgrade) { proxy_pass http://127.0.0.1; }",
        &["2:1 error: nginx's \"if\" is not supported by upsplice yet (requests are not \
             rewritten yet; locations and map cover the usual cases)"],
    );
    check(
        In::Location,
        "root /var/www;\nindex index.html;\ntry_files $uri =404;",
        &[
            "2:1 error: nginx's \"root\" is not supported by upsplice yet (nothing is served from \
             files)",
            "3:1 error: nginx's \"index\" is not supported by upsplice yet (nothing is served from \
             files)",
            "4:1 error: nginx's \"try_files\" is not supported by upsplice yet (nothing is served \
             from files)",
        ],
    );
    check(
        In::Server,
        "ssl_certificate a.pem;\nhttp2 on;",
        &[
            "2:1 error: nginx's \"ssl_certificate\" is not supported by upsplice yet (TLS is not \
             built in yet, nor are HTTP/2 and HTTP/3)",
            "3:1 error: nginx's \"http2\" is not supported by upsplice yet (TLS is not built in \
             yet, nor are HTTP/2 and HTTP/3)",
        ],
    );
    check(
        In::Main,
        "load_module modules/x.so;\nstream { server { listen 1; } }",
        &[
            "1:1 error: nginx's \"load_module\" is not supported by upsplice yet (the process does \
             not do this)",
            "2:1 error: nginx's \"stream\" is not supported by upsplice yet (only HTTP and what it \
             upgrades to is proxied)",
        ],
    );
    check(
        In::Location,
        "content_by_lua_block { ngx.say({1}) }",
        &["2:1 error: nginx's \"content_by_lua_block\" is not supported by upsplice yet (code \
             cannot be run from the configuration)"],
    );
    check(In::Server, "frobnicate on;", &["2:1 error: unknown directive \"frobnicate\""]);
}

#[test]
fn blocks_counts_and_duplicates() {
    check(
        In::Server,
        "listen;",
        &["2:1 error: invalid number of arguments in \"listen\" directive (usage: listen \
             ADDRESS[:PORT] | PORT | unix:PATH [default_server] [backlog=N] [reuseport] \
             [so_keepalive=on|off|IDLE:INTERVAL:COUNT] [ipv6only=on|off];)"],
    );
    check(
        In::Location,
        "proxy_set_header Host;",
        &["2:1 error: invalid number of arguments in \"proxy_set_header\" directive (usage: \
             proxy_set_header NAME VALUE;)"],
    );
    check(
        In::Location,
        "proxy_read_timeout 60s proxy_send_timeout 60s;",
        &["2:1 error: invalid number of arguments in \"proxy_read_timeout\" directive (is a \
             \";\" missing before \"proxy_send_timeout\"? usage: proxy_read_timeout TIME;)"],
    );
    check(
        In::Main,
        "events;",
        &["1:1 error: directive \"events\" has no opening \"{\" (usage: events { … })"],
    );
    check(
        In::Location,
        "proxy_pass http://127.0.0.1 { }",
        &["2:1 error: directive \"proxy_pass\" is not terminated by \";\" (usage: proxy_pass \
             http://HOST[:PORT][URI] | http://UPSTREAM[URI] | http://unix:PATH[:URI];)"],
    );
    check(
        In::Location,
        "proxy_read_timeout 60s;\nproxy_read_timeout 70s;",
        &["3:1 error: \"proxy_read_timeout\" directive is duplicate"],
    );
    check(In::Main, "events {}\nevents {}", &["2:1 error: \"events\" directive is duplicate"]);
}

#[test]
fn values_of_the_wrong_form() {
    check(
        In::Location,
        "proxy_read_timeout 6o;\nproxy_connect_timeout 1y;\ntcp_nodelay yes;\nsendfile maybe;",
        &[
            "2:20 error: invalid value \"6o\" in \"proxy_read_timeout\" directive (a time: a \
             number of seconds, or with ms, s, m, h, d or w, such as 500ms or 1h30m)",
            "3:23 error: invalid value \"1y\" in \"proxy_connect_timeout\" directive (a time: a \
             number of seconds, or with ms, s, m, h, d or w, such as 500ms or 1h30m)",
            "4:13 error: invalid value \"yes\" in \"tcp_nodelay\" directive (it must be \"on\" or \
             \"off\")",
            "5:10 error: invalid value \"maybe\" in \"sendfile\" directive (it must be \"on\" or \
             \"off\")",
        ],
    );
    check(
        In::Location,
        "proxy_buffer_size 4q;\nkeepalive_requests 0;\nclient_max_body_size big;\nlingering_close \
         perhaps;",
        &[
            "2:19 error: invalid value \"4q\" in \"proxy_buffer_size\" directive (expected a size: \
             a number of bytes, or with k or m, such as 8k)",
            "3:20 error: invalid value \"0\" in \"keepalive_requests\" directive (it must be at \
             least 1)",
            "4:22 error: invalid value \"big\" in \"client_max_body_size\" directive (a size: \
             bytes, or with k, m or g)",
            "5:17 error: invalid value \"perhaps\" in \"lingering_close\" directive (accepted: on, \
             off, always)",
        ],
    );
    check(
        In::Location,
        "proxy_buffer_size 4;",
        &["2:19 error: invalid value \"4\" in \"proxy_buffer_size\" directive (it must be from \
             128 to 1073741824)"],
    );
}

#[test]
fn spin_takes_a_short_time_or_a_word() {
    let column_15 = |arguments: &str, help: &str| {
        let (word, _) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let text = format!("1:15 error: invalid value \"{word}\" in \"spin\" directive ({help})");
        check(In::Main, &format!("events {{ spin {arguments}; }}"), &[&text]);
    };
    column_15("50", "a time has a unit here: 50us or 50ms");
    column_15("0us", "it must be from 1us to 1000ms");
    column_15("1001ms force", "it must be from 1us to 1000ms");
    for word in ["1s", "on", "-1us"] {
        column_15(word, "off, always, or a time with us or ms, such as 50us");
    }
    check(
        In::Main,
        "events { spin 50us 60us; }",
        &["1:20 error: invalid value \"60us\" in \"spin\" directive (only force may come here)"],
    );
    check(
        In::Main,
        "events { spin off force; }",
        &["1:19 error: invalid value \"force\" in \"spin\" directive (nothing comes after off)"],
    );
    check(
        In::Main,
        "events { spin; spin off; spin off; }",
        &[
            "1:10 error: invalid number of arguments in \"spin\" directive (usage: spin off | TIME \
             [force] | always [force];)",
            "1:26 error: \"spin\" directive is duplicate",
        ],
    );
    check(
        In::Main,
        "spin always;",
        &["1:1 error: \"spin\" directive is not allowed here (this is the main level; \"spin\" \
             is allowed in: events)"],
    );
}

#[test]
fn values_that_are_one_of_a_few_words_or_numbers() {
    check(
        In::Main,
        "worker_processes 0;\nworker_rlimit_nofile many;\nevents { worker_connections 1; use \
         kqueue; }\nworker_cpu_affinity 012;\nuser;",
        &[
            "1:18 error: invalid value \"0\" in \"worker_processes\" directive (a number from 1 to \
             1024, or auto)",
            "2:22 error: invalid value \"many\" in \"worker_rlimit_nofile\" directive (expected a \
             number)",
            "3:29 error: invalid value \"1\" in \"worker_connections\" directive (it must be from \
             2 to 16777216)",
            "3:36 error: nginx's event method \"kqueue\" does not exist in upsplice (use epoll or \
             io_uring, or no line)",
            "4:21 error: invalid value \"012\" in \"worker_cpu_affinity\" directive (a mask of 0 \
             and 1 with a 1, such as 0101)",
            "5:1 error: invalid number of arguments in \"user\" directive (usage: user NAME \
             [GROUP];)",
        ],
    );
    check(
        In::Main,
        "events { use epol; }\nerror_log x.log wran;\nerror_log syslog:server=1;",
        &[
            "1:14 error: invalid event type \"epol\" (did you mean \"epoll\"?)",
            "2:17 error: invalid log level \"wran\" (did you mean \"warn\"?)",
            "3:11 error: a log to syslog or memory is not supported by upsplice yet (a file, or \
             stderr)",
        ],
    );
    check(
        In::Location,
        "keepalive_timeout 60 x;\nserver_tokens maybe;\nproxy_http_version 1.2;",
        &[
            "2:22 error: invalid value \"x\" in \"keepalive_timeout\" directive (a time in whole \
             seconds)",
            "3:15 error: invalid value \"maybe\" in \"server_tokens\" directive (on, off or build)",
            "4:20 error: invalid value \"1.2\" in \"proxy_http_version\" directive (1.0 or 1.1)",
        ],
    );
    check(
        In::Location,
        "proxy_http_version 2;",
        &["2:20 error: HTTP/2 to an upstream is not supported by upsplice yet (1.1, which has \
             upgrades)"],
    );
    check(
        In::Location,
        "proxy_redirect default;\nproxy_cache zone;",
        &[
            "2:16 error: \"proxy_redirect\" can only be \"off\" in upsplice so far (Location \
             fields of upstreams pass unchanged)",
            "3:13 error: invalid value \"zone\" in \"proxy_cache\" directive (accepted: off)",
        ],
    );
}

#[test]
fn values_of_own_directives() {
    check(
        In::Location,
        "upgrade_allow websocket off;",
        &["2:25 error: invalid value \"off\" in \"upgrade_allow\" directive (protocol names such \
             as websocket, or off alone)"],
    );
    check(
        In::Location,
        "upgrade_allow a/b/c;",
        &["2:15 error: invalid value \"a/b/c\" in \"upgrade_allow\" directive (protocol names \
             such as websocket, or off alone)"],
    );
    check(
        In::Location,
        "tunnel_idle_timeout 0;\ntunnel_max_lifetime 1h jitter=110%;",
        &[
            "2:21 error: invalid value \"0\" in \"tunnel_idle_timeout\" directive (a time above \
             zero, or off)",
            "3:24 error: invalid value \"jitter=110%\" in \"tunnel_max_lifetime\" directive \
             (jitter=PERCENT% behind a time, from 0% to 100%)",
        ],
    );
    check(
        In::Location,
        "tunnel_max_lifetime off jitter=1%;",
        &["2:25 error: invalid value \"jitter=1%\" in \"tunnel_max_lifetime\" directive \
             (jitter=PERCENT% behind a time, from 0% to 100%)"],
    );
}

#[test]
fn carriers() {
    check(
        In::Location,
        "splice on;",
        &["2:8 error: invalid value \"on\" in \"splice\" directive (auto, off, pipe or linked)"],
    );
    check(
        In::Main,
        "events { use epoll; }\nhttp { splice linked; server { location / { splice linked; } } }",
        &[
            "2:15 error: \"splice linked\" needs io_uring, and this file says \"use epoll\" \
             (splice pipe does the same on both engines, and costs less)",
            "2:52 error: \"splice linked\" needs io_uring, and this file says \"use epoll\" \
             (splice pipe does the same on both engines, and costs less)",
        ],
    );
    check(In::Main, "events { use io_uring; }\nhttp { splice linked; server { } }", &[]);
}

#[test]
fn a_configuration_that_serves_nothing() {
    check(
        In::Main,
        "",
        &["error: the configuration has no \"http\" block: there is nothing to serve (http { \
             server { listen 80; location / { proxy_pass http://HOST:PORT; } } })"],
    );
    check(
        In::Main,
        "http { }",
        &["error: the \"http\" block has no \"server\": there is nothing to serve"],
    );
    check(
        In::Main,
        "events { worker_connections 10; }",
        &["error: the configuration has no \"http\" block: there is nothing to serve (http { \
             server { listen 80; location / { proxy_pass http://HOST:PORT; } } })"],
    );
}

#[test]
fn includes() {
    check(
        In::Main,
        "include missing.conf;",
        &["1:9 error: cannot read \"/etc/missing.conf\": No such file or directory"],
    );
    check(
        In::Main,
        "include [;",
        &["1:9 error: bad file name pattern: Pattern syntax error near position 5: invalid range \
             pattern"],
    );
    check(In::Main, "include t.conf;", &["1:9 error: \"/etc/t.conf\" includes itself"]);
    check(
        In::Main,
        "include loop.conf;",
        &["loop2.conf:1:9 error: \"/etc/loop.conf\" includes itself"],
    );
    check(
        In::Main,
        "include bad.conf;\nhttp { server { } }",
        &[
            "bad.conf:1:1 error: invalid number of arguments in \"user\" directive (usage: user \
             NAME [GROUP];)",
            "bad.conf:2:10 error: unknown directive \"oops\"",
        ],
    );
}
