//! What is written down for others, and who sends it.

use serde_json::{Value, json};

use super::*;
use crate::ledger::reads::Query;
use crate::ledger::rows::{Delivery, DeliveryState};

const LEASE_MS: u64 = 40_000;

fn subscribe(ledger: &Ledger) {
    let of = |target: &str, happenings: &[Happening]| Subscription {
        target: target.to_owned(),
        happenings: happenings.to_vec(),
    };
    let all = of("all", &[Happening::Payment, Happening::TopUp, Happening::Refund]);
    let refunds = of("refunds", &[Happening::Refund]);
    ledger.subscribe(Subscriptions { webhooks: vec![all, refunds], splits: Vec::new() });
}

async fn rows(ledger: &Ledger) -> Vec<Delivery> {
    ledger.reader.rows(Query::all()).await.unwrap()
}

async fn claim(ledger: &Ledger, target: &str, max: u32) -> Vec<Claimed> {
    let kind = DeliveryKind::Webhook;
    let claim = Claim { kind, target: target.to_owned(), max, lease_ms: LEASE_MS };
    ledger.claim(claim).await.unwrap()
}

async fn report(ledger: &Ledger, of: &Claimed, news: News) -> bool {
    ledger.report(Report { id: of.id, attempt: of.attempt, news }).await.unwrap()
}

fn refund(id: u8, of: PaymentHash, amount: u64) -> AdminOrder {
    let (actor, reason) = ("ann".to_owned(), "an apology".to_owned());
    AdminOrder { id: [id; 16], actor, reason, act: AdminAct::Refund(of, msat(amount)) }
}

pub(super) async fn what_happens_is_written_down_once_for_those_who_asked(bench: Bench) {
    subscribe(&bench.ledger);
    let one = bench.paid(1, 1_000).await;
    bench.ledger.open_invoice(invoice(2, 500, Some(one))).await.unwrap();
    for _ in 0..2 {
        bench.ledger.settle(Settlement::of(hash(2))).await.unwrap();
        bench.ledger.hold(order(1, one, 300)).await.unwrap();
        bench.post(vec![posting(1, 0, 300, true)]).await.unwrap();
        bench.ledger.administer(refund(1, one, 200)).await.unwrap();
    }
    // What is refused, and what does not fit, is no news.
    let refused = bench.ledger.administer(refund(2, one, 200)).await;
    assert_eq!(refused, Ok(AdminOutcome::ExceedsCharges));
    bench.ledger.open_invoice(invoice(3, Msat::MAX.get() - 1_400, Some(one))).await.unwrap();
    bench.ledger.open_invoice(invoice(4, 100, Some(one))).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(4))).await.unwrap();
    let full = bench.ledger.settle(Settlement::of(hash(3))).await;
    assert_eq!(full, Ok(SettleOutcome::BalanceLimit));

    let bench = bench.reopen().await;
    let mut said: Vec<(String, Value)> = Vec::new();
    for row in rows(&bench.ledger).await {
        assert_eq!((row.state, row.attempts, row.account), (DeliveryState::Open, 0, one));
        let body: Value = serde_json::from_str(&row.body).unwrap();
        assert_eq!(body["payment_hash"], json!(row.payment_hash));
        said.push((row.target, body));
    }
    said.sort_by_key(|(target, body)| (target.clone(), body["amount_msat"].as_u64()));
    let told =
        |target: &'static str| said.iter().filter(move |(to, _)| to == target).map(|(_, it)| it);
    let kinds: Vec<_> = told("all").map(|it| (&it["type"], &it["amount_msat"])).collect();
    let expected = json!([["top_up", 100], ["refund", 200], ["top_up", 500], ["payment", 1_000]]);
    assert_eq!(json!(kinds), expected);
    let first = told("all").next_back().unwrap();
    let id = &first["id"];
    let body = json!({
        "id": id, "type": "payment", "payment_hash": one, "account": one, "amount_msat": 1_000,
        "credit_msat": 1_000, "buys": "credit", "route": "joke", "settled_at": START_MS / 1_000,
    });
    assert_eq!(first, &body);
    let ids: std::collections::BTreeSet<_> = told("all").map(|it| it["id"].to_string()).collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    let (refund, of_all) = (told("refunds").next().unwrap(), told("all").nth(1).unwrap());
    assert_eq!(refund, of_all, "one event has the same id for every receiver");
    assert_eq!(told("refunds").count(), 1);
    bench.assert_audit_clean().await;
}

pub(super) async fn what_is_taken_is_taken_by_nobody_else_before_its_time(bench: Bench) {
    subscribe(&bench.ledger);
    for tag in 1..=3 {
        bench.paid(tag, 1_000).await;
        bench.clock.advance_ms(1);
    }
    assert_eq!(claim(&bench.ledger, "refunds", 9).await, []);
    let first = claim(&bench.ledger, "all", 2).await;
    let hashes: Vec<_> = first.iter().map(|it| it.payment_hash).collect();
    assert_eq!(hashes, [hash(1), hash(2)], "the longest waiting first");
    assert_eq!(claim(&bench.ledger, "all", 9).await.len(), 1);
    assert_eq!(claim(&bench.ledger, "all", 9).await, []);
    assert!(report(&bench.ledger, &first[0], News::Sent).await);
    let later_ms = bench.clock.now_ms() + 5_000;
    assert!(report(&bench.ledger, &first[1], News::Later(later_ms)).await);
    bench.clock.set_ms(later_ms - 1);
    assert_eq!(claim(&bench.ledger, "all", 9).await, []);
    bench.clock.advance_ms(1);
    let again = claim(&bench.ledger, "all", 9).await;
    assert_eq!((again.len(), again[0].id, again[0].attempt), (1, first[1].id, 2));
    assert_eq!(again[0].body, first[1].body);
    // Who took it first, and comes late, changes nothing.
    assert!(!report(&bench.ledger, &first[1], News::Sent).await);
    // Who dies with it leaves it to others, after a while and a restart.
    let bench = bench.reopen().await;
    bench.clock.advance_ms(LEASE_MS - 1);
    assert_eq!(claim(&bench.ledger, "all", 9).await.len(), 1, "the third, whose time came first");
    bench.clock.advance_ms(1);
    let last = claim(&bench.ledger, "all", 9).await;
    assert_eq!((last[0].id, last[0].attempt), (first[1].id, 3));
    assert!(report(&bench.ledger, &last[0], News::Sent).await);
    assert!(!report(&bench.ledger, &last[0], News::Sent).await, "it has ended");
}

pub(super) async fn what_is_given_up_leaves_a_line_and_is_never_taken_again(bench: Bench) {
    subscribe(&bench.ledger);
    let one = bench.paid(1, 1_000).await;
    let taken = claim(&bench.ledger, "all", 9).await;
    let reason = "the receiver answered 500".to_owned();
    assert!(report(&bench.ledger, &taken[0], News::GivenUp(reason.clone())).await);
    assert!(!report(&bench.ledger, &taken[0], News::GivenUp(reason)).await);
    bench.clock.advance_ms(86_400_000);
    assert_eq!(claim(&bench.ledger, "all", 9).await, []);
    let line = bench.ledger.actions().await.unwrap().pop().unwrap();
    let line = serde_json::to_value(line).unwrap();
    assert_eq!((&line["kind"], &line["actor"]), (&json!("give_up"), &json!("tollwayd")));
    let said = line["reason"].as_str().unwrap();
    assert_eq!(said, "webhook \"all\" was given up after 1 tries: the receiver answered 500");
    assert_eq!(line["account"], json!(one));
    let metrics = bench.metrics.encode();
    assert!(metrics.contains("tollwayd_deliveries_total{outcome=\"given_up\"} 1"), "{metrics}");
}

pub(super) async fn what_is_given_up_is_tried_again_if_an_operator_says_so(bench: Bench) {
    subscribe(&bench.ledger);
    bench.paid(1, 1_000).await;
    let given_up = async |attempt: u32| {
        let taken = claim(&bench.ledger, "all", 9).await;
        assert_eq!((taken.len(), taken[0].attempt), (1, attempt));
        assert!(report(&bench.ledger, &taken[0], News::GivenUp("no".to_owned())).await);
        taken[0].clone()
    };
    let retry = async |id: u8, delivery: [u8; 16], reason: &str| {
        let (actor, reason) = ("ann".to_owned(), reason.to_owned());
        bench.ledger.retry(Retry { id: [id; 16], actor, reason, delivery }).await.unwrap()
    };
    let old = given_up(1).await;
    let shown = bench.ledger.given_up().await.unwrap();
    assert_eq!((shown.len(), shown[0].kind, shown[0].attempts), (1, "webhook", 1));
    assert_eq!(shown[0].id, HoldId::from_bytes(old.id).to_string());
    assert_eq!(retry(1, [9; 16], "r").await, RetryOutcome::Unknown);
    for _ in 0..2 {
        assert_eq!(retry(1, old.id, "it is back").await, RetryOutcome::Done);
    }
    assert_eq!(retry(1, old.id, "another").await, RetryOutcome::Conflict);
    assert_eq!(retry(2, old.id, "once more").await, RetryOutcome::NotGivenUp);
    assert_eq!(bench.ledger.given_up().await.unwrap(), []);
    // Whoever tried before has no say in it.
    assert!(!report(&bench.ledger, &old, News::Sent).await);
    let again = given_up(3).await;
    assert_eq!((again.id, &again.body), (old.id, &old.body));
    assert_eq!(retry(2, old.id, "once more").await, RetryOutcome::Done);
    let last = claim(&bench.ledger, "all", 9).await;
    assert!(report(&bench.ledger, &last[0], News::Sent).await);
    assert_eq!(retry(3, old.id, "and again").await, RetryOutcome::NotGivenUp);
    let lines = bench.ledger.actions().await.unwrap();
    let lines: Vec<_> = lines.iter().map(|line| (line.kind, line.reason.as_str())).collect();
    let said = "webhook \"all\" was given up after";
    assert!(lines.contains(&("give_up", &format!("{said} 1 tries: no"))), "{lines:?}");
    assert!(lines.contains(&("give_up", &format!("{said} 3 tries: no"))), "{lines:?}");
    assert!(lines.contains(&("retry", "it is back (webhook \"all\")")), "{lines:?}");
}

pub(super) async fn sixty_four_couriers_take_each_once(bench: Bench) {
    subscribe(&bench.ledger);
    for tag in 1..=40 {
        bench.paid(tag, 1_000).await;
    }
    let mut couriers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let ledger = bench.ledger.clone();
        couriers.spawn(async move { claim(&ledger, "all", 3).await });
    }
    let mut ids: Vec<_> = couriers.join_all().await.into_iter().flatten().map(|it| it.id).collect();
    // Who looked while another was at it may have come away with nothing.
    ids.extend(claim(&bench.ledger, "all", 40).await.into_iter().map(|it| it.id));
    assert_eq!(ids.len(), 40);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40, "none is taken twice");
}

pub(super) async fn sent_news_are_deleted_after_a_week_and_open_ones_stay(bench: Bench) {
    subscribe(&bench.ledger);
    bench.paid(1, 1_000).await;
    bench.paid(2, 1_000).await;
    let taken = claim(&bench.ledger, "all", 1).await;
    assert!(report(&bench.ledger, &taken[0], News::Sent).await);
    bench.clock.advance_ms(7 * 86_400_000);
    bench.ledger.prune().await.unwrap();
    assert_eq!(rows(&bench.ledger).await.len(), 2);
    bench.clock.advance_ms(1);
    bench.ledger.prune().await.unwrap();
    let left = rows(&bench.ledger).await;
    assert_eq!((left.len(), left[0].state), (1, DeliveryState::Open));
}

fn split(target: &str, basis_points: u32, routes: Option<&str>) -> Split {
    Split {
        target: target.to_owned(),
        routes: routes.map(|route| vec![route.to_owned()]),
        basis_points,
        min: msat(2_000),
        max: msat(50_000),
    }
}

pub(super) async fn shares_are_of_what_was_paid_rounded_down_to_whole_sats(bench: Bench) {
    let splits = vec![
        split("all", 250, None),
        split("jokes", 3_333, Some("joke")),
        split("songs", 5_000, Some("song")),
    ];
    bench.ledger.subscribe(Subscriptions { webhooks: Vec::new(), splits });
    // A bonus is no payment: the share is of 100 sat and 199 msat.
    let mut generous = invoice(1, 100_199, None);
    generous.credit = msat(900_000);
    bench.ledger.open_invoice(generous).await.unwrap();
    for _ in 0..2 {
        bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    }
    // Of 6 sat, 2.5 % is below the least and 33.33 % is not; of 200 sat, one is above the most.
    bench.paid(2, 6_500).await;
    bench.paid(3, 200_000).await;
    let bench = bench.reopen().await;
    let mut shares: Vec<_> = rows(&bench.ledger)
        .await
        .into_iter()
        .map(|row| (row.payment_hash, row.target, row.body, row.state))
        .collect();
    shares.sort_by(|one, two| (one.0, &one.1).cmp(&(two.0, &two.1)));
    let share = |tag, target: &str, amount: u64, state| {
        (hash(tag), target.to_owned(), format!("{{\"amount_msat\":{amount}}}"), state)
    };
    let (open, given_up) = (DeliveryState::Open, DeliveryState::GivenUp);
    assert_eq!(
        shares,
        [
            share(1, "all", 2_000, open),
            share(1, "jokes", 33_000, open),
            share(2, "jokes", 2_000, open),
            share(3, "all", 5_000, open),
            share(3, "jokes", 66_000, given_up),
        ]
    );
    let lines = serde_json::to_value(bench.ledger.actions().await.unwrap()).unwrap();
    let reason = lines[0]["reason"].as_str().unwrap();
    assert!(reason.contains("is above splits.max_sats"), "{reason}");
    // The operator's books are not touched: a share is the operator's own expense.
    assert_eq!(bench.sums(hash(1)).await, (900_000, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_chosen_invoice_is_kept_and_only_by_who_has_the_share(bench: Bench) {
    let splits = vec![split("all", 250, None)];
    bench.ledger.subscribe(Subscriptions { webhooks: Vec::new(), splits });
    bench.paid(1, 100_000).await;
    let claim = async |bench: &Bench| {
        let kind = DeliveryKind::Payout;
        let claim = Claim { kind, target: "all".to_owned(), max: 9, lease_ms: LEASE_MS };
        bench.ledger.claim(claim).await.unwrap().pop()
    };
    let first = claim(&bench).await.unwrap();
    bench.clock.advance_ms(LEASE_MS);
    let second = claim(&bench).await.unwrap();
    let until_ms = bench.clock.now_ms() + 2 * LEASE_MS;
    let chosen = |note: &str| News::Chosen { note: note.to_owned(), until_ms };
    assert!(!report(&bench.ledger, &first, chosen("one")).await, "it was overtaken");
    assert!(report(&bench.ledger, &second, chosen("two")).await);
    bench.clock.set_ms(until_ms - 1);
    assert_eq!(claim(&bench).await, None, "it has got more time");
    let bench = bench.reopen().await;
    bench.clock.advance_ms(1);
    let third = claim(&bench).await.unwrap();
    assert_eq!((third.note.as_deref(), third.attempt), (Some("two"), 3));
    let news = News::PaidOut { amount: msat(2_000), invoice: hash(9) };
    assert!(report(&bench.ledger, &third, news).await);
    let lines = serde_json::to_value(bench.ledger.actions().await.unwrap()).unwrap();
    assert_eq!((&lines[0]["kind"], &lines[0]["amount_msat"]), (&json!("payout"), &json!(2_000)));
    let reason = lines[0]["reason"].as_str().unwrap();
    assert!(reason.contains(&hash(9).to_hex()), "{reason}");
    // What was paid out stays on record.
    bench.clock.advance_ms(30 * 86_400_000);
    bench.ledger.prune().await.unwrap();
    assert_eq!(rows(&bench.ledger).await.len(), 1);
}

pub(super) async fn no_share_of_a_payment_that_was_lost_goes_out(bench: Bench) {
    let splits = vec![split("all", 250, None)];
    bench.ledger.subscribe(Subscriptions { webhooks: Vec::new(), splits });
    let lost = LostInvoice {
        payment_hash: hash(1),
        bolt11: "lost".to_owned(),
        amount: msat(100_000),
        received: msat(100_000),
        terms: None,
        imported: false,
        created_at_ms: START_MS,
        expires_at_ms: START_MS + 1,
    };
    assert_eq!(bench.ledger.restore_invoice(lost.clone()).await, Ok(SettleOutcome::Credited));
    let known = rows(&bench.ledger).await;
    assert_eq!((known.len(), known[0].state), (1, DeliveryState::GivenUp));
    let lines = serde_json::to_value(bench.ledger.actions().await.unwrap()).unwrap();
    assert!(lines.to_string().contains("may have been paid out before"), "{lines}");
    // What the ledger had not lost goes out as ever.
    bench.ledger.open_invoice(invoice(2, 100_000, None)).await.unwrap();
    let known = LostInvoice { payment_hash: hash(2), ..lost };
    assert_eq!(bench.ledger.restore_invoice(known).await, Ok(SettleOutcome::Credited));
    let open = rows(&bench.ledger).await.into_iter().filter(|it| it.state == DeliveryState::Open);
    assert_eq!(open.count(), 1);
}

/// On two replicas.
pub(super) async fn replicas_take_each_once(ledgers: [Ledger; 2]) {
    subscribe(&ledgers[0]);
    subscribe(&ledgers[1]);
    for tag in 1..=100 {
        ledgers[0].open_invoice(invoice(tag, 1_000, None)).await.unwrap();
        let (one, two) = tokio::join!(
            ledgers[0].settle(Settlement::of(hash(tag))),
            ledgers[1].settle(Settlement::of(hash(tag)))
        );
        assert_ne!(one.unwrap(), two.unwrap(), "one of them credits");
    }
    let mut couriers = tokio::task::JoinSet::new();
    for number in 0..60 {
        let ledger = ledgers[number % 2].clone();
        couriers.spawn(async move { claim(&ledger, "all", 2).await });
    }
    let mut ids: Vec<_> = couriers.join_all().await.into_iter().flatten().map(|it| it.id).collect();
    ids.extend(claim(&ledgers[1], "all", 100).await.into_iter().map(|it| it.id));
    let taken = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((taken, ids.len()), (100, 100));
}
