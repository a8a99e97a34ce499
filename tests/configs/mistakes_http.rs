//! Mistakes in servers, locations and what they use: a snippet and exactly what is said of it.
//!
//! Positions are `line:column`; the wrapper of a snippet is one line, so that its first line is 2
//! (at the main level there is no wrapper).

use crate::world::{In, check};

#[test]
fn listen_and_server_name() {
    check(
        In::Server,
        "listen 80 ssl;",
        &["2:11 error: \"ssl\" of \"listen\" is not supported by upsplice yet (TLS is not built \
             in yet: a server for wss:// needs a TLS terminator in front of it)"],
    );
    check(
        In::Server,
        "listen 443 ssl http2;\nlisten 444 quic reuseport;\nlisten 445 proxy_protocol;\nlisten 446 \
         fastopen=3;",
        &[
            "2:12 error: \"ssl\" of \"listen\" is not supported by upsplice yet (TLS is not built \
             in yet: a server for wss:// needs a TLS terminator in front of it)",
            "2:16 error: \"http2\" of \"listen\" is not supported by upsplice yet (HTTP/2 is not \
             built in yet; it has no Upgrade, WebSockets use HTTP/1.1)",
            "3:12 error: \"quic\" of \"listen\" is not supported by upsplice yet (HTTP/3 is not \
             built in yet)",
            "4:12 error: \"proxy_protocol\" of \"listen\" is not supported by upsplice yet (the \
             PROXY protocol is not built in yet)",
            "5:12 error: \"fastopen\" of \"listen\" is not supported by upsplice yet (remove it: \
             the socket keeps the system's value)",
        ],
    );
    check(
        In::Server,
        "listen 99999;",
        &["2:8 error: invalid port in \"99999\" of the \"listen\" directive (PORT, ADDRESS, \
             ADDRESS:PORT, [IPV6]:PORT or unix:PATH)"],
    );
    check(
        In::Server,
        "listen nowhere.test:80;",
        &["2:8 error: host not found in \"nowhere.test:80\" of the \"listen\" directive (Name or \
             service not known)"],
    );
    check(
        In::Server,
        "listen ::1:80;",
        &["2:8 error: an IPv6 address needs brackets in \"::1:80\" of the \"listen\" directive \
             (PORT, ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)"],
    );
    check(
        In::Server,
        "listen [::1:80;",
        &["2:8 error: no closing \"]\" in \"[::1:80\" of the \"listen\" directive (PORT, \
             ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)"],
    );
    check(
        In::Server,
        "listen 9000-8000;\nlisten 1-2000;",
        &[
            "2:8 error: invalid port range in \"9000-8000\" of the \"listen\" directive (PORT, \
             ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
            "3:8 error: too large port range in \"1-2000\" of the \"listen\" directive (PORT, \
             ADDRESS, ADDRESS:PORT, [IPV6]:PORT or unix:PATH)",
        ],
    );
}

#[test]
fn parameters_of_listen() {
    check(
        In::Server,
        "listen 80 defualt_server;",
        &["2:11 error: invalid parameter \"defualt_server\" (did you mean \"default_server\"?)"],
    );
    check(
        In::Server,
        "listen 80 backlog=0 so_keepalive=1:2 ipv6only=on;",
        &[
            "2:11 error: invalid value \"backlog=0\" in \"listen\" directive (backlog=N, at least \
             1)",
            "2:21 error: invalid value \"so_keepalive=1:2\" in \"listen\" directive \
             (so_keepalive=on, off or IDLE:INTERVAL:COUNT, such as 30m::10)",
            "2:38 error: ipv6only is for IPv6 addresses (such as [::]:80)",
        ],
    );
    check(
        In::Server,
        "listen [::]:80 ipv6only=maybe;",
        &["2:16 error: invalid value \"ipv6only=maybe\" in \"listen\" directive (ipv6only=on or \
             ipv6only=off)"],
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
        "server { listen 80 default_server backlog=5; }\nserver { listen 80 default_server \
         backlog=6; server_name x; }",
        &[
            "3:17 error: duplicate listen options for 0.0.0.0:80 (give backlog, so_keepalive and \
             the like once for an address)",
            "3:17 error: a duplicate default server for 0.0.0.0:80",
        ],
    );
    check(
        In::Http,
        "server { listen 80; server_name a b; }\nserver { listen 80; server_name B; }",
        &["3:33 warning: conflicting server name \"b\" on 0.0.0.0:80, ignored (an earlier server \
             of this address has the name)"],
    );
    check(
        In::Server,
        "server_name www.*.com **.a http://a/ ~( $hostname;",
        &[
            "2:13 error: server name \"www.*.com\" is invalid (a star stands alone for the first \
             or the last label: *.example.com, www.example.*)",
            "2:23 error: server name \"**.a\" is invalid (a star stands alone for the first or the \
             last label: *.example.com, www.example.*)",
            "2:28 warning: server name \"http://a/\" has suspicious symbols (a name has no scheme \
             and no path)",
            "2:38 error: bad regular expression: unclosed group",
            "2:41 error: server_name $hostname is not supported by upsplice yet (write the name of \
             the machine)",
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
            "2:10 error: named locations are not supported by upsplice yet (only error_page and \
             try_files lead to one, and neither is supported)",
            "3:10 error: invalid location modifier \"!~\" (=, ^~, ~, ~* or none)",
            "4:12 error: bad regular expression: look-around, including look-ahead and \
             look-behind, is not supported (expressions here never backtrack, so they are never \
             slow)",
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
        &["2:10 warning: location \"images/\" can never match (a request's path begins with \
             \"/\")"],
    );
}

#[test]
fn proxy_pass_addresses() {
    check(
        In::Location,
        "proxy_pass https://127.0.0.1;",
        &["2:12 error: TLS to an upstream is not supported by upsplice yet (TLS is not built in \
             yet: use http://)"],
    );
    check(
        In::Location,
        "proxy_pass ws://127.0.0.1/x;",
        &["2:12 error: invalid URL prefix in \"ws://127.0.0.1/x\" (a WebSocket begins as HTTP: \
             write http://127.0.0.1/x)"],
    );
    check(
        In::Location,
        "proxy_pass wss://127.0.0.1;",
        &["2:12 error: TLS to an upstream is not supported by upsplice yet (TLS is not built in \
             yet: use http://)"],
    );
    check(
        In::Location,
        "proxy_pass 127.0.0.1:80;",
        &["2:12 error: invalid URL prefix in \"127.0.0.1:80\" (http://HOST, \
             http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)"],
    );
    check(
        In::Location,
        "proxy_pass http://$host;",
        &["2:12 error: variables in \"proxy_pass\" are not supported by upsplice yet (a location \
             for each upstream does it)"],
    );
    check(
        In::Location,
        "proxy_pass http://127.0.0.1:0;",
        &["2:12 error: invalid port in \"http://127.0.0.1:0\" (http://HOST, \
             http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)"],
    );
    check(
        In::Location,
        "proxy_pass http://;",
        &["2:12 error: no host in \"http://\" (http://HOST, http://HOST:PORT/URI, \
             http://UPSTREAM or http://unix:/PATH:/URI)"],
    );
    check(
        In::Location,
        "proxy_pass \"http://127.0.0.1/a b\";",
        &["2:12 error: an address cannot contain spaces or control characters (http://HOST, \
             http://HOST:PORT/URI, http://UPSTREAM or http://unix:/PATH:/URI)"],
    );
    check(
        In::Server,
        "location ~ \\.php$ { proxy_pass http://127.0.0.1/x; }",
        &["2:32 error: \"proxy_pass\" cannot have URI part in location given by regular \
             expression (remove \"/x\": nothing says which part of the path it replaces)"],
    );
    check(
        In::Http,
        "upstream backend { server 127.0.0.1; }\nserver { location / { proxy_pass http://backnd; } \
         }\nserver { listen 81; location / { proxy_pass http://backend:81; } }",
        &[
            "3:34 error: host not found in upstream \"backnd\" (did you mean \"backend\"?)",
            "4:45 error: upstream \"backend\" may not have port 81 (the ports are those of the \
             servers in the upstream block)",
        ],
    );
}

#[test]
fn header_fields_and_variables() {
    check(
        In::Location,
        "proxy_set_header Host: $host;\nproxy_set_header X $hots;\nproxy_set_header Y \
         $;\nproxy_set_header Z ${host;",
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
        &["2:1 warning: \"proxy_set_header Transfer-Encoding\" has no effect (the proxy writes \
             this field itself)"],
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
        "log_format main '$remote_addr' '$bogus';\nlog_format main x;\nlog_format combined \
         x;\nlog_format j escape=jsno x;\naccess_log a.log mian;\naccess_log off x;",
        &[
            "2:32 error: unknown \"bogus\" variable",
            "3:12 error: duplicate \"log_format\" name \"main\"",
            "4:12 error: duplicate \"log_format\" name \"combined\"",
            "5:14 error: unknown log format escaping \"jsno\" (did you mean \"json\"?)",
            "6:18 error: unknown log format \"mian\" (did you mean \"main\"?)",
            "7:16 error: invalid value \"x\" in \"access_log\" directive (\"off\" takes no \
             parameters)",
        ],
    );
    check(
        In::Http,
        "access_log syslog:server=x;\naccess_log $host.log;\naccess_log a.log combined \
         if=$x;\naccess_log a.log combined gzip;\naccess_log a.log combined buffer=0;\naccess_log \
         a.log combined extra;",
        &[
            "2:12 error: an access log to syslog is not supported by upsplice yet (a file name)",
            "3:12 error: an access log whose name has variables is not supported by upsplice yet \
             (a file name)",
            "4:27 error: \"if=$x\" of \"access_log\" is not supported by upsplice yet",
            "5:27 error: \"gzip\" of \"access_log\" is not supported by upsplice yet",
            "6:27 error: invalid value \"buffer=0\" in \"access_log\" directive (a size, such as \
             buffer=32k)",
            "7:27 error: invalid value \"extra\" in \"access_log\" directive (usage: access_log \
             FILE [FORMAT] | off;)",
        ],
    );
    check(
        In::Http,
        "error_log other.log;",
        &["2:1 warning: this error log receives the messages of all servers (the program has one \
             stream of messages; put error_log at the main level)"],
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
            "2:37 error: invalid number of the map parameters (a line is a value and a result: \
             websocket upgrade;)",
            "2:44 error: bad regular expression: unclosed group",
            "2:55 error: conflicting parameter \"b\" (values are compared without case)",
            "2:60 error: invalid number of the map parameters (a line is a value and a result: \
             websocket upgrade;)",
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
        "map $host $conection_upgrade { default 1; }\nserver { location / { proxy_set_header X \
         $connection_upgrade; } }",
        &["3:42 error: unknown \"connection_upgrade\" variable (did you mean \
             \"conection_upgrade\"?)"],
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
            "2:31 error: invalid value \"weight=0\" in \"server\" directive (weight=N, N from 1 to \
             65535)",
            "2:40 error: nginx's server parameter \"max_fails\" is not supported by upsplice yet \
             (a failed server is not taken out of the group for now)",
            "2:52 error: nginx's server parameter \"fail_timeout\" is not supported by upsplice \
             yet (a failed server is not taken out of the group for now)",
            "2:69 error: invalid parameter \"wieght=2\" (did you mean \"weight\"?)",
        ],
    );
    check(
        In::Http,
        "upstream a { least_conn; server nowhere.test:90; server http://a; server [::1]:x; zone a \
         64k; }",
        &[
            "2:14 error: nginx's \"least_conn\" is not supported by upsplice yet (of the balancing \
             methods there are round robin and ip_hash for now, and a failed request is not tried \
             again)",
            "2:33 error: host not found in upstream \"nowhere.test:90\" (Name or service not \
             known)",
            "2:57 error: invalid host in upstream \"http://a\" (a server of a group is HOST:PORT; \
             the http:// belongs to proxy_pass)",
            "2:74 error: invalid port in upstream \"[::1]:x\" (HOST, HOST:PORT or unix:PATH)",
            "2:83 error: nginx's \"zone\" is not supported by upsplice yet (of the balancing \
             methods there are round robin and ip_hash for now, and a failed request is not tried \
             again)",
        ],
    );
    check(
        In::Http,
        "upstream a { server 127.0.0.1; keepalive 0; }",
        &[
            "2:32 warning: connections to upstreams are not kept for further requests yet \
             (\"keepalive\" has no effect for now; tunnels are not concerned)",
            "2:42 error: invalid value \"0\" in \"keepalive\" directive (a number of connections, \
             at least 1)",
        ],
    );
}

#[test]
fn all_unknown_variables_of_a_text_are_told_and_nginx_s_own_by_name() {
    check(
        In::Http,
        "log_format a '$gzip_ratio $hots $ssl_protocol $host $bogus';",
        &[
            "2:14 error: nginx's variable \"$gzip_ratio\" is not supported by upsplice yet",
            "2:14 error: unknown \"hots\" variable (did you mean \"host\"?)",
            "2:14 error: nginx's variable \"$ssl_protocol\" is not supported by upsplice yet",
            "2:14 error: unknown \"bogus\" variable",
        ],
    );
}

#[test]
fn what_keeps_an_automatic_upgrade_from_happening_is_told() {
    check(
        In::Location,
        "proxy_pass http://127.0.0.1:9; proxy_set_header Connection \"\";",
        &["2:32 warning: the Connection value \"\" keeps WebSockets from opening (\"upgrade\", a \
             map of $http_upgrade, or no line: upgrades pass by themselves; nothing to mend where \
             none is wanted)"],
    );
    check(
        In::Location,
        "proxy_pass http://127.0.0.1:9; proxy_set_header Upgrade \"\";",
        &["2:32 warning: an empty Upgrade value keeps WebSockets from opening ($http_upgrade, or \
             no line: upgrades pass by themselves)"],
    );
}
