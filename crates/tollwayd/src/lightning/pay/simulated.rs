//! The simulated wallet: it pays every invoice without money, and remembers that in the simulated
//! node's file.

use std::path::Path;

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::{Outgoing, Payer};
use crate::lightning::memory::{Line, Memory};
use crate::lightning::{Call, NodeFault, payment_hash_of};

/// A wallet without money.
#[derive(Debug)]
pub(super) struct Simulated {
    memory: Option<Memory>,
}

impl Simulated {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self { memory: file.map(|file| Memory::new(file.to_owned())) }
    }

    /// Without a file it could forget what it paid, so it pays nothing.
    fn memory(&self) -> Result<Memory, NodeFault> {
        self.memory.clone().ok_or(NodeFault::Denied)
    }
}

fn down(error: &std::io::Error) -> NodeFault {
    tracing::error!(%error, "the simulated wallet cannot use its file");
    NodeFault::Down
}

impl Payer for Simulated {
    fn pay<'a>(&'a self, bolt11: &'a str, _fee_max: Msat) -> Call<'a, ()> {
        Box::pin(async move {
            let memory = self.memory()?;
            let payment_hash = payment_hash_of(bolt11).ok_or(NodeFault::Refused)?;
            let kept = tokio::task::spawn_blocking(move || {
                memory.append(&Line::Sent { payment_hash }).map_err(|error| down(&error))
            });
            kept.await.unwrap_or(Err(NodeFault::Down))?;
            tracing::warn!(%payment_hash, "a SIMULATED payout: no money moves");
            Ok(())
        })
    }

    fn pay_amount<'a>(&'a self, bolt11: &'a str, _amount: Msat, fee_max: Msat) -> Call<'a, ()> {
        self.pay(bolt11, fee_max)
    }

    fn outgoing<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Outgoing> {
        Box::pin(async move {
            let (memory, hash) = (self.memory()?, *hash);
            let found = tokio::task::spawn_blocking(move || memory.find(&hash));
            let found = found.await.map_err(|_| NodeFault::Down)?.map_err(|error| down(&error))?;
            Ok(if found.sent { Outgoing::Paid } else { Outgoing::Unknown })
        })
    }
}
