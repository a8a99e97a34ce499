//! The words of the trace: one short line for an operation or an event.

use core::fmt::Write;

use crate::conn::{ConnId, Event, Load, Op, Want};
use crate::reason::Errno;
use crate::worker::chunks::Chunks;

/// How much of a load is shown.
const SHOWN_BYTES: usize = 48;

/// A connection as `slot.generation`.
pub(super) fn conn(id: ConnId) -> String {
    if id == ConnId::MAILBOX {
        return "mailbox".to_owned();
    }
    format!("conn {}.{}", id.index(), id.generation())
}

/// What is asked for.
pub(super) fn op(op: &Op, chunks: &Chunks) -> String {
    match op {
        Op::Accept => "accept".to_owned(),
        Op::Connect(to) => format!("connect {}", to.addr),
        Op::Recv(Want::Copy) => "recv".to_owned(),
        Op::Recv(Want::Chain) => "recv a chain".to_owned(),
        Op::Recv(Want::Pipe) => "recv into a pipe".to_owned(),
        Op::Recv(Want::Linked(sink)) => format!("recv on to {}", conn(*sink)),
        Op::Send(load) => format!("send {}", self::load(load, chunks)),
        Op::Shutdown => "shutdown".to_owned(),
        Op::Cancel => "cancel".to_owned(),
        Op::Close { reset: true } => "close with reset".to_owned(),
        Op::Close { reset: false } => "close".to_owned(),
    }
}

/// What an operation was called, without its load.
pub(super) fn kind(op: &Op) -> &'static str {
    match op {
        Op::Accept => "accept",
        Op::Connect(_) => "connect",
        Op::Recv(_) => "recv",
        Op::Send(_) => "send",
        Op::Shutdown => "shutdown",
        Op::Cancel => "cancel",
        Op::Close { .. } => "close",
    }
}

/// What came of it.
pub(super) fn event(event: &Event, chunks: &Chunks) -> String {
    match event {
        Event::Accepted(handle) => format!("accepted, handle {}", handle.number()),
        Event::Connected => "connected".to_owned(),
        Event::Received(load) if load.is_empty() => "end of stream".to_owned(),
        Event::Received(load) => format!("received {}", self::load(load, chunks)),
        Event::Relayed { moved, rest } => format!("relayed {moved} bytes, {} left", rest.len()),
        Event::Sent(load) if load.is_empty() => "sent".to_owned(),
        Event::Sent(load) => format!("sent, {} bytes left", load.len()),
        Event::Shut => "shut".to_owned(),
        Event::Cancelled => "cancelled".to_owned(),
        Event::Closed => "closed".to_owned(),
        Event::Failed { errno, .. } => format!("failed, {}", Errno(*errno)),
        Event::Woken => "woken".to_owned(),
    }
}

fn load(load: &Load, chunks: &Chunks) -> String {
    if let Load::Pipe(pipe) = load {
        return format!("{} bytes in pipe {}", pipe.len(), pipe.number());
    }
    let bytes: Vec<u8> = chunks.pieces(load).flatten().copied().take(SHOWN_BYTES).collect();
    let mut text = format!("{} bytes \"{}", load.len(), bytes.escape_ascii());
    let _ = text.write_str(if bytes.len() < load.len() { "…\"" } else { "\"" });
    text
}
