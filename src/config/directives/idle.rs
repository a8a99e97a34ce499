//! The directives that are accepted and have nothing to do here; each says why.
//!
//! Their arguments are checked all the same, so that a typing mistake is not carried on.

use crate::config::build::header;

use super::Shape::{Any, Block, Flag, Number, Size, Time, Word};
use super::{ANYWHERE, Action, EVENTS, HS, HSL, HTTP, MAIN, Row, UPSTREAM};

const MANY: usize = usize::MAX;

const fn idle(
    name: &'static str,
    contexts: super::Contexts,
    arity: (usize, usize),
    syntax: &'static str,
    shape: super::Shape,
    doc: &'static str,
) -> Row {
    Row::new(name, contexts, arity, syntax, Action::Idle(shape), doc)
}

const HASH: &str = "No effect: the tables of this program size themselves.";
const STREAMED: &str = "No effect: bodies are passed on as they arrive, in pooled buffers; a slow \
                        reader is not read ahead of.";
const NO_FILES: &str = "No effect: nothing is served from files.";
const NO_TEMPORARY: &str = "No effect: nothing is ever written to a temporary file.";
const GZIP: &str = "Goes with `gzip`; no effect.";
const LINGER: &str = "No effect on the values: after a last answer that the client may still be \
                      writing against, the connection is read for up to 5 s of silence and 30 s in \
                      all, as nginx does by default.";

pub(super) const ROWS: &[Row] = &[
    idle(
        "include",
        ANYWHERE,
        (1, 1),
        "FILE | PATTERN",
        Any,
        "Puts the directives of a file, or of all files that match a shell pattern, in this place. \
         Relative names start at the folder of the main file. A `mime.types` that does not exist \
         is a warning, because nothing here depends on it.",
    )
    .repeats(),
    idle(
        "master_process",
        MAIN,
        (1, 1),
        "on | off",
        Flag,
        "No effect: there is one process, and its workers are threads.",
    ),
    idle(
        "pcre_jit",
        MAIN,
        (1, 1),
        "on | off",
        Flag,
        "No effect: regular expressions are compiled to automata that never backtrack.",
    ),
    idle(
        "timer_resolution",
        MAIN,
        (1, 1),
        "TIME",
        Time,
        "No effect: a timer is at most 10 ms \
        late.",
    ),
    idle("lock_file", MAIN, (1, 1), "FILE", Any, "No effect: workers share no lock."),
    idle(
        "worker_aio_requests",
        EVENTS,
        (1, 1),
        "NUMBER",
        Number,
        "No effect: no file is read while requests are served.",
    ),
    idle(
        "multi_accept",
        EVENTS,
        (1, 1),
        "on | off",
        Flag,
        "No effect: a worker always takes all the connections that wait, up to the bound of one \
         turn.",
    ),
    idle(
        "accept_mutex",
        EVENTS,
        (1, 1),
        "on | off",
        Flag,
        "No effect: every worker has listening sockets of its own, so there is nothing to take \
         turns at.",
    ),
    idle("accept_mutex_delay", EVENTS, (1, 1), "TIME", Time, "As `accept_mutex`."),
    idle(
        "sendfile",
        HSL,
        (1, 1),
        "on | off",
        Flag,
        "No effect: it concerns files, and none are served.",
    ),
    idle("sendfile_max_chunk", HSL, (1, 1), "SIZE", Size, "As `sendfile`."),
    idle(
        "tcp_nopush",
        HSL,
        (1, 1),
        "on | off",
        Flag,
        "No effect: it gathers a head and a file into full packets, and no files are served.",
    ),
    idle("aio", HSL, (1, 1), "on | off | threads", Any, NO_FILES),
    idle("aio_write", HSL, (1, 1), "on | off", Flag, NO_FILES),
    idle("directio", HSL, (1, 1), "SIZE | off", Any, NO_FILES),
    idle("directio_alignment", HSL, (1, 1), "SIZE", Size, NO_FILES),
    idle("output_buffers", HSL, (2, 2), "NUMBER SIZE", Any, NO_FILES),
    idle("read_ahead", HSL, (1, 1), "SIZE", Size, NO_FILES),
    idle("open_file_cache", HSL, (1, 2), "off | max=N [inactive=TIME]", Any, NO_FILES),
    idle("open_file_cache_errors", HSL, (1, 1), "on | off", Flag, NO_FILES),
    idle("open_file_cache_min_uses", HSL, (1, 1), "NUMBER", Number, NO_FILES),
    idle("open_file_cache_valid", HSL, (1, 1), "TIME", Time, NO_FILES),
    idle("log_not_found", HSL, (1, 1), "on | off", Flag, NO_FILES),
    idle("log_subrequest", HSL, (1, 1), "on | off", Flag, "No effect: there are no subrequests."),
    idle("types", HSL, (0, 0), "", Block, "No effect: an upstream's answer carries its own type."),
    idle(
        "default_type",
        HSL,
        (1, 1),
        "TYPE",
        Any,
        "No effect: an upstream's answer carries its own type, or none.",
    ),
    idle("types_hash_bucket_size", HSL, (1, 1), "SIZE", Size, HASH),
    idle("types_hash_max_size", HSL, (1, 1), "NUMBER", Size, HASH),
    idle("server_names_hash_bucket_size", HTTP, (1, 1), "SIZE", Size, HASH),
    idle("server_names_hash_max_size", HTTP, (1, 1), "NUMBER", Size, HASH),
    idle("variables_hash_bucket_size", HTTP, (1, 1), "SIZE", Size, HASH),
    idle("variables_hash_max_size", HTTP, (1, 1), "NUMBER", Size, HASH),
    idle("map_hash_bucket_size", HTTP, (1, 1), "SIZE", Size, HASH),
    idle("map_hash_max_size", HTTP, (1, 1), "NUMBER", Size, HASH),
    idle("proxy_headers_hash_bucket_size", HSL, (1, 1), "SIZE", Size, HASH),
    idle("proxy_headers_hash_max_size", HSL, (1, 1), "NUMBER", Size, HASH),
    idle(
        "connection_pool_size",
        HS,
        (1, 1),
        "SIZE",
        Size,
        "No effect: a connection has no pool of its own.",
    ),
    idle(
        "request_pool_size",
        HS,
        (1, 1),
        "SIZE",
        Size,
        "No effect: a request has no pool of its \
        own.",
    ),
    idle("postpone_output", HSL, (1, 1), "SIZE", Size, "No effect: bytes leave as they arrive."),
    idle("send_lowat", HSL, (1, 1), "SIZE", Size, "No effect, as in nginx on Linux."),
    idle(
        "lingering_close",
        HSL,
        (1, 1),
        "on | off | \
        always",
        Word(&["on", "off", "always"]),
        LINGER,
    ),
    idle("lingering_time", HSL, (1, 1), "TIME", Time, LINGER),
    idle("lingering_timeout", HSL, (1, 1), "TIME", Time, LINGER),
    idle(
        "reset_timedout_connection",
        HSL,
        (1, 1),
        "on | off",
        Flag,
        "No effect: a connection that timed out is closed as any other.",
    ),
    idle(
        "keepalive_disable",
        HSL,
        (1, MANY),
        "none | BROWSER…",
        Any,
        "No effect: it works around browsers of the years before 2010.",
    ),
    idle("msie_padding", HSL, (1, 1), "on | off", Flag, "As `keepalive_disable`."),
    idle("msie_refresh", HSL, (1, 1), "on | off", Flag, "As `keepalive_disable`."),
    idle(
        "absolute_redirect",
        HSL,
        (1, 1),
        "on | off",
        Flag,
        "No effect: the one redirect of the program's own, to a location's slash, is relative: it \
         names neither host nor port.",
    ),
    idle("port_in_redirect", HSL, (1, 1), "on | off", Flag, "As `absolute_redirect`."),
    idle("server_name_in_redirect", HSL, (1, 1), "on | off", Flag, "As `absolute_redirect`."),
    idle("etag", HSL, (1, 1), "on | off", Flag, NO_FILES),
    idle("if_modified_since", HSL, (1, 1), "off | exact | before", Any, NO_FILES),
    idle("max_ranges", HSL, (1, 1), "NUMBER", Number, NO_FILES),
    idle(
        "resolver",
        HSL,
        (1, MANY),
        "ADDRESS… [valid=TIME] [ipv4=on|off] [ipv6=on|off] [status_zone=ZONE]",
        Any,
        "No effect: names are resolved once, at start, by the system's resolver. nginx uses it for \
         names that only a variable gives, and `proxy_pass` takes no variables yet.",
    ),
    idle("resolver_timeout", HSL, (1, 1), "TIME", Time, "As `resolver`."),
    idle(
        "chunked_transfer_encoding",
        HSL,
        (1, 1),
        "on",
        Word(&["on"]),
        "Only `on`: an answer without a known length goes out in chunks, as HTTP/1.1 has it.",
    ),
    idle(
        "merge_slashes",
        HS,
        (1, 1),
        "on",
        Word(&["on"]),
        "Only `on`: repeated slashes count as one when a location is chosen.",
    ),
    idle("keepalive_requests", UPSTREAM, (1, 1), "NUMBER", Number, "Goes with `keepalive`."),
    idle("keepalive_timeout", UPSTREAM, (1, 1), "TIME", Time, "Goes with `keepalive`."),
    idle("keepalive_time", UPSTREAM, (1, 1), "TIME", Time, "Goes with `keepalive`."),
    idle("client_body_buffer_size", HSL, (1, 1), "SIZE", Size, STREAMED),
    idle("client_body_in_single_buffer", HSL, (1, 1), "on | off", Flag, STREAMED),
    idle("client_body_temp_path", HSL, (1, 4), "PATH [LEVEL…]", Any, NO_TEMPORARY),
    idle(
        "proxy_buffering",
        HSL,
        (1, 1),
        "on | off",
        Flag,
        "No effect: answers are passed on as they arrive, which is what `off` means.",
    ),
    idle(
        "proxy_request_buffering",
        HSL,
        (1, 1),
        "on | off",
        Flag,
        "No effect: request bodies are passed on as they arrive, which is what `off` means.",
    ),
    idle("proxy_buffers", HSL, (2, 2), "NUMBER SIZE", Any, STREAMED),
    idle("proxy_busy_buffers_size", HSL, (1, 1), "SIZE", Size, STREAMED),
    idle("proxy_max_temp_file_size", HSL, (1, 1), "SIZE", Size, NO_TEMPORARY),
    idle("proxy_temp_file_write_size", HSL, (1, 1), "SIZE", Size, NO_TEMPORARY),
    idle("proxy_temp_path", HSL, (1, 4), "PATH [LEVEL…]", Any, NO_TEMPORARY),
    idle(
        "proxy_cache",
        HSL,
        (1, 1),
        "off",
        Word(&["off"]),
        "Only `off`: there is no cache, every request goes to the upstream.",
    ),
    idle(
        "proxy_cache_bypass",
        HSL,
        (1, MANY),
        "TEXT…",
        Any,
        "No effect: there is no cache, every request goes to the upstream.",
    ),
    idle("proxy_no_cache", HSL, (1, MANY), "TEXT…", Any, "As `proxy_cache_bypass`."),
    idle(
        "proxy_intercept_errors",
        HSL,
        (1, 1),
        "off",
        Word(&["off"]),
        "Only `off`: an upstream's answer is relayed whatever its status is.",
    ),
    Row::new(
        "gzip",
        HSL,
        (1, 1),
        "on | off",
        Action::Call(header::gzip),
        "`on` is accepted with one warning: answers go out uncompressed for now. A tunnel would \
         never be compressed.",
    ),
    idle("gzip_buffers", HSL, (2, 2), "NUMBER SIZE", Any, GZIP),
    idle("gzip_comp_level", HSL, (1, 1), "LEVEL", Number, GZIP),
    idle("gzip_disable", HSL, (1, MANY), "REGEX…", Any, GZIP).repeats(),
    idle("gzip_http_version", HSL, (1, 1), "1.0 | 1.1", Word(&["1.0", "1.1"]), GZIP),
    idle("gzip_min_length", HSL, (1, 1), "LENGTH", Size, GZIP),
    idle("gzip_proxied", HSL, (1, MANY), "off | CONDITION…", Any, GZIP),
    idle("gzip_static", HSL, (1, 1), "on | off | always", Any, GZIP),
    idle("gzip_types", HSL, (1, MANY), "TYPE…", Any, GZIP).repeats(),
    idle("gzip_window", HSL, (1, 1), "SIZE", Size, GZIP),
    idle("gzip_hash", HSL, (1, 1), "SIZE", Size, GZIP),
    idle("gzip_no_buffer", HSL, (1, 1), "on | off", Flag, GZIP),
    idle("postpone_gzipping", HSL, (1, 1), "SIZE", Size, GZIP),
    idle("gzip_vary", HSL, (1, 1), "on | off", Flag, GZIP),
    idle("gunzip", HSL, (1, 1), "on | off", Flag, GZIP),
    idle("gunzip_buffers", HSL, (2, 2), "NUMBER SIZE", Any, GZIP),
];
