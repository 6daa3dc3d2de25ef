//! What all workers of the proxy share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use tollway_gate::host::{CAS_ABSENT, CasMismatch};

/// What all workers of a proxy share: values and their versions, as Envoy keeps them.
#[derive(Debug, Default)]
pub struct SharedData {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    versions: Cell<u32>,
    conflicts: Cell<u32>,
    /// How many changes were made.
    writes: Cell<u64>,
}

impl SharedData {
    /// The next changes, so many, find that another worker was faster.
    pub fn conflict_next(&self, changes: u32) {
        self.conflicts.set(changes);
    }

    /// All values that are not empty.
    #[must_use]
    pub fn values(&self) -> Vec<Vec<u8>> {
        let values = self.values.borrow();
        values.values().filter(|(bytes, _)| !bytes.is_empty()).map(|(b, _)| b.clone()).collect()
    }

    /// How often a value was changed.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.get()
    }

    /// Replaces every value, as another version of the filter might.
    pub fn overwrite_all(&self, bytes: &[u8]) {
        for (value, version) in self.values.borrow_mut().values_mut() {
            *value = bytes.into();
            *version = self.next_version();
        }
    }

    fn next_version(&self) -> u32 {
        self.versions.set(self.versions.get() + 1);
        self.versions.get()
    }

    pub(super) fn get(&self, key: &str) -> (Vec<u8>, u32) {
        self.values.borrow().get(key).cloned().unwrap_or((Vec::new(), CAS_ABSENT))
    }

    pub(super) fn set(&self, key: &str, value: &[u8], version: u32) -> Result<(), CasMismatch> {
        if self.conflicts.get() > 0 {
            self.conflicts.set(self.conflicts.get() - 1);
            return Err(CasMismatch);
        }
        let mut values = self.values.borrow_mut();
        if values.get(key).is_some_and(|(_, now)| *now != version) {
            return Err(CasMismatch);
        }
        values.insert(key.into(), (value.into(), self.next_version()));
        self.writes.set(self.writes.get() + 1);
        Ok(())
    }
}
