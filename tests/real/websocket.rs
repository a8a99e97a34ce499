//! Real WebSocket ends: tungstenite as the client and as the server.

use std::net::TcpStream;

use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::support::{Engine, Scene, pattern, same_bytes};

on_both_engines! {
    a_message_of_any_size_comes_back,
    a_message_of_16_megabytes_comes_back,
    a_fragmented_message_comes_back_fragmented,
    a_ping_is_answered_by_the_far_end,
    a_close_code_of_the_client_reaches_the_upstream,
    a_close_code_of_the_upstream_reaches_the_client,
    many_messages_keep_their_order,
}

/// Both ends of a WebSocket, the server's played by a thread of its own.
fn between(
    engine: Engine,
    client: impl FnOnce(&mut WebSocket<TcpStream>),
    server: impl FnOnce(&mut WebSocket<TcpStream>) + Send,
) {
    let scene = Scene::on(engine).start();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stream = scene.upstream.accept().into_stream();
            server(&mut tungstenite::accept_with_config(stream, Some(large())).unwrap());
        });
        let stream = scene.client().into_stream();
        let url = format!("ws://{}/chat", scene.address());
        let handshake = tungstenite::client::client_with_config(url, stream, Some(large()));
        let (mut socket, answer) = handshake.unwrap();
        assert_eq!(answer.status(), 101);
        client(&mut socket);
    });
    assert_eq!(scene.end().access.len(), 1, "one line for one tunnel");
}

fn large() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(None).max_message_size(None)
}

/// Sends every message back until the client closes.
fn echo(socket: &mut WebSocket<TcpStream>) {
    loop {
        match socket.read() {
            Ok(message) if message.is_text() || message.is_binary() => {
                socket.send(message).unwrap();
            }
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("the server's end: {error}"),
        }
    }
}

/// Closes, and reads until the server has closed as well.
fn say_goodbye(socket: &mut WebSocket<TcpStream>) {
    socket.close(None).unwrap();
    loop {
        match socket.read() {
            Ok(message) => assert!(message.is_close(), "{message:?}"),
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("the client's end: {error}"),
        }
    }
}

#[track_caller]
fn check_echo(socket: &mut WebSocket<TcpStream>, message: Message) {
    socket.send(message.clone()).unwrap();
    let back = socket.read().unwrap();
    assert_eq!(back.is_text(), message.is_text());
    same_bytes(&back.into_data(), &message.into_data());
}

fn a_message_of_any_size_comes_back(engine: Engine) {
    let client = |socket: &mut WebSocket<TcpStream>| {
        for size in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            check_echo(socket, Message::binary(pattern(size)));
            check_echo(socket, Message::text("é".repeat(size / 2)));
        }
        say_goodbye(socket);
    };
    between(engine, client, echo);
}

fn a_message_of_16_megabytes_comes_back(engine: Engine) {
    let client = |socket: &mut WebSocket<TcpStream>| {
        check_echo(socket, Message::binary(pattern(16 << 20)));
        say_goodbye(socket);
    };
    between(engine, client, echo);
}

fn a_fragmented_message_comes_back_fragmented(engine: Engine) {
    let fragments = |socket: &mut WebSocket<TcpStream>| {
        let parts = [("to", Data::Text), ("", Data::Continue), ("gether", Data::Continue)];
        for (number, (text, kind)) in parts.into_iter().enumerate() {
            let last = number + 1 == parts.len();
            let frame = Frame::message(text, OpCode::Data(kind), last);
            socket.send(Message::Frame(frame)).unwrap();
        }
    };
    let together = |socket: &mut WebSocket<TcpStream>| {
        assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "together");
    };
    let client = move |socket: &mut WebSocket<TcpStream>| {
        fragments(socket);
        together(socket);
        say_goodbye(socket);
    };
    let server = move |socket: &mut WebSocket<TcpStream>| {
        together(socket);
        fragments(socket);
        echo(socket);
    };
    between(engine, client, server);
}

fn a_ping_is_answered_by_the_far_end(engine: Engine) {
    let ping = |socket: &mut WebSocket<TcpStream>| {
        socket.send(Message::Ping("are you there".into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));
    };
    let pong = |socket: &mut WebSocket<TcpStream>| {
        assert_eq!(socket.read().unwrap(), Message::Ping("are you there".into()));
        socket.flush().unwrap();
    };
    let client = move |socket: &mut WebSocket<TcpStream>| {
        ping(socket);
        pong(socket);
        say_goodbye(socket);
    };
    let server = move |socket: &mut WebSocket<TcpStream>| {
        pong(socket);
        ping(socket);
        echo(socket);
    };
    between(engine, client, server);
}

/// One end closes with a code, the other sees that code and confirms it.
fn close(socket: &mut WebSocket<TcpStream>, code: CloseCode) {
    let frame = CloseFrame { code, reason: "that is all".into() };
    socket.close(Some(frame.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
}

fn closed(socket: &mut WebSocket<TcpStream>, code: CloseCode) {
    let frame = CloseFrame { code, reason: "that is all".into() };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)), "the handshake is complete");
}

fn a_close_code_of_the_client_reaches_the_upstream(engine: Engine) {
    for code in [CloseCode::Normal, CloseCode::Away, CloseCode::Size, CloseCode::Library(4999)] {
        between(engine, |socket| close(socket, code), |socket| closed(socket, code));
    }
}

fn a_close_code_of_the_upstream_reaches_the_client(engine: Engine) {
    for code in [CloseCode::Normal, CloseCode::Restart, CloseCode::Policy, CloseCode::Error] {
        let client = |socket: &mut WebSocket<TcpStream>| {
            let frame = CloseFrame { code, reason: "that is all".into() };
            assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
            // The client's confirmation is written by its next read; the server ends the stream.
            assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
        };
        let server = |socket: &mut WebSocket<TcpStream>| {
            close(socket, code);
            assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
        };
        between(engine, client, server);
    }
}

fn many_messages_keep_their_order(engine: Engine) {
    const COUNT: usize = 2_000;
    let client = |socket: &mut WebSocket<TcpStream>| {
        for number in 0..COUNT {
            socket.write(Message::text(number.to_string())).unwrap();
        }
        socket.flush().unwrap();
        for number in 0..COUNT {
            assert_eq!(socket.read().unwrap(), Message::text(number.to_string()));
        }
        say_goodbye(socket);
    };
    between(engine, client, echo);
}
