//! The agents that this shim knows, and how to reach them.
