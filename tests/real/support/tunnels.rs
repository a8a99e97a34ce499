//! Many tunnels at once.

use std::net::SocketAddr;

use super::{Peer, SWITCH, UPGRADE, Upstream};

/// Handshakes that are under way at the same time: fewer than a listening socket's queue holds.
const AT_ONCE: usize = 100;

/// Opens so many tunnels; each pair is the client's and the upstream's end of the same one.
pub(crate) fn open_tunnels(proxy: SocketAddr, place: &Upstream, count: usize) -> Vec<(Peer, Peer)> {
    let mut tunnels = Vec::with_capacity(count);
    while tunnels.len() < count {
        tunnels.extend(open_batch(proxy, place, AT_ONCE.min(count - tunnels.len())));
    }
    tunnels
}

fn open_batch(proxy: SocketAddr, place: &Upstream, count: usize) -> Vec<(Peer, Peer)> {
    let connect = |number| {
        let mut client = Peer::connect(proxy);
        client.send(UPGRADE.replace("/chat", &format!("/{number}")));
        client
    };
    let clients: Vec<Peer> = (0..count).map(connect).collect();
    // Upstream connections come in an order of their own; the path says whose each is.
    let mut upstreams: Vec<Option<Peer>> = (0..count).map(|_| None).collect();
    for _ in 0..count {
        let mut upstream = place.accept();
        let head = upstream.head();
        let number = head.line().split(['/', ' ']).nth(2).and_then(|path| path.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("{}", head.text()));
        upstream.send(SWITCH);
        upstreams[number] = Some(upstream);
    }
    let pair = |(mut client, upstream): (Peer, Option<Peer>)| {
        assert_eq!(client.head().status(), 101);
        (client, upstream.expect("each path came once"))
    };
    clients.into_iter().zip(upstreams).map(pair).collect()
}
