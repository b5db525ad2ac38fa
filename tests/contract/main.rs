//! Contract tests: both programs, their wire, and the house they live in.

mod behaviour;
mod dependencies;
mod gateway;
mod hardware_manager;
mod heartbeat;
mod house;
mod inspection;
mod log_events;
mod lookup;
mod manual;
mod metrics;
mod options;
mod pacing;
mod readme;
mod rest;
mod rest_agent;
mod rest_commands;
mod rest_traces;
mod rest_transport;
mod shape;
mod strangers;
mod support;
mod tls;
mod troubleshooting;
mod verbs;
mod wire;
