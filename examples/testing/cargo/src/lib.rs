use std::{fs, io, path::Path};

/// Replaces the greeting in a file, and returns the one before.
pub fn replace(file: &Path, greeting: &str) -> io::Result<String> {
    let before = fs::read_to_string(file)?;
    fs::write(file, greeting)?;
    Ok(before)
}
