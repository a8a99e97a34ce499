//! The choice of a peer: smooth weighted round robin and `ip_hash`, in nginx's sequence.
//!
//! State belongs to one worker, as in nginx without a `zone`. A choice allocates nothing. Backup
//! peers are used only when no other can be. Deliberately absent: health. A peer that could not be
//! reached is skipped for the request that found out, by its [`Tried`] set, and for no other.

use crate::config::model::{Balance, Peer, Upstream};
use crate::conn::Addr;
use crate::limits::IP_HASH_TRIES_MAX;

/// The peers that a request has been given already.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tried {
    /// A bit for each of the first 64 peers.
    low: u64,
    /// The bits of further peers; empty for nearly every group.
    high: Vec<u64>,
}

impl Tried {
    fn has(&self, index: usize) -> bool {
        let word = match index / 64 {
            0 => Some(&self.low),
            further => self.high.get(further - 1),
        };
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn add(&mut self, index: usize) {
        let word = match index / 64 {
            0 => &mut self.low,
            further => {
                self.high.resize(self.high.len().max(further), 0);
                &mut self.high[further - 1]
            }
        };
        *word |= 1 << (index % 64);
    }
}

/// A group's state.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// nginx's `current_weight` of each peer.
    current: Vec<i64>,
}

impl Balancer {
    /// The state of a group from which nothing has been chosen.
    #[must_use]
    pub fn new(group: &Upstream) -> Self {
        Self { current: vec![0; group.peers.len()] }
    }

    /// Chooses a peer for a client, among those that the request has not tried, and notes it as
    /// tried; `None` if there is none.
    ///
    /// `group` must be the one the balancer was made for.
    pub fn choose(&mut self, group: &Upstream, client: &Addr, tried: &mut Tried) -> Option<usize> {
        let hashed = match group.balance {
            Balance::RoundRobin => None,
            Balance::IpHash => by_address(&group.peers, client, tried),
        };
        let index = hashed
            .or_else(|| self.round_robin(&group.peers, tried, false))
            .or_else(|| self.round_robin(&group.peers, tried, true))?;
        tried.add(index);
        Some(index)
    }

    /// Each candidate gains its weight, the heaviest is chosen and pays the total: the sequence is
    /// as even as the weights allow.
    fn round_robin(&mut self, peers: &[Peer], tried: &Tried, backup: bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (index, peer) in peers.iter().enumerate() {
            if peer.backup != backup || peer.down || tried.has(index) {
                continue;
            }
            let weight = i64::from(peer.weight);
            total += weight;
            self.current[index] += weight;
            if best.is_none_or(|best| self.current[index] > self.current[best]) {
                best = Some(index);
            }
        }
        self.current[best?] -= total;
        best
    }
}

/// nginx's `ip_hash`: the first three bytes of an IPv4 address, or all of an IPv6 address. After a
/// bounded number of unlucky draws the turn goes to round robin.
fn by_address(peers: &[Peer], client: &Addr, tried: &Tried) -> Option<usize> {
    let (bytes, len) = match client {
        Addr::Inet(addr) => match addr.ip() {
            core::net::IpAddr::V4(v4) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&v4.octets());
                (bytes, 3)
            }
            core::net::IpAddr::V6(v6) => (v6.octets(), 16),
        },
        // All clients of a unix socket are one.
        Addr::Unix(_) => ([0; 16], 3),
    };
    let candidates = || peers.iter().enumerate().filter(|(_, peer)| !peer.backup);
    let total: u64 = candidates().map(|(_, peer)| u64::from(peer.weight)).sum();
    if total == 0 {
        return None;
    }
    let mut hash: u64 = 89;
    for _ in 0..IP_HASH_TRIES_MAX {
        for byte in &bytes[..len] {
            hash = (hash * 113 + u64::from(*byte)) % 6271;
        }
        let mut left = hash % total;
        let chosen = candidates().find(|(_, peer)| {
            let weight = u64::from(peer.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        if let Some((index, peer)) = chosen
            && !peer.down
            && !tried.has(index)
        {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(balance: Balance, peers: &[(u32, &str)]) -> Upstream {
        let peer = |(index, (weight, kind)): (usize, &(u32, &str))| Peer {
            name: format!("peer{index}"),
            addr: Addr::Unix(format!("/{index}").into()),
            weight: *weight,
            backup: *kind == "backup",
            down: *kind == "down",
        };
        let peers = peers.iter().enumerate().map(peer).collect();
        Upstream { name: "group".into(), peers, balance }
    }

    fn client(text: &str) -> Addr {
        Addr::Inet(core::net::SocketAddr::new(text.parse().unwrap(), 1))
    }

    fn sequence(group: &Upstream, count: usize) -> String {
        let mut balancer = Balancer::new(group);
        (0..count)
            .map(|_| {
                let chosen = balancer.choose(group, &client("::1"), &mut Tried::default());
                chosen.map_or('-', |index| char::from(b'a' + u8::try_from(index).unwrap()))
            })
            .collect()
    }

    #[test]
    fn round_robin_is_smooth() {
        let rr = |peers: &[(u32, &str)], count| sequence(&group(Balance::RoundRobin, peers), count);
        assert_eq!(rr(&[(1, ""), (1, ""), (1, "")], 7), "abcabca");
        assert_eq!(rr(&[(5, ""), (1, ""), (1, "")], 14), "aabacaaaabacaa");
        assert_eq!(rr(&[(1, "down"), (1, ""), (1, "backup")], 3), "bbb");
        assert_eq!(rr(&[(1, "down"), (1, "backup"), (3, "backup")], 4), "cbcc");
        assert_eq!(rr(&[(1, "down")], 2), "--");
    }

    #[test]
    fn a_request_gets_each_peer_once_and_the_backup_last() {
        let group = group(Balance::RoundRobin, &[(1, ""), (1, "backup"), (1, "")]);
        let mut balancer = Balancer::new(&group);
        let mut tried = Tried::default();
        let mut next = || balancer.choose(&group, &client("127.0.0.1"), &mut tried);
        assert_eq!([next(), next(), next(), next()], [Some(0), Some(2), Some(1), None]);
    }

    #[test]
    fn ip_hash_keeps_a_network_with_its_peer() {
        let group = group(Balance::IpHash, &[(1, ""), (1, ""), (1, "")]);
        let mut balancer = Balancer::new(&group);
        let mut choose = |text: &str| balancer.choose(&group, &client(text), &mut Tried::default());
        let first = choose("192.0.2.1");
        assert!((2..200).all(|last| choose(&format!("192.0.2.{last}")) == first));
        let mut seen = [0; 3];
        for third in 0..=255 {
            seen[choose(&format!("10.1.{third}.9")).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }

    #[test]
    fn many_peers_are_remembered_as_tried() {
        let mut tried = Tried::default();
        for index in [0, 63, 64, 200] {
            assert!(!tried.has(index));
            tried.add(index);
            assert!(tried.has(index) && !tried.has(index + 1));
        }
    }

    /// nginx's computation for one client, in its plainest form.
    fn reference(bytes: &[u8], weights: &[u64]) -> usize {
        let hash = bytes.iter().fold(89, |hash, &byte| (hash * 113 + u64::from(byte)) % 6271);
        let mut left = hash % weights.iter().sum::<u64>();
        let beyond = |weight: &&u64| {
            let beyond = left >= **weight;
            left = left.saturating_sub(**weight);
            beyond
        };
        weights.iter().take_while(beyond).count()
    }

    #[test]
    fn ip_hash_gives_the_peer_that_nginx_gives() {
        let group = group(Balance::IpHash, &[(1, ""), (3, ""), (2, "")]);
        let mut balancer = Balancer::new(&group);
        let mut choose = |text: &str| balancer.choose(&group, &client(text), &mut Tried::default());
        for third in 0..=255 {
            let expect = reference(&[10, 7, third], &[1, 3, 2]);
            assert_eq!(choose(&format!("10.7.{third}.9")), Some(expect));
        }
        let six = "2001:db8::7".parse::<core::net::Ipv6Addr>().unwrap();
        assert_eq!(choose("2001:db8::7"), Some(reference(&six.octets(), &[1, 3, 2])));
    }
}
