//! The cards: found by `lspci`, asked and flashed by `mstflint`.

use std::time::Duration;

use crate::hardware::StepError;
use crate::system::{Cmd, RunError, System};

/// Flashing takes minutes.
const FLASH_TIMEOUT: Duration = Duration::from_secs(1800);

/// One function of a card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Card {
    /// PCI address: `0000:06:00.0`.
    pub(super) pci: String,
    /// Device number: `1017`.
    pub(super) id: String,
    /// What its firmware says.
    pub(super) firmware: CardFirmware,
}

/// What `mstflint` says about a card or a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CardFirmware {
    /// Which images fit.
    pub(super) psid: String,
    /// The version in flash.
    pub(super) version: String,
    /// The version that runs; only given when it is another one.
    pub(super) running: Option<String>,
}

impl Card {
    /// What the functions of one card have in common.
    pub(super) fn slot(&self) -> &str {
        let last = self.pci.char_indices().last().map_or(0, |(at, _)| at);
        &self.pci[..last]
    }

    /// Makes the card run what is in its flash.
    pub(super) async fn reset(&self, system: &System) -> Result<(), RunError> {
        let reset = Cmd::new("mstfwreset")
            .args(["-d", &self.pci, "-y", "--sync", "1", "reset"])
            .timeout(FLASH_TIMEOUT);
        system.run.run(reset).await.map(drop)
    }

    pub(super) async fn burn(&self, system: &System, path: &str) -> Result<(), RunError> {
        let burn = Cmd::new("mstflint")
            .args(["-d", &self.pci, "-i", path, "-y", "burn"])
            .timeout(FLASH_TIMEOUT);
        system.run.run(burn).await.map(drop)
    }
}

/// All cards, once the tools are known to work.
pub(super) async fn discover(system: &System) -> Result<Vec<Card>, StepError> {
    for (tool, question) in [
        ("mstflint", "-v"),
        ("mstconfig", "-v"),
        ("mstfwreset", "-v"),
        ("lspci", "--version"),
    ] {
        system.run.run(Cmd::new(tool).arg(question)).await?;
    }
    let list = Cmd::new("lspci").args(["-Dn", "-d", "15b3:"]);
    let listed = system.run.run(list).await?.text();
    let mut cards = Vec::new();
    for (pci, id) in listed.lines().filter_map(network_card) {
        let query = Cmd::new("mstflint").args(["-d", pci, "-qq", "query"]);
        let answer = system.run.run(query).await?.text();
        cards.push(Card {
            pci: pci.to_owned(),
            id: id.to_owned(),
            firmware: parse_query(&answer),
        });
    }
    Ok(cards)
}

/// `0000:06:00.0 0200: 15b3:1017`: address and device of a network card (class 02xx).
fn network_card(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let pci = words.next()?;
    let class = words.next()?;
    let id = words.next()?.strip_prefix("15b3:")?;
    let network = class.trim_end_matches(':');
    (network.len() == 4 && network.starts_with("02")).then_some((pci, id))
}

pub(super) fn parse_query(text: &str) -> CardFirmware {
    let word = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(key))?;
        Some(line.split_whitespace().next()?.to_owned())
    };
    CardFirmware {
        psid: word("PSID:").unwrap_or_default(),
        version: word("FW Version:").unwrap_or_default(),
        running: word("FW Version(Running):"),
    }
}
