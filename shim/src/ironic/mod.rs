//! The client of the Ironic API: lookup, heartbeat, inspection.
