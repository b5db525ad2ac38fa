//! What the agent was told.
