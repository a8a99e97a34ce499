//! The upstream of the embedded default: a page for `GET /`, an echo for WebSockets.
//!
//! Small and blocking, one thread per connection up to a bound: it exists so that the program has
//! something to splice to on a machine with nothing else on it. It is no part of the proxy.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};

use crate::limits::{DEMO_HEAD_BYTES_MAX, DEMO_HEAD_TIMEOUT_MS, DEMO_THREADS_MAX, HEAD_FIELDS_MAX};

const PAGE: &str = include_str!("demo.html");

/// A thread needs a head buffer and a message, no deep calls.
const STACK_BYTES: usize = 256 * 1024;

/// Starts the server on a free loopback port; it runs until the process ends.
///
/// # Errors
/// If the system refuses the socket or the thread.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    std::thread::Builder::new().name("echo".to_owned()).spawn(move || accept(&listener))?;
    Ok(addr)
}

fn accept(listener: &TcpListener) {
    // Each connection holds a clone; one more is held here.
    let places = Arc::new(());
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors, most likely: let some close.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let place = Arc::clone(&places);
        if Arc::strong_count(&places) > DEMO_THREADS_MAX + 1 {
            let _ = answer(&stream, "503 Service Unavailable", "all places are taken\n", false);
            continue;
        }
        let name = "echo connection".to_owned();
        let builder = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
        // A connection that fails concerns nobody but its peer, which sees it end.
        let _ = builder.spawn(move || {
            let _ = serve(stream);
            drop(place);
        });
    }
}

/// What a request head asks for.
#[derive(Debug, Eq, PartialEq)]
enum Wish {
    /// An upgrade, with the client's key.
    Echo(String),
    Page {
        head_only: bool,
    },
    Nothing,
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(DEMO_HEAD_TIMEOUT_MS)))?;
    let mut bytes = Vec::new();
    let (wish, head_len) = loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&buffer[..count]);
        match parse(&bytes) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if bytes.len() <= DEMO_HEAD_BYTES_MAX => {}
            _ => return answer(&stream, "400 Bad Request", "not a request\n", false),
        }
    };
    match wish {
        Wish::Echo(key) => {
            stream.set_read_timeout(None)?;
            echo(stream, &key, bytes.split_off(head_len))
        }
        Wish::Page { head_only } => answer(&stream, "200 OK", PAGE, head_only),
        Wish::Nothing => answer(&stream, "404 Not Found", "there is only /\n", false),
    }
}

/// Reads a head; `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Wish, usize)>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(len) = request.parse(bytes)? else { return Ok(None) };
    let value = |name: &str| {
        let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map_or("", |field| str::from_utf8(field.value).unwrap_or(""))
    };
    let key = value("Sec-WebSocket-Key");
    let path = request.path.map(|path| path.split_once('?').map_or(path, |(path, _query)| path));
    let wish = match (request.method, path) {
        (Some("GET"), _)
            if value("Upgrade").eq_ignore_ascii_case("websocket") && !key.is_empty() =>
        {
            Wish::Echo(key.to_owned())
        }
        (Some("GET"), Some("/")) => Wish::Page { head_only: false },
        (Some("HEAD"), Some("/")) => Wish::Page { head_only: true },
        _ => Wish::Nothing,
    };
    Ok(Some((wish, len)))
}

fn answer(mut stream: &TcpStream, status: &str, body: &str, head_only: bool) -> io::Result<()> {
    let kind = if status.starts_with("200") { "text/html" } else { "text/plain" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if head_only { "" } else { body };
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

/// Switches protocols and sends every message back until the peer closes.
fn echo(mut stream: TcpStream, key: &str, early: Vec<u8>) -> io::Result<()> {
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut socket = WebSocket::from_partially_read(stream, early, Role::Server, None);
    // Pings are answered and a closing handshake is finished by `read` itself.
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_and_an_echo() {
        let addr = start().unwrap();
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with(PAGE));

        let stream = TcpStream::connect(addr).unwrap();
        let (mut socket, _) = tungstenite::client(format!("ws://{addr}/echo"), stream).unwrap();
        for message in ["one", "", "ünï"] {
            socket.send(message.into()).unwrap();
            assert_eq!(socket.read().unwrap(), message.into());
        }
        socket.close(None).unwrap();
        assert!(socket.read().unwrap().is_close());
    }

    #[test]
    fn heads_are_told_apart() {
        let parsed = |head: &str| parse(head.as_bytes()).map(|done| done.map(|(wish, _)| wish));
        assert_eq!(parsed("GET / HTTP/1.1\r\nHost"), Ok(None));
        assert_eq!(parsed("HEAD / HTTP/1.1\r\n\r\n"), Ok(Some(Wish::Page { head_only: true })));
        assert_eq!(parsed("GET /?a HTTP/1.1\r\n\r\n"), Ok(Some(Wish::Page { head_only: false })));
        assert_eq!(parsed("POST / HTTP/1.1\r\n\r\n"), Ok(Some(Wish::Nothing)));
        let upgrade = "GET /x HTTP/1.1\r\nupgrade: WebSocket\r\nsec-websocket-key: k\r\n\r\n";
        assert_eq!(parsed(upgrade), Ok(Some(Wish::Echo("k".to_owned()))));
        assert!(parsed("\u{1}\r\n\r\n").is_err());
    }
}
