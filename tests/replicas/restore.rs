//! A dump of the database of two replicas, put back: as docs/ledger.md says.

use tollway_testkit::stack::Replica;

use crate::harness::Gateway;
use crate::{postgres, sold, two_on};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_dump_loses_no_customer_what_was_paid_for() {
    let Some(server) = postgres().await else { return };
    let mut gateway = Gateway::with(two_on(server.url(), sold::shop())).await;
    let before = sold::before(&gateway).await;
    let dump = server.dump().unwrap();
    let after = sold::after(&gateway, &before).await;

    gateway.stack.stop_tollwayd().await.unwrap();
    gateway.stack.kill_replica(Replica::Second);
    server.restore(&dump).unwrap();
    gateway.audit();
    gateway.stack.start_replica(Replica::Second).await.unwrap();
    gateway.stack.start_tollwayd().await.unwrap();
    sold::restored(&gateway, &before, &after).await;
}
