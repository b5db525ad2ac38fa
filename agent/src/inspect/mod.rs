//! Collectors and their one report.
