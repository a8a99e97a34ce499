//! A world of simulated sockets: the virtual kernel without faults.

use core::net::SocketAddr;

use upsplice::conn::{Addr, Handle};
use upsplice::engine::sim::{Faults, Heard, PeerId, Sim};

use crate::world::{Family, Peer, PeerListener, PeerRead, World};

/// The simulated kernel; addresses are made up in the order in which they are asked for.
pub(crate) struct Simulated {
    sim: Sim,
    peers: Vec<PeerId>,
    listeners: Vec<Addr>,
    addresses: u16,
}

impl Simulated {
    fn address(&mut self, family: Family) -> Addr {
        self.addresses += 1;
        match family {
            Family::Tcp => Addr::Inet(SocketAddr::from(([127, 0, 0, 1], self.addresses))),
            Family::Unix => Addr::Unix(format!("/simulated/{}", self.addresses).into()),
        }
    }

    fn add(&mut self, peer: PeerId) -> Peer {
        self.peers.push(peer);
        Peer(self.peers.len() - 1)
    }
}

impl World for Simulated {
    type Engine = Sim;

    fn new(connections: usize) -> Self {
        // No shuffling either: with two chunks the script waits for whoever was written to first.
        let sim = Sim::new(connections as u64, Faults::NONE);
        Self { sim, peers: Vec::new(), listeners: Vec::new(), addresses: 0 }
    }

    fn engine(&mut self) -> &mut Sim {
        &mut self.sim
    }

    fn wake(&mut self) {
        self.sim.wake();
    }

    fn listen(&mut self, family: Family) -> (Handle, Addr) {
        let addr = self.address(family);
        (self.sim.listen(addr.clone()), addr)
    }

    fn peer_listen(&mut self, family: Family) -> (PeerListener, Addr) {
        let addr = self.address(family);
        self.sim.serve(addr.clone());
        self.listeners.push(addr.clone());
        (PeerListener(self.listeners.len() - 1), addr)
    }

    fn refusing(&mut self, family: Family) -> Addr {
        let addr = self.address(family);
        self.sim.serve(addr.clone());
        self.sim.stop_serving(addr.clone());
        addr
    }

    fn silent(&mut self) -> Addr {
        let addr = self.address(Family::Tcp);
        self.sim.silence(addr.clone());
        addr
    }

    fn peer_connect(&mut self, to: &Addr) -> Peer {
        let peer = self.sim.client_connect(to).expect("somebody listens");
        self.add(peer)
    }

    fn peer_accept(&mut self, listener: PeerListener) -> Option<Peer> {
        let peer = self.sim.upstream_accept(&self.listeners[listener.0])?;
        Some(self.add(peer))
    }

    fn peer_write(&mut self, peer: Peer, bytes: &[u8]) -> usize {
        self.sim.with_peer(self.peers[peer.0], |peer| peer.write(bytes)).unwrap_or(bytes.len())
    }

    fn peer_read(&mut self, peer: Peer, limit: usize) -> PeerRead {
        match self.sim.with_peer(self.peers[peer.0], |peer| peer.read(limit)) {
            Heard::Bytes(bytes) => PeerRead::Bytes(bytes),
            Heard::Nothing => PeerRead::Nothing,
            Heard::End => PeerRead::End,
            Heard::Failed(_) => PeerRead::Reset,
        }
    }

    fn peer_shutdown(&mut self, peer: Peer) {
        self.sim.with_peer(self.peers[peer.0], |peer| peer.shutdown());
    }

    fn peer_close(&mut self, peer: Peer, reset: bool) {
        self.sim
            .with_peer(self.peers[peer.0], |peer| if reset { peer.reset() } else { peer.close() });
    }
}
