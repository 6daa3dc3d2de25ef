//! A copy taken under load, and a life from it.

use reqwest::StatusCode;
use tollway_core::wire::HoldReply;

use crate::process::{Process, assert_audit_clean, run};
use crate::support::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/tollwayd.toml");

#[tokio::test]
async fn a_backup_beside_a_server_is_one_moment_and_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(directory.path());
    let paid = process.doors.paid(5_000).await;
    let id = new_id();
    process.doors.hold(id, &paid, 2_000).await;
    let arguments = ["backup", "--config", EXAMPLE, "copy.db"];
    let (code, out, err) = run(directory.path(), &arguments);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("backup: ") && out.ends_with(" bytes in copy.db\n"), "{out}");
    let (code, _, err) = run(directory.path(), &arguments);
    assert_eq!((code, err.as_str()), (70, "tollwayd: copy.db exists already; name a new file\n"));
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(directory.path().join("copy.db")).unwrap(),
    );
    assert_eq!(mode & 0o777, 0o600, "it holds the keys");
    process.doors.post(vec![posting(id, 0, 2_000, true)]).await;
    process.kill_9();

    // The copy knows nothing of what came after it, and its books agree.
    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("copy.db"), restored.path().join("tollwayd.db")).unwrap();
    assert_audit_clean(restored.path());
    let process = Process::start(restored.path());
    let view = process.doors.account(paid.hash).await;
    assert_eq!(
        (view["balance_msat"].as_u64(), view["held_msat"].as_u64()),
        (Some(5_000), Some(2_000))
    );
    // The filter reports again what it was not told: counted once.
    process.doors.post(vec![posting(id, 0, 2_000, true)]).await;
    assert_eq!(process.doors.account(paid.hash).await["balance_msat"], 3_000);
    let response = process.doors.put_hold(new_id(), &hold_request(&paid, 3_000)).await;
    let reply: HoldReply = expect(response, StatusCode::OK).await;
    assert!(matches!(reply, HoldReply::Granted { .. }));
}

#[test]
fn without_a_store_there_is_no_backup_and_nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = run(directory.path(), &["backup", "--config", EXAMPLE, "copy.db"]);
    assert!(code == 70 && err.contains("tollwayd.db"), "{err}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
