//! The embedded default: what happens without arguments.
//!
//! An ordinary configuration, read by the ordinary loader; only its text and its upstream are part
//! of the program.

use core::net::SocketAddr;
use std::io::Write;

use super::report::{self, Serving};

/// Where it listens if nobody says otherwise.
pub(super) const ADDRESS: &str = "127.0.0.1:8080";

/// The name under which diagnostics know the text.
pub(super) const NAME: &str = "(embedded example)";

/// The main level, unless `-g` says something else (`-g 'events { use epoll; }'`).
pub(super) const MAIN: &str = "worker_processes auto;";

/// The configuration: nginx's usual recipe for WebSockets.
pub(super) fn config(listen: &str, upstream: SocketAddr) -> String {
    format!(
        r#"error_log stderr warn;
http {{
    log_format example '$remote_addr "$request" $status $request_time s '
                       'up $request_length down $bytes_sent $upsplice_reason';
    access_log /dev/stdout example;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
        }}
    }}
}}
"#
    )
}

/// Prints what is being served.
pub(super) fn greet(serving: &Serving<'_>, upstream: SocketAddr) {
    let address = serving.addresses.first().map_or_else(String::new, ToString::to_string);
    let text = format!(
        "upsplice {version}: no configuration given, running the embedded example\n\
         \x20 open      http://{address}/  (the page opens a WebSocket and shows its echo)\n\
         \x20 upstream  {upstream}, an echo server inside this process\n\
         \x20 engine    {engine}\n\
         \x20 workers   {workers}\n\
         \x20 stop      Ctrl-C, or `kill {pid}`\n\
         \x20 your own  upsplice -c /etc/nginx/nginx.conf  (check it first with -t)\n\
         each line below is a finished request or tunnel\n",
        version = env!("CARGO_PKG_VERSION"),
        engine = report::engine(serving.engine),
        workers = report::workers(serving),
        pid = std::process::id(),
    );
    // Somebody who does not read it cannot be told.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What to add to an error of the start.
pub(super) const HINT: &str = "\
hint: the embedded example can listen elsewhere: upsplice --demo 127.0.0.1:8081
      an own configuration: upsplice -c nginx.conf";
