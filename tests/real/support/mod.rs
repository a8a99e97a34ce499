//! What the tests are written with: engines, peers, a scene of the proxy between two peers, and the
//! program as a process of its own.

#[macro_use]
mod engine;
mod answer;
mod heavy;
mod peer;
mod process;
mod scene;
mod tunnels;

pub(crate) use answer::{Answer, Head};
pub(crate) use engine::Engine;
pub(crate) use heavy::{alone, room_for};
pub(crate) use peer::{Peer, Upstream, eventually, is_gone};
pub(crate) use process::Process;
pub(crate) use scene::{Report, Scene, Setup};
pub(crate) use tunnels::open_tunnels;

/// A WebSocket handshake as browsers send it.
pub(crate) const UPGRADE: &str = "GET /chat HTTP/1.1\r\n\
    Host: example.com\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// The answer to [`UPGRADE`].
pub(crate) const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Bytes that are different everywhere, so that a lost or doubled piece shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Compares long byte strings without printing them.
#[track_caller]
pub(crate) fn same_bytes(found: &[u8], expected: &[u8]) {
    let differ = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(differ, None, "the first byte that differs");
    assert_eq!(found.len(), expected.len(), "the length");
}
