//! What documents say, held to what the program does.

mod deployment;
mod manual_step;
mod parameters;

/// A file of this project.
fn read(path: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read_to_string(format!("{root}/{path}")).unwrap()
}
