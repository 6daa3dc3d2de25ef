//! Exports: whole tables, page by page.

use std::collections::BTreeSet;

use super::*;

const CHARGES: u32 = 1_250;

/// Two accounts with many charges each, on one hold per account, and many holds.
async fn give_a_past(bench: &Bench) {
    for (tag, id) in [(1, 1), (2, 2)] {
        bench.paid(tag, 10_000_000).await;
        bench.ledger.hold(order(id, hash(tag), 5_000)).await.unwrap();
        let rows = (0..CHARGES).map(|seq| posting(id, seq, 1, false)).collect();
        bench.post(rows).await.unwrap();
    }
    let held = (3..1_103).map(|id| bench.ledger.hold(order(id, hash(1), 1)));
    assert!(futures_util::future::join_all(held).await.iter().all(Result::is_ok));
}

async fn all(bench: &Bench, table: Table, selection: Selection) -> Vec<Vec<Cell>> {
    let mut export = bench.ledger.export(table, selection);
    let mut rows = Vec::new();
    loop {
        let page = export.next().await.unwrap();
        assert!(page.rows.len() <= 1_000, "a page is bounded");
        if page.rows.is_empty() {
            return rows;
        }
        rows.extend(page.rows);
    }
}

fn column(columns: &[&str], name: &str) -> usize {
    columns.iter().position(|column| *column == name).unwrap()
}

pub(super) async fn an_export_has_every_row_once_in_the_order_of_its_key(bench: Bench) {
    give_a_past(&bench).await;
    let first = bench.ledger.export(Table::Entries, Selection::default()).next().await.unwrap();
    let (account, n) = (column(&first.columns, "account"), column(&first.columns, "n"));
    let rows = all(&bench, Table::Entries, Selection::default()).await;
    let found: Vec<_> = rows.iter().map(|row| (row[account].clone(), row[n].clone())).collect();
    let expected = [1, 2].into_iter().flat_map(|tag| {
        let name = Cell::Name(hash(tag).to_hex());
        (1..=i64::from(CHARGES) + 1).map(move |n| (name.clone(), Cell::Number(n)))
    });
    assert!(found.into_iter().eq(expected));
    for (table, count) in [
        (Table::Accounts, 2),
        (Table::Invoices, 2),
        (Table::Holds, 1_102),
        (Table::Postings, 2 * usize::try_from(CHARGES).unwrap()),
        (Table::Audit, 0),
    ] {
        let rows = all(&bench, table, Selection::default()).await;
        assert_eq!(rows.len(), count, "{table:?}");
        let different: BTreeSet<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!(different.len(), count, "{table:?}");
        assert_eq!(rows, all(&bench, table, Selection::default()).await, "{table:?} again");
    }
    let one = Selection { account: Some(hash(1)), ..Selection::default() };
    for (table, count) in [
        (Table::Accounts, 1),
        (Table::Entries, CHARGES + 1),
        (Table::Holds, 1_101),
        (Table::Invoices, 1),
        (Table::Postings, CHARGES),
    ] {
        let rows = all(&bench, table, one).await;
        let different: BTreeSet<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!((rows.len(), different.len()), (count as usize, count as usize), "{table:?}");
    }
    for (table, hidden) in [(Table::Invoices, "client"), (Table::Holds, "once_key")] {
        let page = bench.ledger.export(table, Selection::default()).next().await.unwrap();
        assert!(!page.columns.contains(&hidden), "{hidden}");
        assert!(page.rows.iter().all(|row| row.len() == page.columns.len()));
    }
}

pub(super) async fn an_export_misses_and_repeats_nothing_while_others_write(bench: Bench) {
    give_a_past(&bench).await;
    for table in [Table::Entries, Table::Postings, Table::Holds] {
        let before = all(&bench, table, Selection::default()).await;
        let mut export = bench.ledger.export(table, Selection::default());
        let page = export.next().await.unwrap();
        let key: Vec<usize> = ["account", "n", "hold_id", "seq", "id"]
            .iter()
            .filter_map(|name| page.columns.iter().position(|column| column == name))
            .collect();
        let key_of =
            |row: &Vec<Cell>| key.iter().map(|at| format!("{:?}", row[*at])).collect::<Vec<_>>();
        let mut rows = page.rows;
        let mut round = 0;
        loop {
            // Behind the page and before it, also in the account that is under way.
            for (tag, id) in [(1, 1), (2, 2)] {
                let seq = u32::try_from(before.len()).unwrap() + 10_000 + round;
                let posted = bench.post(vec![posting(id, seq, 1, false)]).await;
                assert_eq!(posted, Ok(vec![PostingOutcome::Posted]));
                let new = 1_000_000 + u128::from(seq) * 10 + id;
                bench.ledger.hold(order(new, hash(tag), 1)).await.unwrap();
            }
            round += 1;
            let page = export.next().await.unwrap();
            if page.rows.is_empty() {
                break;
            }
            rows.extend(page.rows);
            assert!(round < 50, "{table:?} never ends beside a writer");
        }
        let keys: Vec<_> = rows.iter().map(key_of).collect();
        let different: BTreeSet<_> = keys.iter().cloned().collect();
        assert_eq!(different.len(), keys.len(), "{table:?}: a row came twice");
        for row in &before {
            assert!(different.contains(&key_of(row)), "{table:?}: {row:?} is missing");
        }
    }
}

pub(super) async fn an_export_can_be_of_one_account_and_of_some_time(bench: Bench) {
    let admin = |id: u8, tag| AdminOrder {
        id: [id; 16],
        actor: "ann".to_owned(),
        reason: "=1+1".to_owned(),
        act: AdminAct::Grant(hash(tag), msat(5)),
    };
    for tag in 1..=4 {
        bench.paid(tag, 1_000).await;
        bench.ledger.hold(order(u128::from(tag), hash(tag), 10)).await.unwrap();
        bench.post(vec![posting(u128::from(tag), 0, 10, true)]).await.unwrap();
        bench.ledger.administer(admin(tag, tag)).await.unwrap();
        bench.clock.advance_ms(1_000);
    }
    let of = |account| Selection { account: Some(hash(account)), ..Selection::default() };
    let between = |since_ms, until_ms| Selection {
        since_ms: Some(START_MS + since_ms),
        until_ms: Some(START_MS + until_ms),
        account: None,
    };
    for (table, each) in [
        (Table::Accounts, 1),
        (Table::Audit, 1),
        (Table::Entries, 3),
        (Table::Holds, 1),
        (Table::Invoices, 1),
        (Table::Postings, 1),
    ] {
        for (selection, count) in [
            (of(3), each),
            (of(9), 0),
            (between(1_000, 3_000), 2 * each),
            (between(1_001, 3_000), each),
            (between(0, 0), 0),
            (Selection { account: Some(hash(2)), ..between(1_000, 2_000) }, each),
            (Selection { account: Some(hash(1)), ..between(1_000, 2_000) }, 0),
        ] {
            let rows = all(&bench, table, selection).await;
            assert_eq!(rows.len(), count, "{table:?} {selection:?}");
        }
    }
}
