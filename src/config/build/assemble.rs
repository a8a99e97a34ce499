//! From drafts to the model: inheritance, references, addresses.

use crate::config::check;
use crate::config::model::{
    Balance, Config, ErrorLog, Listen, Location, LocationId, LocationMatch, Peer, Process,
    ProxyPass, Server, ServerId, Upstream, UpstreamId,
};
use crate::config::source::Span;
use crate::conn::Addr;
use crate::limits::LISTEN_BACKLOG;

use super::Builder;
use super::draft::{Draft, ListenLine, ProcessDraft, ProxyLine, ProxyTarget, Scope};
use super::listen::DEFAULT_ADDRESS;
use super::settings::{bytes, settings};

/// Makes the model of all that was read.
pub(super) fn assemble(
    mut builder: Builder<'_>,
    main: Draft,
    main_defaults: ProcessDraft,
    http_defaults: Draft,
) -> Config {
    if builder.http.is_none() && !builder.problems.any_error() {
        builder
            .problems
            .error_overall("the configuration has no \"http\" block: there is nothing to serve")
            .help("http { server { listen 80; location / { proxy_pass http://HOST:PORT; } } }");
    }
    let http = builder.http.take().unwrap_or_default();
    let mut assembly = Assembly {
        named: builder.upstreams.len(),
        builder,
        defaults: http_defaults,
        locations: Vec::new(),
        servers: Vec::new(),
        listens: Vec::new(),
        name_spans: Vec::new(),
    };
    let Draft { scope, inner, .. } = http;
    if inner.is_empty() && !assembly.builder.problems.any_error() {
        let message = "the \"http\" block has no \"server\": there is nothing to serve";
        assembly.builder.problems.error_overall(message);
    }
    for server in inner {
        assembly.server(server, &scope);
    }
    assembly.choose_defaults();
    let Assembly { builder, locations, servers, listens, name_spans, .. } = assembly;
    let listens: Vec<Listen> = listens.into_iter().map(ListenGroup::into_model).collect();
    let config = Config {
        process: process(main.process, main_defaults),
        listens,
        servers,
        locations,
        upstreams: builder.upstreams,
        maps: builder.maps,
        log_formats: builder.log_formats,
        access_files: builder.access_files,
    };
    check::names(&config, &name_spans, builder.problems);
    check::carriers(config.process.engine, &builder.linked, builder.problems);
    config
}

fn process(set: ProcessDraft, defaults: ProcessDraft) -> Process {
    let mut error_logs = Vec::new();
    for log in set.error_logs {
        if !error_logs.contains(&log) {
            error_logs.push(log);
        }
    }
    if error_logs.is_empty() {
        error_logs.push(ErrorLog::DEFAULT);
    }
    let connections = set.worker_connections.or(defaults.worker_connections);
    let (spin, spin_forced) = set.spin.or(defaults.spin).unwrap_or_default();
    Process {
        workers: set
            .workers
            .or(defaults.workers)
            .unwrap_or(crate::config::model::Workers::Count(1)),
        affinity: set.affinity.unwrap_or_default(),
        worker_connections: bytes(connections.unwrap_or_default()),
        rlimit_nofile: set.rlimit_nofile,
        shutdown_timeout_ms: set.shutdown_timeout_ms,
        engine: set.engine.unwrap_or(crate::config::model::EngineChoice::Auto),
        spin,
        spin_forced,
        user: set.user,
        pid: set.pid.flatten(),
        daemon: set.daemon.or(defaults.daemon).unwrap_or_default(),
        error_logs,
    }
}

struct Assembly<'a> {
    builder: Builder<'a>,
    /// So many upstreams have a name of their own; the rest are made by `proxy_pass`.
    named: usize,
    defaults: Draft,
    locations: Vec<Location>,
    servers: Vec<Server>,
    listens: Vec<ListenGroup>,
    /// For each server the places of its names.
    name_spans: Vec<Vec<Span>>,
}

/// All `listen` lines of one address.
struct ListenGroup {
    addr: Addr,
    lines: Vec<(ServerId, ListenLine)>,
    default: ServerId,
}

impl Assembly<'_> {
    fn server(&mut self, draft: Draft, http: &Scope) {
        let id = self.servers.len();
        let Draft { mut scope, server, inner, head, .. } = draft;
        scope.inherit(http);
        let mut full = scope.clone();
        full.inherit(&self.defaults.scope);
        self.misplaced(&inner, &full);
        let locations: Vec<LocationId> =
            inner.into_iter().map(|location| self.location(location, &scope)).collect();
        let root = self.locations.len();
        self.locations.push(Location {
            matches: LocationMatch::Server,
            children: Vec::new(),
            proxy: None,
            settings: settings(&full),
        });
        let mut names = server.names;
        let named = !names.is_empty();
        if !named {
            names.clone_from(&self.defaults.server.names);
        }
        self.name_spans.push(
            names
                .iter()
                .map(|&(_, span)| if named { span } else { head.unwrap_or(span) })
                .collect(),
        );
        let (large_number, large_bytes) = full.large_header_buffers.unwrap_or_default();
        self.servers.push(Server {
            names: names.into_iter().map(|(name, _)| name).collect(),
            client_header_timeout_ms: full.client_header_timeout_ms.unwrap_or_default(),
            client_header_buffer_bytes: bytes(full.client_header_buffer_bytes.unwrap_or_default()),
            large_header_buffers: bytes(large_number),
            large_header_buffer_bytes: bytes(large_bytes),
            root,
            locations,
        });
        let mut listens = server.listens;
        if let (true, Some(span)) = (listens.is_empty(), head) {
            let addr = Addr::Inet(DEFAULT_ADDRESS);
            let options = super::draft::ListenOptions::default();
            listens.push(ListenLine { addr, span, default_server: false, options });
        }
        for line in listens {
            self.listen(id, line);
        }
    }

    /// Says what applies instead of a head's bounds that stand in a location.
    fn misplaced(&mut self, locations: &[Draft], server: &Scope) {
        for location in locations {
            for (name, span) in &location.misplaced {
                let applies = if name == "client_header_buffer_size" {
                    server.client_header_buffer_bytes.unwrap_or_default().to_string()
                } else {
                    let (number, size) = server.large_header_buffers.unwrap_or_default();
                    format!("{number} {size}")
                };
                self.builder
                    .problems
                    .warn(*span, format!("\"{name}\" has no effect in a location"))
                    .help(format!(
                        "a request head is read before its location is known; the server's value \
                         applies: {name} {applies}; nginx refuses the line here"
                    ));
            }
            self.misplaced(&location.inner, server);
        }
    }

    fn location(&mut self, draft: Draft, outer: &Scope) -> LocationId {
        let Draft { mut scope, location, inner, .. } = draft;
        scope.inherit(outer);
        if location.proxy.is_some() {
            check::location(&scope, self.builder.problems);
        }
        let children = inner.into_iter().map(|inner| self.location(inner, &scope)).collect();
        scope.inherit(&self.defaults.scope);
        let proxy = location.proxy.and_then(|line| self.proxy(line));
        self.locations.push(Location {
            // A location without a match was refused before; it is never used.
            matches: location.matches.unwrap_or(LocationMatch::Server),
            children,
            proxy,
            settings: settings(&scope),
        });
        self.locations.len() - 1
    }

    /// Finds the group that a `proxy_pass` names, or makes one of its host.
    fn proxy(&mut self, line: ProxyLine) -> Option<ProxyPass> {
        let ProxyLine { target, uri, span } = line;
        let (host, port) = match target {
            // nginx's $proxy_host of a unix-domain upstream.
            ProxyTarget::Unix(path) => {
                let peer = (path.clone(), Addr::Unix(path.as_str().into()));
                let upstream = self.implicit(&format!("unix:{path}"), |_| Some(vec![peer]))?;
                return Some(ProxyPass { upstream, host: "localhost".into(), port: 80, uri });
            }
            ProxyTarget::Host(host, port) => (host, port),
        };
        let groups = &self.builder.upstreams[..self.named];
        if let Some(upstream) = groups.iter().position(|g| g.name.eq_ignore_ascii_case(&host)) {
            if let Some(port) = port {
                let message = format!("upstream \"{host}\" may not have port {port}");
                let help = "the ports are those of the servers in the upstream block";
                self.builder.problems.error(span, message).help(help);
            }
            return Some(ProxyPass { upstream, host, port: 80, uri });
        }
        let number = port.unwrap_or(80);
        let name = if number == 80 { host.clone() } else { format!("{host}:{number}") };
        let upstream = self.implicit(&name, |assembly| assembly.resolve(&host, number, span))?;
        Some(ProxyPass { upstream, host: name, port: number, uri })
    }

    /// The group that `proxy_pass` makes of an address: one for each address, however often it is
    /// used.
    fn implicit(
        &mut self,
        name: &str,
        resolve: impl FnOnce(&mut Self) -> Option<Vec<(String, Addr)>>,
    ) -> Option<UpstreamId> {
        let made = &self.builder.upstreams[self.named..];
        if let Some(index) = made.iter().position(|group| group.name == name) {
            return Some(self.named + index);
        }
        let peers = resolve(self)?
            .into_iter()
            .map(|(name, addr)| Peer { name, addr, weight: 1, backup: false, down: false })
            .collect();
        let balance = Balance::RoundRobin;
        self.builder.upstreams.push(Upstream { name: name.to_owned(), peers, balance });
        Some(self.builder.upstreams.len() - 1)
    }

    fn resolve(&mut self, host: &str, port: u16, span: Span) -> Option<Vec<(String, Addr)>> {
        match self.builder.addresses(host, port) {
            Ok(found) => {
                Some(found.into_iter().map(|addr| (format!("{host}:{port}"), addr)).collect())
            }
            Err(why) => {
                let groups = self.builder.upstreams[..self.named].iter();
                self.builder
                    .problems
                    .error(span, format!("host not found in upstream \"{host}\""))
                    .help(format!("no upstream block has this name, and as a host name: {why}"))
                    .suggest(host, groups.map(|group| group.name.as_str()));
                None
            }
        }
    }

    fn listen(&mut self, server: ServerId, line: ListenLine) {
        let Some(group) = self.listens.iter_mut().find(|group| group.addr == line.addr) else {
            let addr = line.addr.clone();
            self.listens.push(ListenGroup { addr, lines: vec![(server, line)], default: server });
            return;
        };
        if line.options.any() && group.lines.iter().any(|(_, other)| other.options.any()) {
            self.builder
                .problems
                .error(line.span, format!("duplicate listen options for {}", line.addr))
                .help("give backlog, so_keepalive and the like once for an address");
        }
        group.lines.push((server, line));
    }

    /// The first server of an address is its default, unless another one is marked.
    fn choose_defaults(&mut self) {
        for group in &mut self.listens {
            let mut marked = group.lines.iter().filter(|(_, line)| line.default_server);
            if let Some((server, _)) = marked.next() {
                group.default = *server;
            }
            for (_, line) in marked {
                let message = format!("a duplicate default server for {}", group.addr);
                self.builder.problems.error(line.span, message);
            }
        }
    }
}

impl ListenGroup {
    fn into_model(self) -> Listen {
        let given = self.lines.iter().find(|(_, line)| line.options.any());
        let options = given.map(|(_, line)| line.options.clone()).unwrap_or_default();
        let ipv6 = matches!(self.addr, Addr::Inet(core::net::SocketAddr::V6(_)));
        Listen {
            addr: self.addr,
            backlog: options.backlog.unwrap_or(LISTEN_BACKLOG),
            ipv6only: ipv6 && options.ipv6only.unwrap_or(true),
            keepalive: options.keepalive.flatten(),
            servers: self.lines.iter().map(|(server, _)| *server).collect(),
            default: self.default,
        }
    }
}
