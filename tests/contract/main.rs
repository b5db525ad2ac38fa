//! Contract tests: both programs, their wire, and the house they live in.

mod heartbeat;
mod house;
mod inspection;
mod lookup;
mod options;
mod readme;
mod support;
mod tls;
mod wire;
