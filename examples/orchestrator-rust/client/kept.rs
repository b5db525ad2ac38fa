//! What must survive the orchestrator: of each order the boot in which it was given first, and
//! whether it is done.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// An order that was given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptOrder {
    /// The only boot in which it may be given.
    pub(crate) boot_id: String,
    /// Whether it was carried out.
    pub(crate) done: bool,
}

/// The orders by their identifiers, in a file. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct KeptOrders {
    path: PathBuf,
    orders: Arc<Mutex<BTreeMap<String, KeptOrder>>>,
}

impl KeptOrders {
    /// Reads the file; one that is not there has no orders.
    pub(crate) fn read(path: PathBuf) -> io::Result<Self> {
        let orders = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let orders = Arc::new(Mutex::new(orders));
        Ok(Self { path, orders })
    }

    /// What is kept of an order.
    pub(crate) fn find(&self, id: &str) -> Option<KeptOrder> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.get(id).cloned()
    }

    /// Replaces the file: one that is half written would forget everything.
    pub(crate) fn keep(&self, id: &str, order: KeptOrder) -> io::Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.insert(id.to_owned(), order);
        let mut draft = self.path.clone().into_os_string();
        draft.push(".new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(&*orders)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)
    }
}
