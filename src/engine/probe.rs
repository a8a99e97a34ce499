//! Why an engine could not be set up.

/// A step of setting up an engine that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SetupError {
    step: &'static str,
    errno: i32,
}

impl SetupError {
    /// A step, named as its system call, and its errno.
    #[must_use]
    pub const fn new(step: &'static str, errno: i32) -> Self {
        Self { step, errno }
    }

    /// The errno, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno
    }
}

impl core::fmt::Display for SetupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.step, crate::reason::Errno(self.errno))
    }
}

impl core::error::Error for SetupError {}
