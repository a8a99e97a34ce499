//! The directives that nginx has and this program does not do yet: refused by name, never ignored.

/// Why nginx's directive `name` is refused, if it is one of those: the rest of a sentence that
/// begins with the name.
pub(in crate::config) fn refusal(name: &str) -> Option<&'static str> {
    GROUPS
        .iter()
        .find(|group| {
            group.names.contains(&name)
                || group.prefixes.iter().any(|&prefix| name.starts_with(prefix))
        })
        .map(|group| group.why)
}

/// Directives that are refused for one reason.
pub(super) struct Group {
    /// What they have in common, for the documentation.
    pub(super) title: &'static str,
    pub(super) why: &'static str,
    pub(super) names: &'static [&'static str],
    /// Whole families; only such as belong to no directive of ours.
    pub(super) prefixes: &'static [&'static str],
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "TLS, HTTP/2 and HTTP/3",
        why: "TLS is not built in yet, nor are HTTP/2 and HTTP/3",
        names: &["ssl", "http2", "http3"],
        prefixes: &["ssl_", "proxy_ssl_", "http2_", "http3_", "quic_"],
    },
    Group {
        title: "Answers of the proxy's own",
        why: "the proxy makes no answers of its own yet but errors",
        names: &["return", "error_page", "recursive_error_pages", "stub_status", "empty_gif"],
        prefixes: &[],
    },
    Group {
        title: "Rewriting and conditions",
        why: "requests are not rewritten yet; locations and map cover the usual cases",
        names: &[
            "rewrite",
            "rewrite_log",
            "if",
            "set",
            "break",
            "uninitialized_variable_warn",
            "internal",
            "limit_except",
            "proxy_set_body",
            "proxy_method",
            "proxy_pass_request_headers",
            "proxy_pass_request_body",
            "merge_slashes",
            "underscores_in_headers",
            "ignore_invalid_headers",
        ],
        prefixes: &[],
    },
    Group {
        title: "Files",
        why: "nothing is served from files",
        names: &[
            "root",
            "alias",
            "index",
            "try_files",
            "expires",
            "charset",
            "charset_map",
            "charset_types",
            "override_charset",
            "source_charset",
            "disable_symlinks",
            "random_index",
            "flv",
            "mp4",
            "create_full_put_path",
        ],
        prefixes: &[
            "autoindex",
            "dav_",
            "mp4_",
            "ssi",
            "sub_filter",
            "addition_",
            "add_before",
            "add_after",
            "image_filter",
            "xslt_",
            "xml_entities",
        ],
    },
    Group {
        title: "Access and limits",
        why: "access rules and limits are not supported yet",
        names: &["allow", "deny", "satisfy", "auth_delay", "keepalive_time"],
        prefixes: &[
            "auth_basic",
            "auth_request",
            "auth_jwt",
            "auth_http",
            "limit_conn",
            "limit_req",
            "limit_rate",
            "valid_referers",
            "referer_hash",
            "secure_link",
        ],
    },
    Group {
        title: "Variables from elsewhere",
        why: "these variables are not supported yet; map covers the usual cases",
        names: &["geo", "split_clients", "variables", "real_ip_header", "real_ip_recursive"],
        prefixes: &["geoip_", "geoip2", "set_real_ip", "userid", "perl", "js_", "browser"],
    },
    Group {
        title: "Balancing and failing over",
        why: "of the balancing methods there are round robin and ip_hash for now, and a failed \
              request is not tried again",
        names: &[
            "least_conn",
            "least_time",
            "hash",
            "random",
            "sticky",
            "zone",
            "state",
            "ntlm",
            "queue",
            "health_check",
            "match",
            "proxy_bind",
            "proxy_limit_rate",
            "proxy_ignore_client_abort",
            "proxy_ignore_headers",
            "proxy_force_ranges",
        ],
        prefixes: &["proxy_next_upstream", "proxy_cookie_", "upstream_conf"],
    },
    Group {
        title: "Caching and storing",
        why: "there is no cache",
        names: &["proxy_store", "proxy_store_access", "slice", "open_log_file_cache"],
        prefixes: &[
            "proxy_cache_",
            "memcached_",
            "srcache_",
            "add_trailer",
            "early_hints",
            "mirror",
        ],
    },
    Group {
        title: "Other protocols",
        why: "only HTTP and what it upgrades to is proxied",
        names: &["stream", "mail", "rtmp", "proxy_protocol_timeout", "chunked_transfer_encoding"],
        prefixes: &[
            "fastcgi_",
            "uwsgi_",
            "scgi_",
            "grpc_",
            "tunnel_pass",
            "imap_",
            "pop3_",
            "smtp_",
        ],
    },
    Group {
        title: "The process",
        why: "the process does not do this",
        names: &[
            "load_module",
            "env",
            "debug_connection",
            "debug_points",
            "thread_pool",
            "worker_priority",
            "worker_rlimit_core",
            "working_directory",
            "google_perftools_profiles",
            "mgmt",
            "api",
            "status",
            "status_zone",
            "client_body_in_file_only",
        ],
        prefixes: &["otel_", "opentracing", "zone_sync"],
    },
    Group {
        title: "Code in the configuration",
        why: "code cannot be run from the configuration",
        names: &[],
        prefixes: &[
            "lua_",
            "init_by_lua",
            "init_worker_by_lua",
            "exit_worker_by_lua",
            "set_by_lua",
            "rewrite_by_lua",
            "access_by_lua",
            "content_by_lua",
            "header_filter_by_lua",
            "body_filter_by_lua",
            "log_by_lua",
            "balancer_by_lua",
            "server_rewrite_by_lua",
            "more_set_headers",
            "more_clear_headers",
            "more_set_input_headers",
        ],
    },
];
