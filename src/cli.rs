//! The command line, as nginx has it.

/// Runs the program and returns its exit status.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
