//! Parses the command line, starts the asynchronous runtime, and turns the result into an exit code.

fn main() {}
