//! At most one controller works with one store.
//!
//! The lease is a lock on a file that the kernel lets go when the process ends, however it ends: a killed controller
//! leaves no stale lease behind.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

/// Held for as long as it lives.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error(
        "another controller (process {holder}) works with {}; stop that one first, or give this one another --state",
        directory.display()
    )]
    Taken {
        /// The store's directory.
        directory: PathBuf,
        /// The other process's id, as it wrote it down.
        holder: String,
    },
    /// The file cannot be used.
    #[error("cannot use {}: {source}; check that the directory of --state exists and is writable", file.display())]
    Unusable {
        /// The lease's file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Lease {
    /// Takes the lease of a store's directory, making the directory where it is missing.
    ///
    /// # Errors
    /// When another process has it, or the directory cannot be used.
    pub fn take(directory: &Path) -> Result<Lease, LeaseError> {
        let path = directory.join("lease");
        let unusable = |source| LeaseError::Unusable { file: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(unusable)?;
                return Err(LeaseError::Taken { directory: directory.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(unusable)?;
        writeln!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(Lease { _file: file })
    }
}

/// The process that holds the lease of a directory at this moment, as it wrote it down.
pub fn holder(directory: &Path) -> Option<String> {
    let mut file = File::open(directory.join("lease")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok()?;
            Some(holder.trim().to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_controller_is_refused_and_told_who_has_the_lease() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lease::take(directory.path()).unwrap();
        let refusal = Lease::take(directory.path()).unwrap_err().to_string();
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
        assert_eq!(holder(directory.path()), Some(std::process::id().to_string()));
        drop(first);
        assert_eq!(holder(directory.path()), None);
        Lease::take(directory.path()).expect("free again once the first is gone");
    }
}
