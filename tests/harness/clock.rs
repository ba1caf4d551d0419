//! A wrong wall clock for one process, by the library of `faketime`.

use std::path::PathBuf;
use std::process::Command;

use super::client::skip;

/// A wall clock that starts at a moment of the test's choice and runs on from there.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    library: PathBuf,
    moment: String,
}

impl Clock {
    /// A clock at `moment` (`YYYY-MM-DD hh:mm:ss`). Skips where the library is not installed.
    pub(crate) fn at(moment: &str) -> Option<Self> {
        let folders = fs_err::read_dir("/usr/lib").into_iter().flatten().flatten();
        let library = folders
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
            .find(|library| library.is_file());
        let Some(library) = library else {
            skip("needs faketime");
            return None;
        };
        Some(Self { library, moment: format!("@{moment}") })
    }

    /// Sets the clock of a process that is about to start; its stopwatch stays right.
    pub(crate) fn set(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME", &self.moment)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("TZ", "UTC");
    }
}
