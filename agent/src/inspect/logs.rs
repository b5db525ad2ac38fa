//! Collector `logs`: the log archive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ironic_document::JsonObject;
use serde_json::Map;

use super::{Collector, CollectorError, Inspection};
use crate::logs::archive;

/// The journal's lines in an inspection report.
const JOURNAL_LINES: u32 = 10_000;

/// Answers the log archive; without one the report does without it.
#[derive(Debug)]
pub(super) struct Logs;

impl Collector for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn collect<'a>(
        &'a self,
        inspection: Inspection<'a>,
    ) -> BoxFuture<'a, Result<JsonObject, CollectorError>> {
        async move {
            let made = archive::collect(inspection.system, Some(JOURNAL_LINES));
            Ok(match made.await {
                Ok(bytes) => Map::from_iter([("logs".to_owned(), STANDARD.encode(bytes).into())]),
                Err(error) => {
                    tracing::warn!(%error, "the report goes without logs");
                    Map::new()
                }
            })
        }
        .boxed()
    }
}
