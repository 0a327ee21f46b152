//! The `otlpd` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    otlpd::cli::main()
}
