//! Contract tests: both programs, their wire, and the house they live in.

mod house;
mod options;
mod readme;
mod wire;
