//! Contract tests: both programs, their wire, and the house they live in.

mod house;
mod readme;
mod wire;
