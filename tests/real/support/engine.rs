//! The two engines, and one test for each.

use upsplice::config::model::EngineChoice;
use upsplice::engine::probe::{self, Chosen};

/// A real engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    Epoll,
    IoUring,
}

impl Engine {
    /// As `use` and `$upsplice_engine` name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::IoUring => "io_uring",
        }
    }

    /// Whether this system grants it; says so on standard output if not. A lack of memory or of
    /// descriptors is no denial, and fails.
    pub(crate) fn is_granted(self) -> bool {
        if self == Self::Epoll {
            return true;
        }
        let chosen = probe::choose(EngineChoice::Auto).unwrap_or_else(|error| panic!("{error}"));
        if chosen != Chosen::Uring {
            println!("skipped on {}: {chosen}", self.name());
        }
        chosen == Chosen::Uring
    }
}

/// Makes a test of each function for each engine: `name::on_epoll` and `name::on_io_uring`.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::support::Engine;

            #[test]
            fn on_epoll() {
                super::$name(Engine::Epoll);
            }

            #[test]
            fn on_io_uring() {
                if Engine::IoUring.is_granted() {
                    super::$name(Engine::IoUring);
                }
            }
        }
    )+};
}
