//! The directives that do something.

use crate::config::build::{group, header, listen, location, log, map, process, proxy, tunnel};

use super::{Action, EVENTS, HS, HSL, HTTP, LOCATION, MAIN, Row, SERVER, UPSTREAM};

const SIZE_MAX: u64 = 1 << 30;
const MANY: usize = usize::MAX;

/// The process, its events, and HTTP as clients see it.
pub(super) const ROWS: &[Row] = &[
    Row::new(
        "user",
        MAIN,
        (1, 2),
        "NAME [GROUP]",
        Action::Call(process::user),
        "The account that the program changes to after it has opened its sockets and files, if it \
         was started by root; otherwise a note in the log and no effect. Without the directive \
         root becomes `nobody`, as with nginx.",
    ),
    Row::new(
        "pid",
        MAIN,
        (1, 1),
        "FILE",
        Action::Call(process::pid),
        "A file for the process id, which `-s` reads. `off` (the default) writes none.",
    ),
    Row::new(
        "daemon",
        MAIN,
        (1, 1),
        "on | off",
        Action::Flag(|draft| &mut draft.process.daemon),
        "`on` detaches from the terminal after a successful start. The default is `off`, unlike \
         nginx: a service manager or a person is usually watching.",
    )
    .default("off"),
    Row::new(
        "worker_processes",
        MAIN,
        (1, 1),
        "NUMBER | auto",
        Action::Call(process::worker_processes),
        "How many workers there are: threads of one process, each pinned to a CPU, each with its \
         own sockets. `auto` is one for each CPU the process may use.",
    )
    .default("1"),
    Row::new(
        "worker_cpu_affinity",
        MAIN,
        (1, MANY),
        "auto [MASK] | MASK…",
        Action::Call(process::worker_cpu_affinity),
        "The CPUs of each worker as binary masks, the lowest CPU rightmost; the last mask serves \
         all further workers. `auto` (the default) gives worker *n* the *n*-th usable CPU, with a \
         mask the *n*-th of that mask, and again from the first.",
    )
    .default("auto"),
    Row::new(
        "worker_rlimit_nofile",
        MAIN,
        (1, 1),
        "NUMBER",
        Action::Number(|draft| &mut draft.process.rlimit_nofile, 1, u64::MAX),
        "The limit on open descriptors (`RLIMIT_NOFILE`) that the process sets itself at start. A \
         tunnel needs two.",
    ),
    Row::new(
        "worker_shutdown_timeout",
        MAIN,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.process.shutdown_timeout_ms),
        "How long a graceful stop (SIGQUIT) waits for what is in flight. Without it, for ever.",
    ),
    Row::new(
        "error_log",
        MAIN.or(HSL),
        (1, 2),
        "FILE | stderr [LEVEL]",
        Action::Call(log::error_log),
        "A file for messages of LEVEL and above: debug, info, notice, warn, error (default), crit, \
         alert, emerg. Without the directive they go to standard error. The program has one stream \
         of messages: a file named inside http, server or location gets those of all servers.",
    )
    .repeats(),
    Row::new(
        "events",
        MAIN,
        (0, 0),
        "",
        Action::Block(process::events),
        "The block of the directives that concern connections. May be absent.",
    ),
    Row::new(
        "use",
        EVENTS,
        (1, 1),
        "epoll | io_uring",
        Action::Call(process::engine),
        "The engine. Without it io_uring where the kernel grants it, and epoll elsewhere, with the \
         reason in the log. With it that one, or an error.",
    ),
    Row::new(
        "spin",
        EVENTS,
        (1, 2),
        "off | TIME [force] | always [force]",
        Action::Call(process::spin),
        "Latency bought with CPU time. A worker that has nothing to do goes to sleep, and \
         waking up often takes longer than all of its work. With a TIME (from `1us` to \
         `1000ms`; `us` and `ms` are the units) it first looks for new work for so long. It \
         does so while that pays: behind a turn that had work, and once several looks in a row \
         were in vain only now and then; a worker without traffic sleeps and costs nothing. \
         `always` never sleeps: each worker uses one CPU fully, with or without traffic. Needs \
         CPUs to spare: with a single CPU, or with more workers than CPUs, spinning would take \
         the time from those who are waited for, and the program refuses to start unless \
         `force` follows. Not in nginx.",
    )
    .default("off"),
    Row::new(
        "worker_connections",
        EVENTS,
        (1, 1),
        "NUMBER",
        Action::Number(|draft| &mut draft.process.worker_connections, 2, 1 << 24),
        "Connections of one worker at a time, those to upstreams included, so half of them may be \
         clients. When they are taken, further clients wait in the listen queue, and clients that \
         are idle for a second make room for them.",
    )
    .default("512"),
    Row::new(
        "http",
        MAIN,
        (0, 0),
        "",
        Action::Block(location::http),
        "The block of all servers. Exactly one.",
    ),
    Row::new(
        "log_format",
        HTTP,
        (2, MANY),
        "NAME [escape=default|json|none] TEXT…",
        Action::Call(log::log_format),
        "A named form of access log lines: the texts joined, with variables. `combined` is \
         predefined as in nginx.",
    )
    .repeats(),
    Row::new(
        "access_log",
        HSL,
        (1, MANY),
        "FILE [FORMAT] | off",
        Action::Call(log::access_log),
        "Writes a line when a request or a tunnel ends. Several lines write to several files; \
         `off` cancels those of the outer levels. An inner level replaces all of the outer ones. \
         Without the directive nothing is written, unlike nginx, whose default path is its \
         packager's choice. `buffer=` and `flush=` are accepted: how lines are gathered is up to \
         the program.",
    )
    .repeats(),
    Row::new(
        "map",
        HTTP,
        (2, 2),
        "SOURCE $VARIABLE",
        Action::Block(map::map),
        "Makes a variable from another text. Inside: `VALUE RESULT;` with exact values (compared \
         without case), `~REGEX` and `~*REGEX` in their order, `default RESULT;`, `hostnames;` \
         (then also `*.example.com`, `.example.com`, `www.example.*`), `volatile;` (accepted: \
         nothing is cached anyway) and `include FILE;`. A leading backslash makes a special word \
         an ordinary one. The order of trial is nginx's: exact, longest `*.`, longest `.*`, \
         regexes, default.",
    )
    .repeats(),
    Row::new(
        "upstream",
        HTTP,
        (1, 1),
        "NAME",
        Action::Block(group::upstream),
        "A group of servers for `proxy_pass http://NAME`, by smooth weighted round robin. Each \
         worker counts for itself.",
    )
    .repeats(),
    Row::new(
        "server",
        UPSTREAM,
        (1, MANY),
        "ADDRESS [weight=N] [backup] [down]",
        Action::Call(group::server),
        "A server of the group: HOST, HOST:PORT (default 80) or unix:PATH. A host name is resolved \
         once, at start, and each of its addresses becomes a server. `weight` is its share \
         (default 1), `backup` keeps it for when no other may be used, `down` takes it out.",
    )
    .repeats(),
    Row::new(
        "ip_hash",
        UPSTREAM,
        (0, 0),
        "",
        Action::Call(group::ip_hash),
        "Chooses by the client's address (the first three bytes of an IPv4 one), so that a client \
         stays with a server.",
    ),
    Row::new(
        "keepalive",
        UPSTREAM,
        (1, 2),
        "NUMBER",
        Action::Call(group::keepalive),
        "Accepted with a warning: connections to upstreams are not kept for further requests yet. \
         Tunnels are not concerned.",
    ),
    Row::new(
        "server",
        HTTP,
        (0, 0),
        "",
        Action::Block(location::server),
        "The block of a virtual server.",
    )
    .repeats(),
    Row::new(
        "listen",
        SERVER,
        (1, MANY),
        "ADDRESS[:PORT] | PORT | unix:PATH [default_server] [backlog=N] [reuseport] \
         [so_keepalive=on|off|IDLE:INTERVAL:COUNT] [ipv6only=on|off]",
        Action::Call(listen::listen),
        "Where the server is reached: `8080`, `127.0.0.1:8080`, `*:80`, `[::]:80`, a host name, a \
         range of ports `8000-8010`, `unix:/path`. Without the directive `*:80`. The first server \
         of an address, or the one marked `default_server`, takes requests for unknown names. \
         Every worker has its own socket for each address, so `reuseport` and `bind` say what is \
         done anyway. `backlog` is 511 and `ipv6only` is `on` unless given.",
    )
    .repeats(),
    Row::new(
        "server_name",
        SERVER,
        (1, MANY),
        "NAME…",
        Action::Call(listen::server_name),
        "The names the server answers to: exact, `*.example.com`, `www.example.*`, `.example.com` \
         (both the name and all below it), `~REGEX` (never case-sensitive; named groups become \
         variables) and `\"\"` for requests without a name. Tried in nginx's order.",
    )
    .default("\"\"")
    .repeats(),
    Row::new(
        "location",
        SERVER.or(LOCATION),
        (1, 2),
        "[= | ^~ | ~ | ~*] PATH",
        Action::Block(location::location),
        "Settings for the requests whose path matches: `=` exactly, by prefix (the longest wins; \
         `^~` keeps regexes from being tried after it), or by regex (`~`, `~*` without case; the \
         first in the file wins). Locations may nest. A request that no location with a \
         `proxy_pass` takes is answered 404.",
    )
    .repeats(),
    Row::new(
        "client_header_timeout",
        HS,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.scope.client_header_timeout_ms),
        "How long a request head may take from its first byte, or from the connection for the \
         first request; then 408.",
    )
    .default("60s"),
    Row::new(
        "client_header_buffer_size",
        HSL,
        (1, 1),
        "SIZE",
        Action::Call(header::client_header_buffer_size),
        "Memory for a request head before a large buffer is taken. In a location, where nginx \
         refuses it, it is accepted with a warning and has no effect: the head is read before the \
         location is known.",
    )
    .default("1k"),
    Row::new(
        "large_client_header_buffers",
        HSL,
        (2, 2),
        "NUMBER SIZE",
        Action::Call(header::large_client_header_buffers),
        "The bound on a request head: the request line (else 414) and each field (else 431, where \
         nginx says 400) must fit SIZE, all together NUMBER of them. In a location: as \
         `client_header_buffer_size`.",
    )
    .default("4 8k"),
    Row::new(
        "client_body_timeout",
        HSL,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.scope.client_body_timeout_ms),
        "The longest pause in a request body; then 408.",
    )
    .default("60s"),
    Row::new(
        "client_max_body_size",
        HSL,
        (1, 1),
        "SIZE",
        Action::Call(header::client_max_body_size),
        "The largest request body; a larger one gets 413. `0` is no limit. Tunnels are not \
         concerned.",
    )
    .default("1m"),
    Row::new(
        "send_timeout",
        HSL,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.scope.send_timeout_ms),
        "How long a write to the client may make no progress, also in a tunnel; then the \
         connection is closed.",
    )
    .default("60s"),
    Row::new(
        "keepalive_timeout",
        HSL,
        (1, 2),
        "TIME [TIME]",
        Action::Call(header::keepalive_timeout),
        "How long a client connection waits for its next request; `0` closes after each answer. \
         The second time is announced in a `Keep-Alive` field.",
    )
    .default("75s"),
    Row::new(
        "keepalive_requests",
        HSL,
        (1, 1),
        "NUMBER",
        Action::Number(|draft| &mut draft.scope.keepalive_requests, 1, u64::MAX),
        "Requests of one client connection; the last one's answer closes it.",
    )
    .default("1000"),
    Row::new(
        "tcp_nodelay",
        HSL,
        (1, 1),
        "on | off",
        Action::Flag(|draft| &mut draft.scope.tcp_nodelay),
        "Sets `TCP_NODELAY` on client and upstream sockets, from the start of a connection.",
    )
    .default("on"),
    Row::new(
        "server_tokens",
        HSL,
        (1, 1),
        "on | off | build",
        Action::Call(header::server_tokens),
        "Whether the `Server` field and the program's own answers name its version; `build` is as \
         `on`.",
    )
    .default("on"),
    Row::new(
        "add_header",
        HSL,
        (2, 3),
        "NAME VALUE [always]",
        Action::Call(header::add_header),
        "Adds a field to answers 200, 201, 204, 206, 301, 302, 303, 304, 307 and 308, with \
         `always` to all (a 101 needs `always`). A value that comes out empty adds nothing. An \
         inner level with any `add_header` replaces all of the outer ones.",
    )
    .repeats(),
    Row::new(
        "upgrade_allow",
        HSL,
        (1, MANY),
        "TOKEN… | off",
        Action::Call(tunnel::upgrade_allow),
        "upsplice's own. The protocols a client may upgrade to, compared without case. A request \
         for another one goes upstream as an ordinary request; `off` allows none.",
    )
    .default("websocket"),
    Row::new(
        "splice",
        HSL,
        (1, 1),
        "auto | off | pipe | linked",
        Action::Call(tunnel::splice),
        "upsplice's own. How the bytes of a tunnel move. `off` copies them through a buffer, which \
         is cheapest for messages. `pipe` moves them inside the kernel, with `splice(2)` through a \
         pooled pipe, which is cheapest for bulk. `auto` copies, and uses pipes for a direction \
         for as long as it carries bulk. `linked` is `pipe` done by io_uring's own linked \
         operations; the kernel gives each to a thread, which pays for large transfers at best, \
         and costs latency. With `use epoll;` it is an error; where io_uring is denied, `pipe` \
         takes its \
         place and the log says so. A pipe is borrowed only while bytes are on their way; when \
         there is none to spare, bytes are copied.",
    )
    .default("auto"),
    Row::new(
        "tunnel_half_close",
        HSL,
        (1, 1),
        "on | off",
        Action::Flag(|draft| &mut draft.scope.tunnel_half_close),
        "upsplice's own. `on` passes on the end of one direction and keeps the other open until it \
         ends too. `off` closes the tunnel when either side ends and its bytes are delivered, as \
         nginx does.",
    )
    .default("on"),
    Row::new(
        "tunnel_idle_timeout",
        HSL,
        (1, 1),
        "TIME | off",
        Action::Call(tunnel::idle_timeout),
        "upsplice's own. Closes a tunnel that carried nothing in either direction for so long. \
         `proxy_read_timeout` does the same under nginx's name; whichever is shorter acts.",
    )
    .default("off"),
    Row::new(
        "tunnel_max_lifetime",
        HSL,
        (1, 2),
        "TIME [jitter=PERCENT%] | off",
        Action::Call(tunnel::max_lifetime),
        "upsplice's own. Closes a tunnel at this age, busy or not. `jitter=10%` takes up to a \
         tenth off, drawn for each tunnel, so that tunnels opened together do not end together.",
    )
    .default("off"),
];

/// What concerns the way to the upstream.
pub(super) const PROXY_ROWS: &[Row] = &[
    Row::new(
        "proxy_pass",
        LOCATION,
        (1, 1),
        "http://HOST[:PORT][URI] | http://UPSTREAM[URI] | http://unix:PATH[:URI]",
        Action::Call(proxy::proxy_pass),
        "Where requests of the location go. With a URI, it replaces the part of the path that the \
         location's prefix matched; without one the path is passed as the client sent it. A host \
         name is resolved once, at start. Not inherited by nested locations. Variables and \
         https:// are not supported yet.",
    ),
    Row::new(
        "proxy_http_version",
        HSL,
        (1, 1),
        "1.0 | 1.1",
        Action::Call(proxy::http_version),
        "The version spoken to the upstream. HTTP/1.0 has no upgrades: with `1.0` a WebSocket \
         cannot be opened, and `-t` says so.",
    )
    .default("1.1"),
    Row::new(
        "proxy_set_header",
        HSL,
        (2, 2),
        "NAME VALUE",
        Action::Call(header::proxy_set_header),
        "Sets a field of the request that goes upstream; an empty value removes it. An inner level \
         with any `proxy_set_header` replaces all of the outer ones. Without a line for it, `Host` \
         is `$proxy_host`. `Upgrade` and `Connection` need no line: a client's upgrade is passed \
         on by itself.",
    )
    .repeats(),
    Row::new(
        "proxy_hide_header",
        HSL,
        (1, 1),
        "NAME",
        Action::Call(header::proxy_hide_header),
        "Keeps a field of the upstream's answer from the client (but never the `Upgrade` of a \
         101), as always `Date`, `Server`, `X-Pad` and `X-Accel-…`.",
    )
    .repeats(),
    Row::new(
        "proxy_pass_header",
        HSL,
        (1, 1),
        "NAME",
        Action::Call(header::proxy_pass_header),
        "Lets a field through that is otherwise hidden.",
    )
    .repeats(),
    Row::new(
        "proxy_redirect",
        HSL,
        (1, 2),
        "off",
        Action::Call(proxy::redirect),
        "Only `off` for now, which is also the default here: `Location` fields pass unchanged. \
         nginx's default rewrites those that begin with the `proxy_pass` address.",
    )
    .repeats(),
    Row::new(
        "proxy_connect_timeout",
        HSL,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.scope.proxy_connect_timeout_ms),
        "How long a connection to an upstream may take; then 504.",
    )
    .default("60s"),
    Row::new(
        "proxy_read_timeout",
        HSL,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.scope.proxy_read_timeout_ms),
        "How long an upstream may be silent: before an answer begins 504, within it the connection \
         is closed. In a tunnel, silence in both directions: traffic in either starts it anew.",
    )
    .default("60s"),
    Row::new(
        "proxy_send_timeout",
        HSL,
        (1, 1),
        "TIME",
        Action::Time(|draft| &mut draft.scope.proxy_send_timeout_ms),
        "How long a write to the upstream may make no progress, also in a tunnel.",
    )
    .default("60s"),
    Row::new(
        "proxy_buffer_size",
        HSL,
        (1, 1),
        "SIZE",
        Action::Size(|draft| &mut draft.scope.proxy_buffer_bytes, 128, SIZE_MAX),
        "The bound on the head of an upstream's answer; a longer one is a 502.",
    )
    .default("4k"),
    Row::new(
        "proxy_socket_keepalive",
        HSL,
        (1, 1),
        "on | off",
        Action::Flag(|draft| &mut draft.scope.proxy_socket_keepalive),
        "Sets `SO_KEEPALIVE` on upstream sockets.",
    )
    .default("off"),
];
