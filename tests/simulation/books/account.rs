//! An account: lots of credit, the first to end is spent first.

/// Credit that came in at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) left_msat: u64,
    /// `None` for credit that stays.
    pub(crate) ends_ms: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// In the order in which they came.
    pub(crate) lots: Vec<Lot>,
    pub(crate) debt_msat: u64,
    pub(crate) charged_msat: u64,
    /// By a session, as a part of what was charged.
    pub(crate) earned_msat: u64,
    pub(crate) refunded_msat: u64,
    pub(crate) revoked: bool,
    /// Something came in.
    pub(crate) opened: bool,
}

impl Account {
    pub(crate) fn balance_msat(&self) -> u64 {
        self.lots.iter().map(|lot| lot.left_msat).sum()
    }

    /// What ends one day.
    pub(crate) fn expiring_msat(&self) -> u64 {
        let ending = self.lots.iter().filter(|lot| lot.ends_ms.is_some());
        ending.map(|lot| lot.left_msat).sum()
    }

    pub(crate) fn put(&mut self, left_msat: u64, ends_ms: Option<u64>) {
        self.opened = true;
        self.lots.push(Lot { left_msat, ends_ms });
    }

    /// Spends, from the lot that ends first.
    pub(crate) fn take(&mut self, mut amount_msat: u64) {
        for at in self.by_end() {
            let lot = &mut self.lots[at];
            let part = amount_msat.min(lot.left_msat);
            lot.left_msat -= part;
            amount_msat -= part;
        }
        assert_eq!(amount_msat, 0, "more is spent than there is");
    }

    /// Ends what is over, except what live holds were promised.
    pub(crate) fn end_lots(&mut self, now_ms: u64, mut promised_msat: u64) {
        for at in self.by_end() {
            let lot = &mut self.lots[at];
            if lot.ends_ms.is_some_and(|ends_ms| ends_ms <= now_ms) {
                lot.left_msat = lot.left_msat.min(promised_msat);
                promised_msat -= lot.left_msat;
            }
        }
    }

    fn by_end(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.lots.len()).collect();
        order.sort_by_key(|at| (self.lots[*at].ends_ms.unwrap_or(u64::MAX), *at));
        order
    }
}
