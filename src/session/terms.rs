//! The part of a location's settings that an open tunnel obeys: one copy for all of its tunnels.
//!
//! A tunnel may outlive its configuration by hours, and keeps nothing else of it. Deliberately
//! absent: what is settled once, when a tunnel opens.

use std::rc::Rc;

use crate::config::model::{Config, Location};

use super::carrier::CarrierPolicy;

/// See the module.
#[derive(Debug)]
pub struct Terms {
    pub(super) read_ms: u64,
    pub(super) send_up_ms: u64,
    pub(super) send_down_ms: u64,
    pub(super) idle_ms: Option<u64>,
    pub(super) half_close: bool,
    pub(super) carrier: CarrierPolicy,
    /// The host of `proxy_pass`, for the error log; empty where there is none.
    pub(super) host: Box<str>,
}

impl Terms {
    /// Takes what a tunnel needs of a location.
    #[must_use]
    pub(super) fn of(location: &Location) -> Self {
        let settings = &location.settings;
        Self {
            read_ms: settings.proxy_read_timeout_ms,
            send_up_ms: settings.proxy_send_timeout_ms,
            send_down_ms: settings.send_timeout_ms,
            idle_ms: settings.tunnel_idle_timeout_ms,
            half_close: settings.tunnel_half_close,
            carrier: CarrierPolicy::of(settings),
            host: location
                .proxy
                .as_ref()
                .map(|proxy| proxy.host.as_str().into())
                .unwrap_or_default(),
        }
    }

    /// The terms of each location, in the order of [`Config::locations`].
    #[must_use]
    pub fn of_each(config: &Config) -> Vec<Rc<Self>> {
        config.locations.iter().map(|location| Rc::new(Self::of(location))).collect()
    }
}
