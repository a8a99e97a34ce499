//! The file by which `-s SIGNAL` and service managers find the running program.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A pid file of this process; emptied and removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Kept open: a program that gave up its privileges may not remove the file any more, but it
    /// can still empty it, and an empty file names no stranger's process.
    file: File,
}

impl PidFile {
    /// Writes the number of this process.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path: path.to_owned(), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads the number of the running program.
///
/// # Errors
/// If the file cannot be read or holds no process number.
pub fn read(path: &Path) -> io::Result<nix::unistd::Pid> {
    let mut text = String::new();
    // A pid file is one short line; whatever else the name leads to is not read whole.
    File::open(path)?.take(64).read_to_string(&mut text)?;
    match text.trim().parse() {
        Ok(pid) if pid > 0 => Ok(nix::unistd::Pid::from_raw(pid)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it names no process")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_this_process_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(read(&path).unwrap(), nix::unistd::getpid());
        drop(file);
        assert!(!path.exists());
        for nonsense in ["", "0", "-1", "abc"] {
            std::fs::write(&path, nonsense).unwrap();
            assert!(read(&path).is_err(), "{nonsense:?}");
        }
    }
}
