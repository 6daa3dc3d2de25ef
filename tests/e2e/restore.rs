//! A backup of a running shop, its disk lost, the backup put back: as docs/ledger.md says.

use std::fs;
use std::process::Command;

use tollway_testkit::stack::{Parts, StackOptions};

use crate::harness::Gateway;
use crate::sold;

#[tokio::test]
async fn a_restored_backup_loses_no_customer_what_was_paid_for() {
    let options = StackOptions { filter: Some(sold::shop()), ..StackOptions::default() };
    let mut gateway = Gateway::with(options).await;
    let before = sold::before(&gateway).await;
    let copy = gateway.stack.dir().join("copy.db");
    let backup = Command::new(Parts::locate().unwrap().tollwayd)
        .args(["backup", "--config"])
        .arg(gateway.stack.tollwayd_config().unwrap())
        .arg(&copy)
        .envs(gateway.stack.store_env())
        .output()
        .unwrap();
    assert!(backup.status.success(), "{backup:?}");
    let after = sold::after(&gateway, &before).await;

    gateway.stack.kill_tollwayd();
    let store = gateway.stack.store();
    fs::rename(&copy, &store).unwrap();
    for end in ["-wal", "-shm"] {
        let mut name = store.clone().into_os_string();
        name.push(end);
        fs::remove_file(name).unwrap();
    }
    gateway.audit();
    gateway.stack.start_tollwayd().await.unwrap();
    sold::restored(&gateway, &before, &after).await;
}
