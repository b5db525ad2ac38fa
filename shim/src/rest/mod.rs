//! The conductor's door: the REST API of ironic-python-agent.
