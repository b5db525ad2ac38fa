//! The hardware managers that support this machine, best first.

use std::sync::Arc;

use ironic_document::JsonObject;
use serde_json::{Value, json};
use thiserror::Error;

use super::container::{self, ContainerManager};
use super::external::ExternalManager;
use super::generic::GenericManager;
use super::manager::{HardwareManager, ManagerIdentity, Support};
use super::step::VendorEraser;
use super::vendor::intel_cna::IntelCnaManager;
use super::vendor::mellanox::MellanoxManager;
use crate::config::AgentConfig;
use crate::system::System;

/// The managers that support this machine, best first. Cheap to share.
#[derive(Debug, Clone)]
pub struct ManagerRegistry {
    managers: Vec<RankedManager>,
}

/// No manager supports this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("No hardware manager supports this machine")]
pub struct NoHardwareManager;

/// A manager and how well it knows this machine.
#[derive(Debug, Clone)]
pub struct RankedManager {
    /// The manager.
    pub manager: Arc<dyn HardwareManager>,
    /// Its support of this machine, never [`Support::None`].
    pub support: Support,
}

impl ManagerRegistry {
    /// Asks each manager whether it supports this machine and ranks those that do. Equals
    /// keep their order.
    ///
    /// # Errors
    /// None does.
    pub fn new(
        managers: impl IntoIterator<Item = Arc<dyn HardwareManager>>,
        system: &System,
    ) -> Result<Self, NoHardwareManager> {
        let mut managers: Vec<RankedManager> = managers
            .into_iter()
            .map(|manager| RankedManager {
                support: manager.support(system),
                manager,
            })
            .filter(|ranked| ranked.support > Support::None)
            .collect();
        if managers.is_empty() {
            return Err(NoHardwareManager);
        }
        managers.sort_by_key(|ranked| std::cmp::Reverse(ranked.support));
        for ranked in &managers {
            let identity = ranked.manager.identity();
            tracing::info!(
                manager = %identity.class,
                version = %identity.version,
                support = ?ranked.support,
                "hardware manager"
            );
        }
        Ok(Self { managers })
    }

    /// The managers of this source tree, for tests.
    ///
    /// # Errors
    /// As [`ManagerRegistry::new`]; the generic manager supports every machine.
    #[cfg(any(test, feature = "fake"))]
    pub fn compiled_in(system: &System) -> Result<Self, NoHardwareManager> {
        Self::assemble(Vec::new(), system, &AgentConfig::default(), false)
    }

    /// The managers that need no setting, whether or not they support this machine.
    #[must_use]
    pub fn of_this_source_tree() -> Vec<Arc<dyn HardwareManager>> {
        vec![
            Arc::new(GenericManager),
            Arc::new(MellanoxManager),
            Arc::new(IntelCnaManager),
        ]
    }

    /// The managers of this source tree and those that are programs of their own.
    ///
    /// # Errors
    /// As [`ManagerRegistry::new`]; the generic manager supports every machine.
    pub async fn with(
        external: Vec<ExternalManager>,
        system: &System,
        config: &AgentConfig,
    ) -> Result<Self, NoHardwareManager> {
        let has_runtime = container::has_runtime(system).await;
        Self::assemble(external, system, config, has_runtime)
    }

    fn assemble(
        external: Vec<ExternalManager>,
        system: &System,
        config: &AgentConfig,
        has_runtime: bool,
    ) -> Result<Self, NoHardwareManager> {
        let mut all = Self::of_this_source_tree();
        for manager in external {
            // Ironic could not tell the steps of the two apart.
            if let Some(taken) = namesake(&all, manager.identity()) {
                let identity = manager.identity();
                tracing::error!(class = %identity.class, name = %identity.name, %taken,
                    "a hardware manager is left out: another one is that already");
                continue;
            }
            all.push(Arc::new(manager));
        }
        // A container must not take the place of anybody's step.
        let reserved: Arc<[String]> = all
            .iter()
            .flat_map(|manager| manager.steps())
            .map(|step| step.description().name.to_string())
            .collect();
        all.push(Arc::new(ContainerManager::new(
            system,
            config,
            reserved,
            has_runtime,
        )));
        let registry = Self::new(all, system)?;
        for ranked in &registry.managers {
            ranked.manager.initialize(system, config);
        }
        Ok(registry)
    }

    /// The same managers under the configuration in force.
    #[must_use]
    pub fn under(&self, system: &System, config: &AgentConfig) -> Self {
        let managers = self.managers.iter().map(|ranked| RankedManager {
            support: ranked.support,
            manager: ranked
                .manager
                .under(system, config)
                .unwrap_or_else(|| Arc::clone(&ranked.manager)),
        });
        Self {
            managers: managers.collect(),
        }
    }

    /// The managers, best first.
    #[must_use]
    pub fn managers(&self) -> &[RankedManager] {
        &self.managers
    }

    /// The steps by which vendors' managers erase disks of their own kind, best manager first.
    #[must_use]
    pub fn erasers(&self) -> Vec<VendorEraser<'_>> {
        self.managers
            .iter()
            .filter(|ranked| ranked.support > Support::Generic)
            .filter_map(|ranked| {
                Some(VendorEraser {
                    manager: &ranked.manager.identity().class,
                    step: ranked.manager.eraser()?,
                })
            })
            .collect()
    }

    /// The best manager's answer: the first that is not `None`.
    pub fn first<'a, T>(
        &'a self,
        ask: impl FnMut(&'a dyn HardwareManager) -> Option<T>,
    ) -> Option<T> {
        self.managers
            .iter()
            .map(|ranked| ranked.manager.as_ref())
            .find_map(ask)
    }

    /// Name and version of each manager, as Ironic stores and compares them.
    #[must_use]
    pub fn versions(&self) -> JsonObject {
        self.managers
            .iter()
            .map(|ranked| {
                let identity = ranked.manager.identity();
                (identity.name.to_string(), identity.version.as_ref().into())
            })
            .collect()
    }

    /// Name and version of each manager, best first, as an inspection report lists them.
    #[must_use]
    pub fn listing(&self) -> Value {
        self.managers
            .iter()
            .map(|ranked| {
                let identity = ranked.manager.identity();
                json!({"name": identity.name, "version": identity.version})
            })
            .collect()
    }
}

/// The class of the manager that has the class or the name of `other`.
fn namesake(known: &[Arc<dyn HardwareManager>], other: &ManagerIdentity) -> Option<String> {
    let all = known.iter().map(|manager| manager.identity());
    all.chain([&container::IDENTITY])
        .find(|known| known.class == other.class || known.name == other.name)
        .map(|known| known.class.to_string())
}
