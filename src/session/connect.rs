//! Choosing a server of the group and reaching it; the next one if that fails.
//!
//! Nothing of a request has left before a connection stands, so trying another server is safe for
//! every method. Each server is tried at most once per request.

use crate::config::model::Level;
use crate::conn::{ConnectTo, Op};
use crate::http::answer::CONTINUE;
use crate::http::rewrite;
use crate::reason::{Party, Reason, Timer};

use super::Next;
use super::deadlines::Deadlines;
use super::exchange::{Http, Stage};
use super::io::Io;

impl Http {
    /// Connects to the next server that may be tried; without one the request fails with `or_else`.
    pub(super) fn connect_next(
        &mut self,
        or_else: Reason,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &mut self.exchange else { return Next::Stay };
        let config = exchange.config.clone();
        let location = &config.locations[exchange.location];
        let Some(proxy) = &location.proxy else {
            return self.fail(Reason::NotFound, deadlines, io);
        };
        let group = &config.upstreams[proxy.upstream];
        let client = &self.facts.ends.peer;
        let balancer = &mut io.balancers[proxy.upstream];
        let Some(index) = balancer.choose(group, client, &mut exchange.tried) else {
            return self.fail(or_else, deadlines, io);
        };
        let Some(conn) = io.open_upstream(self.id) else {
            return self.fail(Reason::Full, deadlines, io);
        };
        let peer = &group.peers[index];
        exchange.stage = Stage::Connecting;
        self.upstream = Some(conn);
        self.facts.try_started(peer.addr.clone(), io.mono());
        let to = ConnectTo {
            addr: peer.addr.clone(),
            keepalive: location.settings.proxy_socket_keepalive,
            nodelay: location.settings.tcp_nodelay,
        };
        io.push(conn, Op::Connect(Box::new(to)));
        // A client that goes away meanwhile is noticed; what it sends is kept for after the answer.
        if exchange.upload.is_complete() && self.ahead.is_empty() {
            io.recv(self.client);
        }
        let timeout_ms = location.settings.proxy_connect_timeout_ms;
        deadlines.set(Timer::ProxyConnect, io.after_ms(timeout_ms));
        Next::Stay
    }

    /// The server could not be reached: logs it and goes on to the next one.
    pub(super) fn connect_failed(
        &mut self,
        reason: Reason,
        deadlines: &mut Deadlines,
        io: &mut Io<'_>,
    ) -> Next {
        let Some(exchange) = &self.exchange else { return Next::Stay };
        let Stage::Connecting = exchange.stage else { return Next::Stay };
        deadlines.clear(Timer::ProxyConnect);
        self.log_connect_failure(reason, io);
        self.facts.try_ended(reason.status(), io.mono());
        self.drop_upstream(io);
        self.connect_next(reason, deadlines, io)
    }

    fn log_connect_failure(&self, reason: Reason, io: &mut Io<'_>) {
        let Some(exchange) = self.exchange.as_ref().filter(|_| io.logs.enabled(Level::Error))
        else {
            return;
        };
        let who = Self::describe(&self.facts, exchange);
        io.logs.error(io.now, Level::Error, format_args!("{}, {who}", reason.explained()));
    }

    /// The connection stands: the request leaves, and the answer is waited for.
    pub(super) fn connected(&mut self, deadlines: &mut Deadlines, io: &mut Io<'_>) -> Next {
        let (Some(exchange), Some(upstream)) = (&mut self.exchange, self.upstream) else {
            return Next::Stay;
        };
        deadlines.clear(Timer::ProxyConnect);
        exchange.stage = Stage::Proxying;
        self.facts.try_connected(io.mono());
        let Some(request) = &exchange.request else { return Next::Stay };
        let body = exchange.upload.body;
        let wants_continue = rewrite::expects_continue(request, body) && self.ahead.is_empty();
        let Some(proxy) = &exchange.config.locations[exchange.location].proxy else {
            return Next::Stay;
        };
        let cx = Self::context(&self.facts, exchange, io);
        let head = rewrite::request_head(&cx, request, proxy, body, exchange.protocol.as_ref());
        let send_ms = exchange.settings().proxy_send_timeout_ms;
        // Bytes behind an upgrade request are the tunnel's: they wait for the 101.
        let before = self.ahead.len();
        let load = match head.and_then(|head| exchange.upload.begin(head, &mut self.ahead)) {
            Ok(load) => load,
            Err(fault) => {
                exchange.upload.broke();
                return self.fail(Reason::Fault(Party::Client, fault), deadlines, io);
            }
        };
        self.facts.tally.request_bytes += (before - self.ahead.len()) as u64;
        deadlines.set(Timer::ProxySend, io.after_ms(send_ms));
        io.send(upstream, load);
        io.recv(upstream);
        if wants_continue {
            self.send_client(CONTINUE.to_vec(), CONTINUE.len(), deadlines, io);
        }
        Next::Stay
    }
}
