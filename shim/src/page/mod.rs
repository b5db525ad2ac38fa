//! A page for operators: the nodes of a gateway, what they do, and what has happened to them, live.
//!
//! [`PageServer`] listens at option `page_listen` and answers from this program alone: no file is
//! read and no other address is named. It only reads. [`PageService`] asks the fleet's one place of
//! authorisation, with the gRPC methods that show the same, and the feed sends the list of nodes
//! and what changes as server-sent events.

mod assets;
mod event;
mod feed;
mod host;
mod listener;
mod node_json;
mod response;
mod service;

pub use listener::{PageServer, PageServerError};
pub use service::PageService;
