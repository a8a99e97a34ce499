//! Going into the background.

use std::fs::File;
use std::io::{self, Read, Write};

use nix::unistd::ForkResult;

/// The child's side of [`detach`]: the parent waits in the foreground until the child is ready, so
/// that whoever started the program learns of a failure, and finds the pid file when it returns.
#[derive(Debug)]
pub struct Detached {
    ready: io::PipeWriter,
}

/// Forks. The child returns, in a session of its own, with the terminal still open for error
/// messages; the parent ends with status 0 when the child says [`Detached::ready`], and with 1 when
/// the child ends before.
///
/// Call it before any thread exists: only the calling thread goes on in the child.
///
/// # Errors
/// If the system refuses the process, the pipe or the session.
pub fn detach() -> io::Result<Detached> {
    let (mut wait, ready) = io::pipe()?;
    // SAFETY: the process has a single thread (the caller's promise above), so the child inherits
    // no lock that another thread held and may go on as an ordinary program.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { .. } => {
            drop(ready);
            let told = wait.read_exact(&mut [0]).is_ok();
            std::process::exit(i32::from(!told));
        }
        ForkResult::Child => {
            nix::unistd::setsid()?;
            Ok(Detached { ready })
        }
    }
}

impl Detached {
    /// Lets go of the terminal and lets the parent end.
    ///
    /// # Errors
    /// If `/dev/null` cannot be opened.
    pub fn ready(mut self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        // A parent that is gone already needs no message.
        let _ = self.ready.write_all(&[1]);
        Ok(())
    }
}
