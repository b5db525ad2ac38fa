//! What the agent says unasked: lookup, inspection, heartbeats.
