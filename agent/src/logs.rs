//! The log, and the archive of logs.
