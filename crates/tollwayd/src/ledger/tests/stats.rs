//! Statistics, and the totals that they are read from.

use tollway_core::wire::Window;

use super::*;
use crate::ledger::rows::Total;
use crate::ledger::stats::{Endpoint, Refunds};

fn on(route: &str, order: HoldOrder) -> HoldOrder {
    HoldOrder { route: route.to_owned(), ..order }
}

fn posted(route: &str, posting: Posting) -> Posting {
    Posting { route: route.to_owned(), ..posting }
}

fn free(client: u8, route: &str) -> AllowanceOrder {
    AllowanceOrder {
        client: [client; 32],
        before: Vec::new(),
        window: Window::Day,
        limit: 2,
        cost: 1,
        route: route.to_owned(),
    }
}

fn refund(id: u8, amount: u64) -> AdminOrder {
    AdminOrder {
        id: [id; 16],
        actor: "ann".to_owned(),
        reason: "a bad day".to_owned(),
        act: AdminAct::Refund(hash(1), msat(amount)),
    }
}

pub(super) async fn statistics_come_from_what_happened_and_survive_a_restart(bench: Bench) {
    let nothing = bench.ledger.stats().await.unwrap().dashboard;
    assert_eq!((nothing.total_requests, nothing.conversion, nothing.endpoints.len()), (0, None, 0));
    bench.paid(1, 10_000).await;
    bench.paid(2, 20_000).await;
    for tag in [3, 4] {
        let open = NewInvoice { route: "time".to_owned(), ..invoice(tag, 50_000, None) };
        bench.ledger.open_invoice(open).await.unwrap();
    }
    let holds = [(1, 1, "joke"), (2, 1, "joke"), (3, 2, "time"), (4, 1, "joke"), (5, 2, "joke")];
    for (id, tag, route) in holds {
        bench.ledger.hold(on(route, order(id, hash(tag), 1_500))).await.unwrap();
    }
    let repeated = posted("time", posting(3, 0, 1_200, true));
    let rows = vec![
        // A lease that paid for three requests.
        Posting { requests: 3, ..posting(1, 0, 1_500, true) },
        // One that was refunded, and a lease that nobody used.
        posting(2, 0, 0, true),
        posted("(lease)", posting(5, 0, 0, true)),
        repeated.clone(),
        posting(9, 0, 1, true),
    ];
    bench.ledger.post(rows).await.unwrap();
    bench.ledger.post(vec![repeated]).await.unwrap();
    for _ in 0..3 {
        bench.ledger.allowance(free(7, "joke")).await.unwrap();
    }
    bench.ledger.allowance(free(8, "news")).await.unwrap();
    assert_eq!(bench.ledger.administer(refund(1, 700)).await, Ok(AdminOutcome::Done));
    assert_eq!(bench.ledger.administer(refund(1, 700)).await, Ok(AdminOutcome::Done));
    let stats = bench.ledger.stats().await.unwrap();
    let told = &stats.dashboard;
    assert_eq!((told.total_revenue, told.total_revenue_msat), (2, 2_700));
    assert_eq!((told.total_requests, told.total_paid, told.free), (7, 4, 3));
    assert_eq!((told.unique_payers, told.challenges, told.payments), (2, 4, 2));
    assert_eq!(told.conversion, Some(0.5));
    assert_eq!(told.refunds, Refunds { uncharged: 1, refunded: 1, refunded_msat: 700 });
    let joke = Endpoint {
        revenue: 1,
        requests: 5,
        paid: 3,
        free: 2,
        revenue_msat: 1_500,
        challenges: 2,
        payments: 2,
        conversion: Some(1.0),
        uncharged: 1,
    };
    let time = Endpoint {
        revenue: 1,
        requests: 1,
        paid: 1,
        revenue_msat: 1_200,
        challenges: 2,
        conversion: Some(0.0),
        ..Endpoint::default()
    };
    let news = Endpoint { requests: 1, free: 1, ..Endpoint::default() };
    let expected = [("joke", joke), ("news", news), ("time", time)];
    let expected = expected.map(|(route, endpoint)| (route.to_owned(), endpoint));
    assert_eq!(told.endpoints, expected.into());
    assert_eq!((stats.accounts, stats.invoices_open, stats.invoices_settled), (2, 2, 2));
    assert_eq!((stats.credited_msat, stats.charged_msat), (30_000, 2_700));
    assert_eq!((stats.balance_msat, stats.held_msat, stats.holds_open), (28_000, 1_500, 1));
    assert_eq!((stats.refunded_msat, stats.debt_msat), (700, 0));
    bench.assert_audit_clean().await;
    let bench = bench.reopen().await;
    assert_eq!(bench.ledger.stats().await.unwrap(), stats);
}

pub(super) async fn recent_payments_are_the_newest_twenty(bench: Bench) {
    for tag in 1..=23 {
        bench.clock.advance_ms(1_000);
        let top_up = (tag == 23).then(|| hash(1));
        bench.ledger.open_invoice(invoice(tag, 5_000, top_up)).await.unwrap();
        bench.ledger.settle(Settlement::of(hash(tag))).await.unwrap();
    }
    let recent = bench.ledger.stats().await.unwrap().dashboard.recent_payments;
    let tags: Vec<PaymentHash> = recent.iter().map(|payment| payment.payment_hash).collect();
    assert_eq!(tags, (4..=23).rev().map(hash).collect::<Vec<_>>());
    let newest = &recent[0];
    assert_eq!((newest.endpoint.as_str(), newest.amount_sats), ("joke", 5));
    assert_eq!((newest.payer_id, newest.timestamp), (hash(1), START_MS + 23_000));
}

pub(super) async fn a_debt_is_revenue_when_it_is_repaid(bench: Bench) {
    bench.paid(1, 1_000).await;
    bench.ledger.hold(order(1, hash(1), 1_000)).await.unwrap();
    let overrun = Overrun::Debt { limit_msat: msat(5_000) };
    let row = Posting { overrun, ..posting(1, 0, 3_000, true) };
    bench.ledger.post(vec![row]).await.unwrap();
    let stats = bench.ledger.stats().await.unwrap();
    assert_eq!((stats.charged_msat, stats.debt_msat, stats.balance_msat), (1_000, 2_000, 0));
    bench.ledger.open_invoice(invoice(2, 1_500, Some(hash(1)))).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(2))).await.unwrap();
    let stats = bench.ledger.stats().await.unwrap();
    assert_eq!((stats.charged_msat, stats.debt_msat, stats.balance_msat), (2_500, 500, 0));
    assert_eq!((stats.dashboard.total_revenue_msat, stats.dashboard.total_paid), (2_500, 1));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_planted_total_is_named(bench: Bench) {
    bench.paid(1, 1_000).await;
    bench.ledger.hold(order(1, hash(1), 400)).await.unwrap();
    bench.post(vec![posting(1, 0, 400, true)]).await.unwrap();
    bench.assert_audit_clean().await;
    let add = |amount_msat: i64, times: u64| {
        move |tables: &mut Tables| {
            let charge = |total: &&Total| total.kind == "charge";
            let total = tables.totals.iter().find(charge).unwrap().clone();
            let amount_msat = total.amount_msat + amount_msat;
            tables.totals.load(Total { amount_msat, times: total.times + times, ..total });
        }
    };
    let sql = "UPDATE totals SET amount_msat = amount_msat - 7 WHERE kind = 'charge'";
    bench.damage(sql, add(-7, 0)).await;
    let found = bench.ledger.audit().await.unwrap().differences;
    let amounts: Vec<_> = found.iter().map(|it| (it.check, it.claimed, it.recorded)).collect();
    let check = "amount_msat of a route's total against its records";
    assert_eq!(amounts, [(check, -407, -400)]);
    assert_eq!(found[0].about.as_deref(), Some("charge of route 'joke'"));
    let sql = "UPDATE totals SET amount_msat = amount_msat + 7, times = times + 1
               WHERE kind = 'charge'";
    bench.damage(sql, add(7, 1)).await;
    let found = bench.ledger.audit().await.unwrap().differences;
    let times: Vec<_> = found.iter().map(|it| (it.check, it.claimed, it.recorded)).collect();
    assert_eq!(times, [("times of a route's total against its records", 2, 1)]);
    assert_eq!(
        found[0].to_string(),
        "times of a route's total against its records: expected 1, but found 2 \
         (charge of route 'joke')"
    );
}
