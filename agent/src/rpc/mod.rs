//! The wire: the only room that knows tonic and the generated types.
