//! What the io_uring engine knows of a listening socket beyond its slot: clients read ahead.
//!
//! One multishot accept runs in the kernel for many `Accept` operations. Clients that come while
//! none is asked for wait here; when too many wait, the multishot is cancelled and the others wait
//! in the kernel's backlog.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::limits::ACCEPT_AHEAD_MAX;

/// Whether the multishot accept runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Multishot {
    /// The kernel accepts nobody.
    #[default]
    Off,
    /// The kernel accepts whoever comes.
    On,
    /// It is being cancelled and has not reported its end yet.
    Ending,
}

/// Whether the worker waits for a client.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Ask {
    #[default]
    Nothing,
    /// An `Accept` is asked for.
    Accept,
    /// It is cancelled and has not reported so.
    Cancelled,
}

/// The clients of a listener that are ahead of the worker.
#[derive(Debug, Default)]
pub(super) struct Listener {
    pub(super) multishot: Multishot,
    pub(super) ahead: VecDeque<OwnedFd>,
    pub(super) ask: Ask,
}

impl Listener {
    /// Whether more clients wait than may, while the kernel still accepts.
    pub(super) fn too_far_ahead(&self) -> bool {
        self.multishot == Multishot::On && self.ahead.len() >= ACCEPT_AHEAD_MAX
    }
}
