//! Where the programs are that know the truth.

use std::path::PathBuf;

/// The directory that `TEST_PROGRAMS` names. `None`: it names none, which CI does not accept.
pub(crate) fn programs() -> Option<PathBuf> {
    let found = std::env::var_os("TEST_PROGRAMS");
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "TEST_PROGRAMS is not set in CI"
        );
        eprintln!("SKIPPED: needs TEST_PROGRAMS; run `make unit`");
    }
    found.map(PathBuf::from)
}
