//! What must be true after an act, whatever happened in it.

use std::collections::BTreeMap;

use upsplice::clock::Instant;
use upsplice::conn::Addr;
use upsplice::engine::sim::Ratio;
use upsplice::limits::{RECLAIM_IDLE_MS, WHEEL_TICK_MS};

use crate::plan::{Deal, Ending, Kind, Record};
use crate::rig::{Guest, Rig};

/// `proxy_read_timeout` of the configuration.
const READ_TIMEOUT_MS: u64 = 60_000;

/// An access log line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub client: String,
    pub request: usize,
    pub status: u16,
    pub reason: String,
    /// When it was written, by the wall clock.
    pub unix_ms: u64,
    /// Bytes that a tunnel carried, each way.
    pub bytes_up: Option<usize>,
    pub bytes_down: Option<usize>,
}

impl Line {
    pub(crate) fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split('|').collect();
        let [client, request, status, reason, time, bytes_up, bytes_down, _target] = parts[..]
        else {
            panic!("the log says {text:?}")
        };
        Self {
            client: client.to_owned(),
            request: request.parse().expect("a number of a request"),
            status: status.parse().expect("a status"),
            reason: reason.to_owned(),
            unix_ms: time.replace('.', "").parse().expect("a time"),
            bytes_up: bytes_up.parse().ok(),
            bytes_down: bytes_down.parse().ok(),
        }
    }
}

impl Line {
    /// The status and the reason, without an errno.
    pub(crate) fn kind(&self) -> String {
        let reason = match self.reason.split_once(':') {
            Some((word, _)) if !matches!(word, "timeout") => word,
            _ => &self.reason,
        };
        format!("{} {reason}", self.status)
    }
}

/// Lines by the client's address and the number of the request on its connection.
pub(crate) type Lines = BTreeMap<(String, usize), Vec<Line>>;

/// The rules for an act that was played to its end.
pub(crate) fn act(rig: &Rig, lines: &Lines, name: &str) {
    one_line_each(rig, lines);
    let mut idle_since = Instant::default();
    for (guest, turn, deal, record) in deals(rig) {
        if turn == 0 {
            idle_since = guest.arrives;
        }
        let line = line_of(rig, lines, guest, turn);
        let case = Case { rig, guest, deal: &deal, record: &record, line, idle_since };
        case.judge(name);
        idle_since = line.map_or(idle_since, |line| rig.mono(line.unix_ms));
    }
}

/// The rules for an act that a stop has cut short.
pub(crate) fn stopped(rig: &Rig, lines: &Lines) {
    one_line_each(rig, lines);
}

/// No request has two lines, and each one that reached an upstream has one.
fn one_line_each(rig: &Rig, lines: &Lines) {
    for (key, lines) in lines {
        assert_eq!(lines.len(), 1, "{key:?} is logged so: {lines:?}");
    }
    for (guest, turn, deal, record) in deals(rig) {
        let line = line_of(rig, lines, guest, turn);
        assert!(record.arrivals == 0 || line.is_some(), "{deal:?} is not logged: {record:?}");
    }
}

fn deals(rig: &Rig) -> Vec<(&Guest, usize, Deal, Record)> {
    let ledger = rig.book.borrow();
    let each = rig.guests.iter().flat_map(|guest| {
        let numbered = guest.plan.deals.iter().enumerate();
        numbered.map(move |(turn, &deal)| (guest, turn, deal))
    });
    each.map(|(guest, turn, deal)| {
        (guest, turn, ledger.deals[deal].clone(), ledger.records[deal].clone())
    })
    .collect()
}

fn line_of<'a>(rig: &Rig, lines: &'a Lines, guest: &Guest, turn: usize) -> Option<&'a Line> {
    let address = match rig.sim.address(guest.peer?) {
        Addr::Inet(addr) => addr.to_string(),
        Addr::Unix(_) => "unix:".to_owned(),
    };
    lines.get(&(address, turn + 1)).and_then(|lines| lines.first())
}

/// One deal, and everything known of it.
struct Case<'a> {
    rig: &'a Rig,
    guest: &'a Guest,
    deal: &'a Deal,
    record: &'a Record,
    line: Option<&'a Line>,
    /// When the proxy was done with the client's last request, or when the client came.
    idle_since: Instant,
}

impl Case<'_> {
    fn judge(&self, act: &str) {
        let Some(line) = self.line else {
            // A client that never got as far as a request.
            let excused = self.is_excused() || self.was_let_go() || !self.is_innocent();
            assert!(excused, "{act}: no line for {self:?}");
            return;
        };
        self.judge_reason(line, act);
        self.judge_time(line, act);
        if self.is_innocent() && !self.is_excused() {
            self.demand_everything(line, act);
        }
    }

    /// The reason in the log must have had a cause.
    fn judge_reason(&self, line: &Line, act: &str) {
        let (word, detail) = line.reason.split_once(':').unwrap_or((&line.reason, ""));
        let faults = &self.rig.faults;
        let connect_faults = [
            faults.connect_hangs,
            faults.connect_refused,
            faults.connect_unreachable,
            faults.connect_no_descriptor,
        ];
        let connects_fail = connect_faults.iter().any(|&fault| fault != Ratio::NEVER);
        let allowed = match word {
            "done" => matches!(self.deal.kind, Kind::Exchange { .. } | Kind::ClientResets),
            "client_closed" | "upstream_closed" => {
                matches!(
                    self.deal.kind,
                    Kind::Tunnel { .. } | Kind::SilentClient | Kind::ClientResets | Kind::Garbage
                ) || self.is_excused()
            }
            "client_fault" => self.deal.kind == Kind::Garbage,
            "upstream_fault" => self.deal.kind == Kind::BadAnswer,
            "connect_failed" => connects_fail,
            "timeout" => match detail {
                "proxy_connect_timeout" => connects_fail || self.was_late(),
                "client_header_timeout" => {
                    self.deal.kind == Kind::SilentClient || self.was_late() || self.is_starved()
                }
                _ => self.may_stall() || self.was_late() || self.is_starved(),
            },
            "client_failed" | "client_truncated" | "upstream_failed" | "upstream_truncated" => {
                self.may_reset()
                    || self.was_broken()
                    || self.was_late()
                    || self.is_starved()
                    || self.guest.plan.stuck_after.is_some()
            }
            "worker_full" | "no_upstream" => !self.rig.calm,
            _ => false,
        };
        assert!(allowed, "{act}: {} has no cause in {self:?}", line.reason);
    }

    /// A silent tunnel ends in its time, counted from the last byte that either program saw move.
    ///
    /// Programs see a byte a little before or after the proxy does, so this is rougher than the
    /// tests of each timer; it is here for what happens under faults.
    fn judge_time(&self, line: &Line, act: &str) {
        let silent = matches!(self.deal.kind, Kind::Tunnel { .. })
            && line.status == 101
            && line.reason == "timeout:proxy_read_timeout";
        if !silent || self.record.slow || self.guest.plan.stuck_after.is_some() {
            return;
        }
        let Some(last) = self.record.last_byte else { return };
        let ended = self.rig.mono(line.unix_ms);
        let faults = &self.rig.faults;
        let hop_ms =
            faults.latency_ms_max + faults.completion_delay_ms_max + faults.peer_delay_ms_max;
        let (least, most) = (READ_TIMEOUT_MS, READ_TIMEOUT_MS + READ_TIMEOUT_MS / 10);
        let took = ended.since_ms(last);
        let late_ms = self.rig.sim.tally().late_ms;
        // A small pipe takes many steps, and the last of them may be long after the byte was sent.
        let steps = self.record.up.written.max(self.record.down.written) / faults.pipe_bytes;
        let steps_ms = steps as u64 * faults.completion_delay_ms_max;
        assert!(took + 4 * hop_ms + late_ms >= least, "{act}: after {took} ms already: {self:?}");
        assert!(
            took <= most + WHEEL_TICK_MS + 4 * hop_ms + late_ms + steps_ms,
            "{act}: only after {took} ms: {self:?}"
        );
    }

    /// A deal in which nobody did anything wrong and nothing went wrong is complete.
    fn demand_everything(&self, line: &Line, act: &str) {
        let record = self.record;
        assert!(record.over.is_some(), "{act}: the client still waits in {self:?}");
        match self.deal.kind {
            Kind::Tunnel { up, down, .. } => {
                assert_eq!(record.status, Some(101), "{act}: {self:?}");
                assert_eq!(line.status, 101, "{act}: {self:?}");
                let (to, from) = (record.up, record.down);
                assert!(to.read == up && from.read == down, "{act}: bytes are missing in {self:?}");
                let logged = (line.bytes_up, line.bytes_down);
                assert_eq!(logged, (Some(up), Some(down)), "{act}: {self:?}");
                assert!(to.end_seen && from.end_seen, "{act}: an end is missing in {self:?}");
            }
            Kind::Exchange { method, request_bytes, status, answer_bytes, .. } => {
                assert_eq!(record.status, Some(status), "{act}: {self:?}");
                assert_eq!(line.status, status, "{act}: {self:?}");
                let content = if method == "HEAD" { 0 } else { answer_bytes };
                assert_eq!(record.down.read, content, "{act}: answer of {self:?}");
                assert_eq!(record.up.read, request_bytes, "{act}: request of {self:?}");
                assert!(record.complete, "{act}: {self:?}");
            }
            Kind::Garbage => assert!(record.status.is_some_and(|status| status >= 400), "{self:?}"),
            Kind::SilentUpstream => assert_eq!(record.status, Some(504), "{act}: {self:?}"),
            Kind::BadAnswer => assert_eq!(record.status, Some(502), "{act}: {self:?}"),
            _ => {}
        }
    }

    /// Neither program does anything that keeps the deal from its planned end.
    fn is_innocent(&self) -> bool {
        self.guest.plan.stuck_after.is_none()
            && !self.may_reset()
            && (!self.may_stall() || self.deal.kind == Kind::SilentUpstream)
    }

    fn may_reset(&self) -> bool {
        match self.deal.kind {
            Kind::Tunnel { client, upstream, .. } => {
                matches!(client, Ending::Reset(_)) || matches!(upstream, Ending::Reset(_))
            }
            Kind::Exchange { early, .. } => early,
            Kind::UpstreamResets(_) | Kind::UpstreamTruncates(_) | Kind::ClientResets => true,
            _ => false,
        }
    }

    fn may_stall(&self) -> bool {
        let silent = match self.deal.kind {
            Kind::Tunnel { client, upstream, .. } => [client, upstream].contains(&Ending::Never),
            Kind::SilentClient | Kind::SilentBody | Kind::SilentUpstream => true,
            _ => false,
        };
        silent || self.guest.plan.stuck_after.is_some()
    }

    /// A fault that is nobody's mistake has struck, or may have.
    fn is_excused(&self) -> bool {
        let full = self.line.is_some_and(|line| {
            let reason = line.reason.as_str();
            reason == "worker_full"
                || reason == "no_upstream"
                || reason.starts_with("connect_failed")
                || reason == "timeout:proxy_connect_timeout"
        });
        full || self.was_broken() || self.was_late() || self.is_starved() || self.follows_trouble()
    }

    /// An earlier request of the same client did not end well, so this one may not have been made.
    fn follows_trouble(&self) -> bool {
        self.record.began.is_none()
    }

    /// The worker was full, and the client had owed it a request for so long that it was let go
    /// just when it made one.
    fn was_let_go(&self) -> bool {
        let Some(began) = self.record.began else { return false };
        let idle_ms = began.since_ms(self.idle_since);
        self.rig.was_full() && self.record.arrivals == 0 && idle_ms >= RECLAIM_IDLE_MS
    }

    fn was_broken(&self) -> bool {
        let client = self.guest.peer.is_none_or(|peer| self.rig.sim.was_broken(peer));
        // An upstream connection that broke before its first line is in nobody's record.
        let unrecorded =
            self.record.arrivals == 0 && self.rig.faults.broken_connections != Ratio::NEVER;
        client || unrecorded || self.record.peers.iter().any(|&peer| self.rig.sim.was_broken(peer))
    }

    fn was_late(&self) -> bool {
        self.rig.sim.tally().late_ms > 0 && self.rig.faults.late_wakes != Ratio::NEVER
    }

    /// Others may have kept all memory away for as long as a timer lasts.
    fn is_starved(&self) -> bool {
        let deals = &self.rig.book.borrow().deals;
        let deaf = |deal: &usize| matches!(deals[*deal].kind, Kind::Tunnel { deaf: true, .. });
        self.rig.faults.chunks_out_max < 16
            && self
                .rig
                .guests
                .iter()
                .any(|guest| guest.plan.stuck_after.is_some() || guest.plan.deals.iter().any(deaf))
    }
}

impl core::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} as {:?}, logged as {:?}", self.deal, self.record, self.line)
    }
}
