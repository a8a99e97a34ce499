//! The `upsplice` program: everything it does is in the library's [`upsplice::cli`].

fn main() -> std::process::ExitCode {
    upsplice::cli::main()
}
