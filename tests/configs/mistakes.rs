//! Mistakes: a snippet and exactly what is said of it.
//!
//! Positions are `line:column`; the wrapper of a snippet is one line, so that its first line is 2.

use crate::world::{Table, messages};

/// Where a snippet stands.
#[derive(Clone, Copy)]
enum In {
    Main,
    Http,
    Server,
    Location,
}

fn check(place: In, snippet: &str, expected: &[&str]) {
    let text = match place {
        In::Main => snippet.to_owned(),
        In::Http => format!("http {{\n{snippet}\nserver {{ listen 8099; }} }}"),
        In::Server => format!("http {{ server {{\n{snippet}\n}} }}"),
        In::Location => format!("http {{ server {{ location / {{\n{snippet}\n}} }} }}"),
    };
    let table = Table::default()
        .with("/etc/t.conf", &text)
        .with("/etc/loop.conf", "include loop2.conf;")
        .with("/etc/loop2.conf", "include loop.conf;")
        .with("/etc/bad.conf", "user a b c;\nevents { oops; }\n");
    let found = match table.load(&text) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    assert_eq!(messages(&found), expected, "{snippet}");
}

#[test]
fn broken_grammar_is_reported_and_read_on() {
    check(
        In::Main,
        "http {",
        &[
            "1:6 error: the block of \"http\" is not closed (unexpected end of file, expecting \"}\")",
        ],
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
        &[
            "2:12 error: unexpected \"x\" (after a closing quote there must be white space, \";\" or \"{\")",
        ],
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
        "wroker_processes 1;\nhttp { server { lisen 80; locaton / { porxy_pass http://127.0.0.1; } } }",
        &[
            "1:1 error: unknown directive \"wroker_processes\" (did you mean \"worker_processes\"?)",
            "2:17 error: unknown directive \"lisen\" (did you mean \"listen\"?)",
            "2:27 error: unknown directive \"locaton\" (did you mean \"location\"?)",
            "2:39 error: unknown directive \"porxy_pass\" (did you mean \"proxy_pass\"?)",
        ],
    );
    check(
        In::Main,
        "server { listen 80; }",
        &[
            "1:1 error: \"server\" directive is not allowed here (this is the main level; \"server\" is allowed in: http)",
        ],
    );
    check(
        In::Main,
        "server { lisen 80; }",
        &[
            "1:1 error: \"server\" directive is not allowed here (this is the main level; \"server\" is allowed in: http)",
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
        &[
            "2:32 error: \"listen\" directive is not allowed here (this is a block of \"upstream\"; \"listen\" is allowed in: server)",
        ],
    );
    check(
        In::Main,
        "include;",
        &["1:1 error: invalid number of arguments in \"include\" directive (usage: include FILE;)"],
    );
    check(
        In::Http,
        "listen 80;",
        &[
            "2:1 error: \"listen\" directive is not allowed here (this is a block of \"http\"; \"listen\" is allowed in: server)",
        ],
    );
    check(
        In::Server,
        "proxy_pass http://127.0.0.1;",
        &[
            "2:1 error: \"proxy_pass\" directive is not allowed here (this is a block of \"server\"; \"proxy_pass\" is allowed in: location)",
        ],
    );
    check(
        In::Location,
        "listen 80;",
        &[
            "2:1 error: \"listen\" directive is not allowed here (this is a block of \"location\"; \"listen\" is allowed in: server)",
        ],
    );
    check(
        In::Main,
        "events { worker_processes 1; }",
        &[
            "1:10 error: \"worker_processes\" directive is not allowed here (this is a block of \"events\"; \"worker_processes\" is allowed in: main)",
        ],
    );
    check(
        In::Location,
        "return 200 ok;",
        &[
            "2:1 error: nginx's \"return\" is not supported by upsplice yet (the proxy makes no answers of its own yet but errors)",
        ],
    );
    check(
        In::Location,
        "if ($http_upgrade) { proxy_pass http://127.0.0.1; }",
        &[
            "2:1 error: nginx's \"if\" is not supported by upsplice yet (requests are not rewritten yet; locations and map cover the usual cases)",
        ],
    );
    check(
        In::Location,
        "root /var/www;\nindex index.html;\ntry_files $uri =404;",
        &[
            "2:1 error: nginx's \"root\" is not supported by upsplice yet (nothing is served from files)",
            "3:1 error: nginx's \"index\" is not supported by upsplice yet (nothing is served from files)",
            "4:1 error: nginx's \"try_files\" is not supported by upsplice yet (nothing is served from files)",
        ],
    );
    check(
        In::Server,
        "ssl_certificate a.pem;\nhttp2 on;",
        &[
            "2:1 error: nginx's \"ssl_certificate\" is not supported by upsplice yet (TLS is not built in yet, nor are HTTP/2 and HTTP/3)",
            "3:1 error: nginx's \"http2\" is not supported by upsplice yet (TLS is not built in yet, nor are HTTP/2 and HTTP/3)",
        ],
    );
    check(
        In::Main,
        "load_module modules/x.so;\nstream { server { listen 1; } }",
        &[
            "1:1 error: nginx's \"load_module\" is not supported by upsplice yet (the process does not do this)",
            "2:1 error: nginx's \"stream\" is not supported by upsplice yet (only HTTP and what it upgrades to is proxied)",
        ],
    );
    check(
        In::Location,
        "content_by_lua_block { ngx.say({1}) }",
        &[
            "2:1 error: nginx's \"content_by_lua_block\" is not supported by upsplice yet (code cannot be run from the configuration)",
        ],
    );
    check(In::Server, "frobnicate on;", &["2:1 error: unknown directive \"frobnicate\""]);
}

#[test]
fn blocks_counts_and_duplicates() {
    check(
        In::Server,
        "listen;",
        &[
            "2:1 error: invalid number of arguments in \"listen\" directive (usage: listen ADDRESS[:PORT] | PORT | unix:PATH [default_server] [backlog=N] [reuseport] [so_keepalive=on|off|IDLE:INTERVAL:COUNT] [ipv6only=on|off];)",
        ],
    );
    check(
        In::Location,
        "proxy_set_header Host;",
        &[
            "2:1 error: invalid number of arguments in \"proxy_set_header\" directive (usage: proxy_set_header NAME VALUE;)",
        ],
    );
    check(
        In::Location,
        "proxy_read_timeout 60s proxy_send_timeout 60s;",
        &[
            "2:1 error: invalid number of arguments in \"proxy_read_timeout\" directive (is a \";\" missing before \"proxy_send_timeout\"? usage: proxy_read_timeout TIME;)",
        ],
    );
    check(
        In::Main,
        "events;",
        &["1:1 error: directive \"events\" has no opening \"{\" (usage: events { … })"],
    );
    check(
        In::Location,
        "proxy_pass http://127.0.0.1 { }",
        &[
            "2:1 error: directive \"proxy_pass\" is not terminated by \";\" (usage: proxy_pass http://HOST[:PORT][URI] | http://UPSTREAM[URI] | http://unix:PATH[:URI];)",
        ],
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
            "2:20 error: invalid value \"6o\" in \"proxy_read_timeout\" directive (a time: a number of seconds, or with ms, s, m, h, d or w, such as 500ms or 1h30m)",
            "3:23 error: invalid value \"1y\" in \"proxy_connect_timeout\" directive (a time: a number of seconds, or with ms, s, m, h, d or w, such as 500ms or 1h30m)",
            "4:13 error: invalid value \"yes\" in \"tcp_nodelay\" directive (it must be \"on\" or \"off\")",
            "5:10 error: invalid value \"maybe\" in \"sendfile\" directive (it must be \"on\" or \"off\")",
        ],
    );
    check(
        In::Location,
        "proxy_buffer_size 4q;\nkeepalive_requests 0;\nclient_max_body_size big;\nlingering_close perhaps;",
        &[
            "2:19 error: invalid value \"4q\" in \"proxy_buffer_size\" directive (expected a size: a number of bytes, or with k or m, such as 8k)",
            "3:20 error: invalid value \"0\" in \"keepalive_requests\" directive (it must be at least 1)",
            "4:22 error: invalid value \"big\" in \"client_max_body_size\" directive (a size: bytes, or with k, m or g)",
            "5:17 error: invalid value \"perhaps\" in \"lingering_close\" directive (accepted: on, off, always)",
        ],
    );
    check(
        In::Location,
        "proxy_buffer_size 4;",
        &[
            "2:19 error: invalid value \"4\" in \"proxy_buffer_size\" directive (it must be from 128 to 1073741824)",
        ],
    );
    check(
        In::Main,
        "worker_processes 0;\nworker_rlimit_nofile many;\nevents { worker_connections 1; use kqueue; }\nworker_cpu_affinity 012;\nuser;",
        &[
            "1:18 error: invalid value \"0\" in \"worker_processes\" directive (a number from 1 to 1024, or auto)",
            "2:22 error: invalid value \"many\" in \"worker_rlimit_nofile\" directive (expected a number)",
            "3:29 error: invalid value \"1\" in \"worker_connections\" directive (it must be from 2 to 16777216)",
            "3:36 error: nginx's event method \"kqueue\" does not exist in upsplice (use epoll or io_uring, or no line)",
            "4:21 error: invalid value \"012\" in \"worker_cpu_affinity\" directive (a mask of 0 and 1 with a 1, such as 0101)",
            "5:1 error: invalid number of arguments in \"user\" directive (usage: user NAME [GROUP];)",
        ],
    );
    check(
        In::Main,
        "events { use epol; }\nerror_log x.log wran;\nerror_log syslog:server=1;",
        &[
            "1:14 error: invalid event type \"epol\" (did you mean \"epoll\"?)",
            "2:17 error: invalid log level \"wran\" (did you mean \"warn\"?)",
            "3:11 error: a log to syslog or memory is not supported by upsplice yet (a file, or stderr)",
        ],
    );
    check(
        In::Location,
        "keepalive_timeout 60 x;\nserver_tokens maybe;\nproxy_http_version 1.2;",
        &[
            "2:22 error: invalid value \"x\" in \"keepalive_timeout\" directive (a time in whole seconds)",
            "3:15 error: invalid value \"maybe\" in \"server_tokens\" directive (on, off or build)",
            "4:20 error: invalid value \"1.2\" in \"proxy_http_version\" directive (1.0 or 1.1)",
        ],
    );
    check(
        In::Location,
        "proxy_http_version 2;",
        &[
            "2:20 error: HTTP/2 to an upstream is not supported by upsplice yet (1.1, which has upgrades)",
        ],
    );
    check(
        In::Location,
        "proxy_redirect default;\nproxy_cache zone;",
        &[
            "2:16 error: \"proxy_redirect\" can only be \"off\" in upsplice so far (Location fields of upstreams pass unchanged)",
            "3:13 error: invalid value \"zone\" in \"proxy_cache\" directive (accepted: off)",
        ],
    );
    check(
        In::Location,
        "upgrade_allow websocket off;",
        &[
            "2:25 error: invalid value \"off\" in \"upgrade_allow\" directive (protocol names such as websocket, or off alone)",
        ],
    );
    check(
        In::Location,
        "upgrade_allow a/b/c;",
        &[
            "2:15 error: invalid value \"a/b/c\" in \"upgrade_allow\" directive (protocol names such as websocket, or off alone)",
        ],
    );
    check(
        In::Location,
        "tunnel_idle_timeout 0;\ntunnel_max_lifetime 1h jitter=110%;",
        &[
            "2:21 error: invalid value \"0\" in \"tunnel_idle_timeout\" directive (a time above zero, or off)",
            "3:24 error: invalid value \"jitter=110%\" in \"tunnel_max_lifetime\" directive (jitter=PERCENT% behind a time, from 0% to 100%)",
        ],
    );
    check(
        In::Location,
        "tunnel_max_lifetime off jitter=1%;",
        &[
            "2:25 error: invalid value \"jitter=1%\" in \"tunnel_max_lifetime\" directive (jitter=PERCENT% behind a time, from 0% to 100%)",
        ],
    );
}

#[test]
fn listen_and_server_name() {
    check(
        In::Server,
        "listen 80 ssl;",
        &[
            "2:11 error: \"ssl\" of \"listen\" is not supported by upsplice yet (TLS is not built in yet: a server for wss:// needs a TLS terminator in front of it)",
        ],
    );
    check(
        In::Server,
        "listen 443 ssl http2;\nlisten 444 quic reuseport;\nlisten 445 proxy_protocol;\nlisten 446 fastopen=3;",
        &[
            "2:12 error: \"ssl\" of \"listen\" is not supported by upsplice yet (TLS is not built in yet: a server for wss:// needs a TLS terminator in front of it)",
            "2:16 error: \"http2\" of \"listen\" is not supported by upsplice yet (HTTP/2 is not built in yet; it has no Upgrade, WebSockets use HTTP/1.1)",
            "3:12 error: \"quic\" of \"listen\" is not supported by upsplice yet (HTTP/3 is not built in yet)",
            "4:12 error: \"proxy_protocol\" of \"listen\" is not supported by upsplice yet (the PROXY protocol is not built in yet)",
            "5:12 error: \"fastopen\" of \"listen\" is not supported by upsplice yet (remove it: the socket keeps the system's value)",
        ],
    );
    check(
        In::Server,
        "listen 99999;",
        &[
            "2:8 error: invalid port in \"99999\" of the \"listen\" directive (PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
        ],
    );
    check(
        In::Server,
        "listen nowhere.test:80;",
        &[
            "2:8 error: host not found in \"nowhere.test:80\" of the \"listen\" directive (Name or service not known)",
        ],
    );
    check(
        In::Server,
        "listen ::1:80;",
        &[
            "2:8 error: an IPv6 address needs brackets in \"::1:80\" of the \"listen\" directive (PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
        ],
    );
    check(
        In::Server,
        "listen [::1:80;",
        &[
            "2:8 error: no closing \"]\" in \"[::1:80\" of the \"listen\" directive (PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
        ],
    );
    check(
        In::Server,
        "listen 9000-8000;\nlisten 1-2000;",
        &[
            "2:8 error: invalid port range in \"9000-8000\" of the \"listen\" directive (PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
            "3:8 error: too large port range in \"1-2000\" of the \"listen\" directive (PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
        ],
    );
    check(
        In::Server,
        "listen 80 defualt_server;",
        &["2:11 error: invalid parameter \"defualt_server\" (did you mean \"default_server\"?)"],
    );
    check(
        In::Server,
        "listen 80 backlog=0 so_keepalive=1:2 ipv6only=on;",
        &[
            "2:11 error: invalid value \"backlog=0\" in \"listen\" directive (backlog=N, at least 1)",
            "2:21 error: invalid value \"so_keepalive=1:2\" in \"listen\" directive (so_keepalive=on, off or IDLE:INTERVAL:COUNT, such as 30m::10)",
            "2:38 error: ipv6only is for IPv6 addresses (such as [::]:80)",
        ],
    );
    check(
        In::Server,
        "listen [::]:80 ipv6only=maybe;",
        &[
            "2:16 error: invalid value \"ipv6only=maybe\" in \"listen\" directive (ipv6only=on or ipv6only=off)",
        ],
    );
    check(
        In::Server,
        "listen 80;\nlisten *:80;\nlisten unix:;",
        &[
            "3:8 error: a duplicate listen 0.0.0.0:80",
            "4:8 error: invalid unix-domain path \"\" (unix: and a path of 1 to 107 bytes)",
        ],
    );
    check(
        In::Http,
        "server { listen 80 default_server backlog=5; }\nserver { listen 80 default_server backlog=6; server_name x; }",
        &[
            "3:17 error: duplicate listen options for 0.0.0.0:80 (give backlog, so_keepalive and the like once for an address)",
            "3:17 error: a duplicate default server for 0.0.0.0:80",
        ],
    );
    check(
        In::Http,
        "server { listen 80; server_name a b; }\nserver { listen 80; server_name B; }",
        &[
            "3:33 warning: conflicting server name \"b\" on 0.0.0.0:80, ignored (an earlier server of this address has the name)",
        ],
    );
    check(
        In::Server,
        "server_name www.*.com **.a http://a/ ~( $hostname;",
        &[
            "2:13 error: server name \"www.*.com\" is invalid (a star stands alone for the first or the last label: *.example.com, www.example.*)",
            "2:23 error: server name \"**.a\" is invalid (a star stands alone for the first or the last label: *.example.com, www.example.*)",
            "2:28 warning: server name \"http://a/\" has suspicious symbols (a name has no scheme and no path)",
            "2:38 error: bad regular expression: unclosed group",
            "2:41 error: server_name $hostname is not supported by upsplice yet (write the name of the machine)",
        ],
    );
}

#[test]
fn locations() {
    check(
        In::Server,
        "location / { }\nlocation / { }\nlocation = / { }",
        &["3:1 error: duplicate location \"/\""],
    );
    check(
        In::Server,
        "location @back { }\nlocation !~ a { }\nlocation ~ a(?=b) { }",
        &[
            "2:10 error: named locations are not supported by upsplice yet (only error_page and try_files lead to one, and neither is supported)",
            "3:10 error: invalid location modifier \"!~\" (=, ^~, ~, ~* or none)",
            "4:12 error: bad regular expression: look-around, including look-ahead and look-behind, is not supported (expressions here never backtrack, so they are never slow)",
        ],
    );
    check(
        In::Server,
        "location /a { location /b { } }\nlocation = /c { location /c/d { } }",
        &[
            "2:15 error: location \"/b\" is outside location \"/a\"",
            "3:17 error: location \"/c/d\" cannot be inside the exact location \"/c\"",
        ],
    );
    check(
        In::Server,
        "location images/ { }",
        &[
            "2:10 warning: location \"images/\" can never match (a request's path begins with \"/\")",
        ],
    );
}

#[test]
fn proxy_pass_addresses() {
    check(
        In::Location,
        "proxy_pass https://127.0.0.1;",
        &[
            "2:12 error: TLS to an upstream is not supported by upsplice yet (TLS is not built in yet: use http://)",
        ],
    );
    check(
        In::Location,
        "proxy_pass ws://127.0.0.1/x;",
        &[
            "2:12 error: invalid URL prefix in \"ws://127.0.0.1/x\" (a WebSocket begins as HTTP: write http://127.0.0.1/x)",
        ],
    );
    check(
        In::Location,
        "proxy_pass wss://127.0.0.1;",
        &[
            "2:12 error: TLS to an upstream is not supported by upsplice yet (TLS is not built in yet: use http://)",
        ],
    );
    check(
        In::Location,
        "proxy_pass 127.0.0.1:80;",
        &[
            "2:12 error: invalid URL prefix in \"127.0.0.1:80\" (http://HOST, http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)",
        ],
    );
    check(
        In::Location,
        "proxy_pass http://$host;",
        &[
            "2:12 error: variables in \"proxy_pass\" are not supported by upsplice yet (a location for each upstream does it)",
        ],
    );
    check(
        In::Location,
        "proxy_pass http://127.0.0.1:0;",
        &[
            "2:12 error: invalid port in \"http://127.0.0.1:0\" (http://HOST, http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)",
        ],
    );
    check(
        In::Location,
        "proxy_pass http://;",
        &[
            "2:12 error: no host in \"http://\" (http://HOST, http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)",
        ],
    );
    check(
        In::Location,
        "proxy_pass \"http://127.0.0.1/a b\";",
        &[
            "2:12 error: an address cannot contain spaces or control characters (http://HOST, http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)",
        ],
    );
    check(
        In::Server,
        "location ~ \\.php$ { proxy_pass http://127.0.0.1/x; }",
        &[
            "2:32 error: \"proxy_pass\" cannot have URI part in location given by regular expression (remove \"/x\": nothing says which part of the path it replaces)",
        ],
    );
    check(
        In::Http,
        "upstream backend { server 127.0.0.1; }\nserver { location / { proxy_pass http://backnd; } }\nserver { listen 81; location / { proxy_pass http://backend:81; } }",
        &[
            "3:34 error: host not found in upstream \"backnd\" (did you mean \"backend\"?)",
            "4:45 error: upstream \"backend\" may not have port 81 (the ports are those of the servers in the upstream block)",
        ],
    );
}

#[test]
fn header_fields_and_variables() {
    check(
        In::Location,
        "proxy_set_header Host: $host;\nproxy_set_header X $hots;\nproxy_set_header Y $;\nproxy_set_header Z ${host;",
        &[
            "2:18 error: invalid header name \"Host:\" (without the colon: Host)",
            "3:20 error: unknown \"hots\" variable (did you mean \"host\"?)",
            "4:20 error: invalid variable name: a \"$\" without a name",
            "5:20 error: \"${host\" has no closing \"}\"",
        ],
    );
    check(
        In::Location,
        "proxy_set_header Transfer-Encoding chunked;",
        &[
            "2:1 warning: \"proxy_set_header Transfer-Encoding\" has no effect (the proxy writes this field itself)",
        ],
    );
    check(
        In::Location,
        "add_header X-A b allways;\nadd_header \"X A\" b;\nproxy_hide_header a:b;",
        &[
            "2:18 error: invalid parameter \"allways\" (only \"always\" may follow the value)",
            "3:12 error: invalid header name \"X A\" (letters, digits and dashes)",
            "4:19 error: invalid header name \"a:b\" (letters, digits and dashes)",
        ],
    );
    check(
        In::Location,
        "add_header X \"a\nb\";",
        &["2:14 error: a header value cannot contain line breaks (is a closing quote missing?)"],
    );
}

#[test]
fn logs() {
    check(
        In::Http,
        "log_format main '$remote_addr' '$bogus';\nlog_format main x;\nlog_format combined x;\nlog_format j escape=jsno x;\naccess_log a.log mian;\naccess_log off x;",
        &[
            "2:32 error: unknown \"bogus\" variable",
            "3:12 error: duplicate \"log_format\" name \"main\"",
            "4:12 error: duplicate \"log_format\" name \"combined\"",
            "5:14 error: unknown log format escaping \"jsno\" (did you mean \"json\"?)",
            "6:18 error: unknown log format \"mian\" (did you mean \"main\"?)",
            "7:16 error: invalid value \"x\" in \"access_log\" directive (\"off\" takes no parameters)",
        ],
    );
    check(
        In::Http,
        "access_log syslog:server=x;\naccess_log $host.log;\naccess_log a.log combined if=$x;\naccess_log a.log combined gzip;\naccess_log a.log combined buffer=0;\naccess_log a.log combined extra;",
        &[
            "2:12 error: an access log to syslog is not supported by upsplice yet (a file name)",
            "3:12 error: an access log whose name has variables is not supported by upsplice yet (a file name)",
            "4:27 error: \"if=$x\" of \"access_log\" is not supported by upsplice yet",
            "5:27 error: \"gzip\" of \"access_log\" is not supported by upsplice yet",
            "6:27 error: invalid value \"buffer=0\" in \"access_log\" directive (a size, such as buffer=32k)",
            "7:27 error: invalid value \"extra\" in \"access_log\" directive (usage: access_log FILE [FORMAT] | off;)",
        ],
    );
    check(
        In::Http,
        "error_log other.log;",
        &[
            "2:1 warning: this error log receives the messages of all servers (the program has one stream of messages; put error_log at the main level)",
        ],
    );
}

#[test]
fn maps() {
    check(
        In::Http,
        "map $http_upgrade connection { default a; }",
        &["2:19 error: invalid variable name \"connection\" (usage: map SOURCE $VARIABLE { … })"],
    );
    check(In::Http, "map $x_y $z { default 1; }", &["2:5 error: unknown \"x_y\" variable"]);
    check(
        In::Http,
        "map $uri $z { default 1; default 2; a b c; ~( d; B 1; b 2; e; }",
        &[
            "2:26 error: duplicate default map parameter",
            "2:37 error: invalid number of the map parameters (a line is a value and a result: websocket upgrade;)",
            "2:44 error: bad regular expression: unclosed group",
            "2:55 error: conflicting parameter \"b\" (values are compared without case)",
            "2:60 error: invalid number of the map parameters (a line is a value and a result: websocket upgrade;)",
        ],
    );
    check(
        In::Http,
        "map $host $z { hostnames; a.*.b 1; *.a 1; *.A 2; }",
        &[
            "2:27 error: invalid hostname or wildcard \"a.*.b\" (*.example.com or www.example.*)",
            "2:43 error: conflicting parameter \"*.A\" (values are compared without case)",
        ],
    );
    check(
        In::Http,
        "map $host $z { ~(?<site>a) $site; b $site; }\nmap $host $Z { default 1; }",
        &[
            "2:37 error: unknown \"site\" variable",
            "3:11 error: the variable \"$z\" is defined by another map already",
        ],
    );
    check(
        In::Http,
        "map $host $conection_upgrade { default 1; }\nserver { location / { proxy_set_header X $connection_upgrade; } }",
        &[
            "3:42 error: unknown \"connection_upgrade\" variable (did you mean \"conection_upgrade\"?)",
        ],
    );
}

#[test]
fn upstream_groups() {
    check(
        In::Http,
        "upstream a { }\nupstream b { server 127.0.0.1 backup; }\nupstream b { server 127.0.0.1; }",
        &[
            "2:1 error: no servers are inside upstream \"a\" (write server HOST:PORT; in it)",
            "3:1 error: no servers are inside upstream \"b\" (one must not be \"backup\")",
            "4:10 error: duplicate upstream \"b\"",
        ],
    );
    check(
        In::Http,
        "upstream a { ip_hash; server 127.0.0.1; server 127.0.0.2 backup; }",
        &["2:58 error: balancing method does not support parameter \"backup\""],
    );
    check(
        In::Http,
        "upstream a { server 127.0.0.1 weight=0 max_fails=3 fail_timeout=30s wieght=2; }",
        &[
            "2:31 error: invalid value \"weight=0\" in \"server\" directive (weight=N, N from 1 to 65535)",
            "2:40 error: nginx's server parameter \"max_fails\" is not supported by upsplice yet (a failed server is not taken out of the group for now)",
            "2:52 error: nginx's server parameter \"fail_timeout\" is not supported by upsplice yet (a failed server is not taken out of the group for now)",
            "2:69 error: invalid parameter \"wieght=2\" (did you mean \"weight\"?)",
        ],
    );
    check(
        In::Http,
        "upstream a { least_conn; server nowhere.test:90; server http://a; server [::1]:x; zone a 64k; }",
        &[
            "2:14 error: nginx's \"least_conn\" is not supported by upsplice yet (of the balancing methods there are round robin and ip_hash for now, and a failed request is not tried again)",
            "2:33 error: host not found in upstream \"nowhere.test:90\" (Name or service not known)",
            "2:57 error: invalid host in upstream \"http://a\" (a server of a group is HOST:PORT; the http:// belongs to proxy_pass)",
            "2:74 error: invalid port in upstream \"[::1]:x\" (HOST, HOST:PORT or unix:PATH)",
            "2:83 error: nginx's \"zone\" is not supported by upsplice yet (of the balancing methods there are round robin and ip_hash for now, and a failed request is not tried again)",
        ],
    );
    check(
        In::Http,
        "upstream a { server 127.0.0.1; keepalive 0; }",
        &[
            "2:32 warning: connections to upstreams are not kept for further requests yet (\"keepalive\" has no effect for now; tunnels are not concerned)",
            "2:42 error: invalid value \"0\" in \"keepalive\" directive (a number of connections, at least 1)",
        ],
    );
}

#[test]
fn a_configuration_that_serves_nothing() {
    check(
        In::Main,
        "",
        &[
            "error: the configuration has no \"http\" block: there is nothing to serve (http { server { listen 80; location / { proxy_pass http://HOST:PORT; } } })",
        ],
    );
    check(
        In::Main,
        "http { }",
        &["error: the \"http\" block has no \"server\": there is nothing to serve"],
    );
    check(
        In::Main,
        "events { worker_connections 10; }",
        &[
            "error: the configuration has no \"http\" block: there is nothing to serve (http { server { listen 80; location / { proxy_pass http://HOST:PORT; } } })",
        ],
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
        &[
            "1:9 error: bad file name pattern: Pattern syntax error near position 5: invalid range pattern",
        ],
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
            "bad.conf:1:1 error: invalid number of arguments in \"user\" directive (usage: user NAME [GROUP];)",
            "bad.conf:2:10 error: unknown directive \"oops\"",
        ],
    );
}
