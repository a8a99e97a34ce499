//! What is measured: the list of scenarios, as data.

use std::time::Duration;

/// A load and what is measured under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    /// What the tables show, most important first: a metric's name, its unit, its decimals.
    pub(crate) shown: &'static [Metric],
    /// True if it is run without being asked for: all of them would take more than an hour.
    pub(crate) by_default: bool,
}

/// A figure of a sample and how it is printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) decimals: usize,
    /// True if a ratio against nginx is worth a row.
    pub(crate) compared: bool,
}

/// A kind of load with its sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Each connection sends a message, awaits its echo, sends the next.
    PingPong { connections: usize, size: usize },
    /// Messages leave at a fixed rate over all connections, whether echoes came or not.
    Open { connections: usize, size: usize, per_second: u32 },
    /// Messages without a pause, from the clients or to them.
    Bulk { connections: usize, size: usize, to_clients: bool },
    /// At each interval every client is sent a message.
    Feed { connections: usize, size: usize, interval_us: u32 },
    /// A handshake, an echo, a close; then the next connection.
    Churn { at_once: usize, size: usize },
    /// Tunnels that have carried a message and rest.
    Idle { tunnels: usize },
    /// Ordinary requests on kept connections.
    Page { connections: usize, size: usize },
}

/// How long each part of a measurement lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Load before the window opens.
    pub(crate) warm: Duration,
    /// What is measured.
    pub(crate) window: Duration,
}

const CPU_MESSAGE: Metric =
    Metric { name: "cpu", unit: "µs CPU/round trip", decimals: 2, compared: true };
const CPU_PUSH: Metric =
    Metric { name: "cpu", unit: "µs CPU/message", decimals: 2, compared: true };
const CPU_REQUEST: Metric =
    Metric { name: "cpu", unit: "µs CPU/request", decimals: 1, compared: true };
const CPU_VISIT: Metric =
    Metric { name: "cpu", unit: "µs CPU/visit", decimals: 1, compared: true };
const CPU_GB: Metric = Metric { name: "cpu_gb", unit: "CPU s/GB", decimals: 3, compared: true };
const RATE: Metric = Metric { name: "rate", unit: "per s", decimals: 0, compared: false };
const SPEED: Metric = Metric { name: "gb_s", unit: "GB/s", decimals: 2, compared: false };
const P50: Metric = Metric { name: "p50", unit: "p50 µs", decimals: 0, compared: false };
const P99: Metric = Metric { name: "p99", unit: "p99 µs", decimals: 0, compared: true };
const P999: Metric = Metric { name: "p99.9", unit: "p99.9 µs", decimals: 0, compared: false };
const PROCESS: Metric =
    Metric { name: "process", unit: "B process/tunnel", decimals: 0, compared: true };
const PROCESS_ALL: Metric = Metric {
    name: "process_all",
    unit: "B process/tunnel, pools included",
    decimals: 0,
    compared: true,
};
const KERNEL: Metric =
    Metric { name: "kernel", unit: "B slab/tunnel", decimals: 0, compared: false };

/// All scenarios, in the order in which they are run and told.
pub(crate) const ALL: &[Scenario] = &[
    ping_pong("pingpong-128-1", 1, 128),
    ping_pong("pingpong-128-64", 64, 128),
    ping_pong("pingpong-128-1000", 1000, 128),
    ping_pong("pingpong-128-4000", 4000, 128),
    ping_pong("pingpong-16-64", 64, 16),
    ping_pong("pingpong-1k-64", 64, 1024),
    ping_pong("pingpong-16k-64", 64, 16 * 1024),
    when_asked(ping_pong("pingpong-16-1", 1, 16)),
    when_asked(ping_pong("pingpong-16-1000", 1000, 16)),
    when_asked(ping_pong("pingpong-16-4000", 4000, 16)),
    when_asked(ping_pong("pingpong-1k-1", 1, 1024)),
    when_asked(ping_pong("pingpong-1k-1000", 1000, 1024)),
    when_asked(ping_pong("pingpong-1k-4000", 4000, 1024)),
    when_asked(ping_pong("pingpong-16k-1", 1, 16 * 1024)),
    when_asked(ping_pong("pingpong-16k-1000", 1000, 16 * 1024)),
    when_asked(ping_pong("pingpong-16k-4000", 4000, 16 * 1024)),
    bulk("bulk-up-64k", 64 * 1024, false),
    bulk("bulk-down-64k", 64 * 1024, true),
    bulk("bulk-up-1m", 1024 * 1024, false),
    bulk("bulk-down-1m", 1024 * 1024, true),
    scenario(
        "open-20k-64",
        Load::Open { connections: 64, size: 128, per_second: 20_000 },
        &[P50, P99, P999, CPU_MESSAGE],
    ),
    scenario(
        "feed-20k-1000",
        Load::Feed { connections: 1000, size: 128, interval_us: 50_000 },
        &[P50, P99, P999, CPU_PUSH],
    ),
    scenario("visit", Load::Churn { at_once: 64, size: 128 }, &[CPU_VISIT, RATE]),
    scenario("idle-5000", Load::Idle { tunnels: 5000 }, &[PROCESS, PROCESS_ALL, KERNEL]),
    scenario(
        "page-1k-64",
        Load::Page { connections: 64, size: 1024 },
        &[CPU_REQUEST, RATE, P50, P99],
    ),
];

const fn scenario(name: &'static str, load: Load, shown: &'static [Metric]) -> Scenario {
    Scenario { name, load, shown, by_default: true }
}

const fn when_asked(scenario: Scenario) -> Scenario {
    Scenario { by_default: false, ..scenario }
}

const fn ping_pong(name: &'static str, connections: usize, size: usize) -> Scenario {
    scenario(name, Load::PingPong { connections, size }, &[CPU_MESSAGE, RATE, P50, P99])
}

const fn bulk(name: &'static str, size: usize, to_clients: bool) -> Scenario {
    scenario(name, Load::Bulk { connections: 8, size, to_clients }, &[CPU_GB, SPEED])
}

impl Load {
    /// The same load, small enough to show in a moment that everything works.
    pub(crate) fn tiny(self) -> Self {
        match self {
            Self::PingPong { connections, size } => {
                Self::PingPong { connections: connections.min(8), size }
            }
            Self::Open { size, .. } => Self::Open { connections: 8, size, per_second: 1000 },
            Self::Bulk { size, to_clients, .. } => Self::Bulk { connections: 2, size, to_clients },
            Self::Feed { size, .. } => Self::Feed { connections: 8, size, interval_us: 10_000 },
            Self::Churn { size, .. } => Self::Churn { at_once: 4, size },
            Self::Idle { .. } => Self::Idle { tunnels: 50 },
            Self::Page { size, .. } => Self::Page { connections: 8, size },
        }
    }

    /// True if the rate is given, so that a load generator without time to spare would measure
    /// itself.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open { .. } | Self::Feed { .. })
    }

    /// The share of a CPU that others may take before a measurement is thrown away. A latency's
    /// tail is theirs long before a sum of CPU time is.
    pub(crate) fn disturbed_max(self) -> f64 {
        match self {
            Self::Open { .. } | Self::Feed { .. } | Self::PingPong { connections: 1, .. } => 0.03,
            _ => 0.10,
        }
    }
}
