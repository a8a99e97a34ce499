//! What a configuration means: defaults, inheritance, names and references in the model.

use upsplice::config::model::{
    Affinity, Balance, Config, EngineChoice, ErrorLog, Level, LocationMatch, ProxyVersion,
    ServerName, Spin, Splice, Workers,
};
use upsplice::config::{Request, load_text};

use crate::world::{Table, messages};

fn config(text: &str) -> Config {
    match Table::default().load(text) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => panic!("{text}: {:#?}", messages(&diagnostics)),
    }
}

/// The first location of the first server.
fn location(body: &str) -> upsplice::config::model::Location {
    let config = config(&format!("http {{ server {{ location / {{ {body} }} }} }}"));
    config.locations[config.servers[0].locations[0]].clone()
}

#[test]
fn the_defaults_are_nginx_s() {
    let config = config("http { server { } }");
    let process = &config.process;
    assert_eq!(process.workers, Workers::Count(1));
    assert_eq!(process.worker_connections, 512);
    assert_eq!(process.engine, EngineChoice::Auto);
    assert!(!process.daemon && process.pid.is_none());
    assert_eq!(process.error_logs, [ErrorLog { path: None, level: Level::Error }]);
    assert_eq!(config.listens[0].addr.to_string(), "0.0.0.0:80");
    assert_eq!(config.listens[0].backlog, 511);
    let server = &config.servers[0];
    assert!(matches!(&server.names[..], [ServerName::Exact(name)] if name.is_empty()));
    assert_eq!(
        (server.client_header_buffer_bytes, server.client_header_timeout_ms),
        (1024, 60_000)
    );
    assert_eq!((server.large_header_buffers, server.large_header_buffer_bytes), (4, 8192));
    let settings = &config.locations[server.root].settings;
    assert_eq!(settings.proxy_version, ProxyVersion::Http11);
    assert_eq!(settings.proxy_connect_timeout_ms, 60_000);
    assert_eq!(settings.proxy_read_timeout_ms, 60_000);
    assert_eq!(settings.proxy_send_timeout_ms, 60_000);
    assert_eq!(settings.send_timeout_ms, 60_000);
    assert_eq!(settings.client_body_timeout_ms, 60_000);
    assert_eq!(settings.client_max_body_bytes, 1 << 20);
    assert_eq!((settings.keepalive_timeout_ms, settings.keepalive_header_s), (75_000, None));
    assert_eq!(settings.keepalive_requests, 1000);
    assert_eq!(settings.proxy_buffer_bytes, 4096);
    assert_eq!(settings.upgrade_allow, ["websocket"]);
    assert!(settings.tunnel_half_close && settings.tcp_nodelay && settings.server_tokens);
    assert!(!settings.proxy_socket_keepalive);
    assert_eq!((settings.tunnel_idle_timeout_ms, settings.tunnel_max_lifetime_ms), (None, None));
    assert!(settings.access_logs.is_empty());
    assert_eq!(config.log_formats[0].name, "combined");
}

#[test]
fn main_and_events() {
    let config = config(
        "user nginx web; pid x.pid; daemon on; worker_processes auto; worker_shutdown_timeout 1m;
         worker_cpu_affinity 0101 1000; worker_rlimit_nofile 65535;
         error_log stderr info; error_log logs/e.log; error_log /var/e.log debug;
         events { use io_uring; worker_connections 4096; multi_accept on; }
         http { server { error_log logs/e.log; } }",
    );
    let process = config.process;
    assert_eq!(process.user, Some(("nginx".into(), Some("web".into()))));
    assert_eq!(process.pid.as_deref(), Some("/srv/x.pid"));
    assert!(process.daemon);
    assert_eq!(process.workers, Workers::Auto);
    assert_eq!(process.shutdown_timeout_ms, Some(60_000));
    assert_eq!(process.affinity, Affinity::Masks(vec![vec![0, 2], vec![3]]));
    assert_eq!(process.rlimit_nofile, Some(65_535));
    assert_eq!((process.engine, process.worker_connections), (EngineChoice::IoUring, 4096));
    let log = |path: Option<&str>, level| ErrorLog { path: path.map(str::to_owned), level };
    assert_eq!(
        process.error_logs,
        [
            log(None, Level::Info),
            log(Some("/srv/logs/e.log"), Level::Error),
            log(Some("/var/e.log"), Level::Debug),
        ]
    );
    assert_eq!((process.spin, process.spin_forced), (Spin::Off, false));
    for (text, spin, forced) in [
        ("spin 50us;", Spin::For { us: 50 }, false),
        ("spin 2ms force;", Spin::For { us: 2000 }, true),
        ("spin 1000ms;", Spin::For { us: 1_000_000 }, false),
        ("spin always;", Spin::Always, false),
        ("spin always force;", Spin::Always, true),
        ("spin off;", Spin::Off, false),
    ] {
        let text = format!("events {{ {text} }} http {{ server {{ }} }}");
        let process = self::config(&text).process;
        assert_eq!((process.spin, process.spin_forced), (spin, forced), "{text}");
    }
    let auto = "worker_cpu_affinity auto 1010; http { server { } }";
    assert_eq!(self::config(auto).process.affinity, Affinity::AutoOf(vec![1, 3]));
}

#[test]
fn values_are_inherited_wherever_the_outer_ones_stand_and_lists_as_a_whole() {
    let config = config(
        "http {
            proxy_set_header A 1; proxy_set_header B 2; add_header X 1; access_log a.log;
            server {
                location / {
                    proxy_read_timeout 5s;
                    location /a { proxy_set_header C 3; access_log off; proxy_pass_header Server; }
                }
                location /b { add_header Y 2 always; access_log b.log; access_log c.log combined; }
                proxy_read_timeout 7s; proxy_hide_header X-Powered-By;
            }
            proxy_read_timeout 9s; proxy_send_timeout 9s;
        }",
    );
    let by_path = |wanted: &str| {
        let found = config.locations.iter().find(|location| match &location.matches {
            LocationMatch::Prefix { path, .. } => path == wanted,
            _ => false,
        });
        &found.unwrap().settings
    };
    let names = |path: &str| -> Vec<String> {
        by_path(path).set_headers.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names("/"), ["A", "B"]);
    assert_eq!(names("/a"), ["C"]);
    assert_eq!(by_path("/").proxy_read_timeout_ms, 5_000);
    assert_eq!(by_path("/a").proxy_read_timeout_ms, 5_000);
    assert_eq!(by_path("/b").proxy_read_timeout_ms, 7_000);
    assert_eq!(by_path("/a").proxy_send_timeout_ms, 9_000);
    assert_eq!(by_path("/a").add_headers[0].name, "X");
    let added = &by_path("/b").add_headers;
    assert!(added.len() == 1 && added[0].name == "Y" && added[0].always);
    assert!(by_path("/").hide_headers.iter().any(|name| name == "x-powered-by"));
    assert!(by_path("/").hide_headers.iter().any(|name| name == "server"));
    assert!(!by_path("/a").hide_headers.iter().any(|name| name == "server"));
    let files = |path: &str| -> Vec<&str> {
        let logs = by_path(path).access_logs.iter();
        logs.map(|log| config.access_files[log.file].as_str()).collect()
    };
    assert_eq!(files("/"), ["/srv/a.log"]);
    assert_eq!(files("/a"), [""; 0]);
    assert_eq!(files("/b"), ["/srv/b.log", "/srv/c.log"]);
}

#[test]
fn proxy_pass_names_a_group_or_makes_one() {
    let config = config(
        "http {
            server {
                location /group { proxy_pass http://Nodes; }
                location /uri/ { proxy_pass http://nodes/api/; }
                location /port { proxy_pass HTTP://App.Internal:8080?x=1; }
                location /again { proxy_pass http://app.internal:8080; }
                location /plain { proxy_pass http://localhost; }
                location /six { proxy_pass http://[::1]:90/; }
                location /unix { proxy_pass http://unix:/run/a.sock:/b; }
            }
            upstream nodes { server 10.0.0.1:1 weight=5; server localhost:2 backup; }
        }",
    );
    let shown: Vec<String> = config.servers[0]
        .locations
        .iter()
        .map(|&id| {
            let proxy = config.locations[id].proxy.as_ref().unwrap();
            let peers = config.upstreams[proxy.upstream].peers.iter();
            let peers: Vec<String> = peers.map(|peer| peer.addr.to_string()).collect();
            let uri = proxy.uri.as_deref().unwrap_or("-");
            format!("{} {} {uri} {}", proxy.host, proxy.port, peers.join(","))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "nodes 80 - 10.0.0.1:1,127.0.0.1:2,[::1]:2",
            "nodes 80 /api/ 10.0.0.1:1,127.0.0.1:2,[::1]:2",
            "app.internal:8080 8080 ?x=1 10.0.0.7:8080",
            "app.internal:8080 8080 - 10.0.0.7:8080",
            "localhost 80 - 127.0.0.1:80,[::1]:80",
            "[::1]:90 90 / [::1]:90",
            "localhost 80 /b unix:/run/a.sock",
        ]
    );
    assert_eq!(config.upstreams.len(), 5);
    let peers = &config.upstreams[0].peers;
    assert_eq!((peers[0].weight, peers[0].backup, peers[1].backup), (5, false, true));
    let sticky = "http { upstream a { ip_hash; server 127.0.0.1; } server { } }";
    assert_eq!(self::config(sticky).upstreams[0].balance, Balance::IpHash);
}

#[test]
fn addresses_and_names_of_servers() {
    let config = config(
        "http {
            server { listen 8000-8001; listen [::]:80 ipv6only=off; server_name A.test *.b.test; }
            server {
                listen 127.0.0.1:0; listen localhost:81 so_keepalive=1m:10s:3 backlog=7;
                listen 8000 default_server; server_name .c.test www.*;
            }
            server { listen unix:/run/x.sock; server_name '~^(?<who>.+)\\.d\\.test$' ''; }
        }",
    );
    let shown: Vec<String> = config
        .listens
        .iter()
        .map(|listen| format!("{} {:?} {}", listen.addr, listen.servers, listen.default))
        .collect();
    assert_eq!(
        shown,
        [
            "0.0.0.0:8000 [0, 1] 1",
            "0.0.0.0:8001 [0] 0",
            "[::]:80 [0] 0",
            "127.0.0.1:0 [1] 1",
            "127.0.0.1:81 [1] 1",
            "[::1]:81 [1] 1",
            "unix:/run/x.sock [2] 2",
        ]
    );
    assert!(!config.listens[2].ipv6only && config.listens[5].ipv6only);
    let keepalive = config.listens[4].keepalive.unwrap();
    let expected = (Some(60), Some(10), Some(3));
    assert_eq!((keepalive.idle_s, keepalive.interval_s, keepalive.count), expected);
    assert_eq!(config.listens[4].backlog, 7);
    let names: Vec<String> = config
        .servers
        .iter()
        .flat_map(|server| &server.names)
        .map(|name| match name {
            ServerName::Exact(name) => format!("={name}"),
            ServerName::Suffix(name) => format!("*{name}"),
            ServerName::Prefix(name) => format!("{name}*"),
            ServerName::Regex(pattern) => format!("~{}", pattern.text),
        })
        .collect();
    let expected =
        ["=a.test", "*.b.test", "=c.test", "*.c.test", "www.*", "~^(?<who>.+)\\.d\\.test$", "="];
    assert_eq!(names, expected);
}

#[test]
fn locations_keep_their_kind_and_nesting() {
    let config = config(
        "http { server { location =/a { } location ^~ /b { location ~ \\.x$ { } }
         location ~* ^/c { } location /d { location /d/e { } } } }",
    );
    let server = &config.servers[0];
    let shown: Vec<String> = server
        .locations
        .iter()
        .map(|&id| {
            let location = &config.locations[id];
            let kind = match &location.matches {
                LocationMatch::Server => "server".to_owned(),
                LocationMatch::Exact(path) => format!("= {path}"),
                LocationMatch::Prefix { path, stop } => format!("{path} {stop}"),
                LocationMatch::Regex(pattern) => {
                    format!("~ {} {}", pattern.text, pattern.regex.is_match(b"/C"))
                }
            };
            format!("{kind} {}", location.children.len())
        })
        .collect();
    assert_eq!(shown, ["= /a 0", "/b true 1", "~ ^/c true 0", "/d false 1"]);
}

#[test]
fn maps_keep_the_order_in_which_they_are_tried() {
    let config = config(
        "http {
            map $host $site {
                hostnames; volatile; default d;
                EXAMPLE.com exact; .example.org both; *.long.example.net suffix; *.net short;
                www.* prefix; ~^(?<name>a+) $name; \\default word; ~*B insensitive;
            }
            map $site $next { default $site; '' empty; *.x literal; include more; }
            server { location / { proxy_pass http://127.0.0.1; proxy_set_header X $next; } }
        }"
        .replace("include more;", "")
        .as_str(),
    );
    let map = &config.maps[0];
    let keys = |list: &[(Vec<u8>, _)]| -> Vec<String> {
        list.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    };
    let mut exact: Vec<_> =
        map.exact.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
    exact.sort();
    assert_eq!(exact, ["default", "example.com", "example.org"]);
    assert_eq!(keys(&map.suffixes), [".long.example.net", ".example.org", ".net"]);
    assert_eq!(keys(&map.prefixes), ["www."]);
    let patterns: Vec<&str> = map.patterns.iter().map(|(p, _)| p.text.as_str()).collect();
    assert_eq!(patterns, ["^(?<name>a+)", "B"]);
    assert_eq!(map.default.constant(), Some(&b"d"[..]));
    assert!(config.maps[1].exact.contains_key(&b"*.x"[..]) && !config.maps[1].hostnames);
}

#[test]
fn upsplice_s_own_directives() {
    let settings = location(
        "upgrade_allow WebSocket tls/1.2; tunnel_half_close off; tunnel_idle_timeout 10m;
         tunnel_max_lifetime 4h jitter=10%; keepalive_timeout 60s 75s;",
    )
    .settings;
    assert_eq!(settings.upgrade_allow, ["websocket", "tls/1.2"]);
    assert!(!settings.tunnel_half_close);
    assert_eq!(settings.tunnel_idle_timeout_ms, Some(600_000));
    assert_eq!(settings.tunnel_max_lifetime_ms, Some(14_400_000));
    assert_eq!(settings.tunnel_lifetime_jitter_percent, 10);
    assert_eq!((settings.keepalive_timeout_ms, settings.keepalive_header_s), (60_000, Some(75)));
    assert!(location("upgrade_allow off;").settings.upgrade_allow.is_empty());
}

#[test]
fn splice_names_a_carrier_and_is_inherited() {
    assert_eq!(location("").settings.splice, Splice::Auto);
    for (word, splice) in [
        ("auto", Splice::Auto),
        ("off", Splice::Off),
        ("pipe", Splice::Pipe),
        ("linked", Splice::Linked),
    ] {
        assert_eq!(location(&format!("splice {word};")).settings.splice, splice);
    }
    let config =
        config("http { splice pipe; server { location / { } location /x { splice off; } } }");
    let root = &config.servers[0].locations;
    let of = |index: usize| config.locations[root[index]].settings.splice;
    assert_eq!((of(0), of(1)), (Splice::Pipe, Splice::Off));
}

#[test]
fn directives_of_the_command_line_come_first_and_count_as_written() {
    let load = |directives| {
        let request = Request { path: "/etc/t.conf", prefix: "/srv", directives: Some(directives) };
        load_text(request, b"daemon off; http { server { } }".to_vec(), &Table::default())
    };
    let loaded = load("worker_processes 3;").unwrap();
    assert_eq!(loaded.config.process.workers, Workers::Count(3));
    let names: Vec<&str> = loaded.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["/etc/t.conf"]);
    let diagnostics = load("daemon on;").unwrap_err();
    assert_eq!(messages(&diagnostics), ["1:1 error: \"daemon\" directive is duplicate"]);
    let diagnostics = load("daemon on").unwrap_err();
    assert_eq!(
        messages(&diagnostics)[0],
        "-g:1:10 error: unexpected end of file, expecting \";\" or \"}\""
    );
}

#[test]
fn included_files_are_found_beside_the_main_file_in_order_and_dumped() {
    let table = Table::default()
        .with("/etc/b.conf", "server { listen 82; }")
        .with("/etc/a.conf", "server { listen 81; }")
        .with("/abs.conf", "server { listen 83; }");
    let text = "http { include [ab].conf; include /abs.conf; include none/*.conf; }";
    let loaded = table.load(text).unwrap();
    let listens: Vec<String> =
        loaded.config.listens.iter().map(|listen| listen.addr.to_string()).collect();
    assert_eq!(listens, ["0.0.0.0:81", "0.0.0.0:82", "0.0.0.0:83"]);
    let names: Vec<&str> = loaded.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["/etc/t.conf", "/etc/a.conf", "/etc/b.conf", "/abs.conf"]);
    assert_eq!(loaded.files[1].text, b"server { listen 81; }");
}

#[test]
fn a_diagnostic_shows_the_line_and_a_caret() {
    let text = "http {\n\tserver {\n\t\tlisten 80 defualt_server;\n\t}\n}\n";
    let diagnostics = Table::default().load(text).unwrap_err();
    assert_eq!(
        diagnostics[0].to_string(),
        "/etc/t.conf:3:13: error: invalid parameter \"defualt_server\"\n    \
         3 | \t\tlisten 80 defualt_server;\n      \
         | \t\t          ^^^^^^^^^^^^^^\n      \
         = help: did you mean \"default_server\"?"
    );
}
