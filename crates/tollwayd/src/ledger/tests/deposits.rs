//! Laws of sessions of the scheme `Payment`.

use tokio::task::JoinSet;

use super::*;

const REALM: &str = "demo";
const RETURN: &str = "lnbcrt1return";

fn opening(payment_hash: PaymentHash) -> OpenSession {
    OpenSession { payment_hash, realm: REALM.to_owned(), return_invoice: RETURN.to_owned() }
}

fn top_up(session: PaymentHash, payment_hash: PaymentHash) -> TopUpSession {
    TopUpSession { session, realm: REALM.to_owned(), payment_hash }
}

fn of_session(order: HoldOrder) -> HoldOrder {
    HoldOrder { rail: Some(OnRail::Session { realm: REALM.to_owned() }), ..order }
}

fn has(balance: u64) -> DepositOutcome {
    DepositOutcome::Deposited { balance: msat(balance) }
}

impl Bench {
    /// An invoice whose payment nobody has reported yet.
    async fn made(&self, tag: u8, amount: u64) -> PaymentHash {
        self.ledger.open_invoice(invoice(tag, amount, None)).await.unwrap();
        hash(tag)
    }

    async fn begin(&self, payment_hash: PaymentHash) -> DepositOutcome {
        self.ledger.open_session(opening(payment_hash)).await.unwrap()
    }

    async fn top_up(&self, session: PaymentHash, payment_hash: PaymentHash) -> DepositOutcome {
        self.ledger.top_up_session(top_up(session, payment_hash)).await.unwrap()
    }

    async fn close(&self, session: PaymentHash) -> CloseOutcome {
        let order = CloseSession { session, realm: REALM.to_owned() };
        self.ledger.close_session(order).await.unwrap()
    }

    async fn returns(&self) -> Vec<ReturnOrder> {
        let (kind, target) = (DeliveryKind::Payout, RETURNS.to_owned());
        let claim = Claim { kind, target, max: 9, lease_ms: 1 };
        let claimed = self.ledger.claim(claim).await.unwrap();
        claimed.iter().map(|it| serde_json::from_str(&it.body).unwrap()).collect()
    }

    async fn closed(&self, session: PaymentHash) -> u64 {
        match self.close(session).await {
            CloseOutcome::Closed { returned, .. } => returned.get(),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) async fn a_session_spends_its_deposits_and_returns_the_rest(bench: Bench) {
    let (session, more) = (bench.made(1, 20_000).await, bench.paid(2, 10_000).await);
    let hold = |id, amount| bench.ledger.hold(of_session(order(id, session, amount)));
    assert_eq!(hold(1, 5_000).await.unwrap(), refused(HoldRefusal::UnknownPayment, 20_000));
    assert_eq!(bench.begin(session).await, has(20_000));
    assert_eq!(bench.begin(session).await, has(20_000), "a repeat");
    assert_eq!(hold(1, 5_000).await.unwrap(), granted(session, 5_000, 15_000));
    assert_eq!(hold(2, 5_000).await.unwrap(), granted(session, 5_000, 10_000));
    // A payment counts once, wherever it was credited before.
    for _ in 0..2 {
        assert_eq!(bench.top_up(session, more).await, has(20_000));
    }
    assert_eq!(bench.close(session).await, CloseOutcome::Busy);
    bench.post(vec![posting(1, 0, 5_000, true), posting(2, 0, 1_500, true)]).await.unwrap();
    // Whole sats, once.
    for _ in 0..2 {
        assert_eq!(bench.closed(session).await, 23_000);
    }
    let expected = ReturnOrder { amount_msat: msat(23_000), bolt11: RETURN.to_owned() };
    assert_eq!(bench.returns().await, [expected]);
    assert_eq!(hold(3, 500).await.unwrap(), refused(HoldRefusal::AccountRevoked, 500));
    assert_eq!(bench.begin(session).await, DepositOutcome::Closed);
    assert_eq!(bench.top_up(session, bench.made(3, 1_000).await).await, DepositOutcome::Closed);
    bench.assert_audit_clean().await;
    let bench = bench.reopen().await;
    assert_eq!(bench.closed(session).await, 23_000, "after a restart too");
    bench.assert_audit_clean().await;
}

pub(super) async fn what_one_rail_has_spent_opens_no_session_and_the_other_way_round(bench: Bench) {
    let hold = |order| bench.ledger.hold(order);
    let [token, charge, session] = [1, 2, 3].map(hash);
    for tag in 1..=3 {
        bench.paid(tag, 10_000).await;
    }
    hold(order(1, token, 1_000)).await.unwrap();
    let charged = HoldOrder { rail: Some(OnRail::Charge), ..order(2, charge, 10_000) };
    hold(charged).await.unwrap();
    for spent in [token, charge] {
        assert_eq!(bench.begin(spent).await, DepositOutcome::Unfit);
    }
    assert_eq!(bench.begin(session).await, has(10_000));
    assert_eq!(bench.top_up(session, token).await, DepositOutcome::Unfit);
    let other_rail = refused(HoldRefusal::OtherRail, 0);
    assert_eq!(hold(order(3, session, 1_000)).await.unwrap(), other_rail);
    let charged = HoldOrder { rail: Some(OnRail::Charge), ..order(4, session, 10_000) };
    assert_eq!(hold(charged).await.unwrap(), other_rail);
    // Neither a deposit as a top-up, nor a top-up as a session.
    let more = bench.made(4, 2_000).await;
    assert_eq!(bench.top_up(session, session).await, DepositOutcome::Unfit);
    assert_eq!(bench.top_up(session, more).await, has(12_000));
    assert_eq!(bench.begin(more).await, DepositOutcome::Unfit);
    assert_eq!(hold(order(5, more, 1)).await.unwrap(), other_rail);
    let elsewhere = TopUpSession { realm: "other".to_owned(), ..top_up(session, more) };
    let elsewhere = bench.ledger.top_up_session(elsewhere).await.unwrap();
    assert_eq!(elsewhere, DepositOutcome::NoSession);
    assert_eq!(bench.top_up(more, hash(5)).await, DepositOutcome::NoSession);
    assert_eq!(bench.top_up(session, hash(5)).await, DepositOutcome::UnknownPayment);
    assert_eq!(bench.close(token).await, CloseOutcome::NoSession);
    bench.assert_audit_clean().await;
}

pub(super) async fn no_gift_is_returned_as_money(bench: Bench) {
    for (tag, gift) in [
        (1, NewInvoice { credit: msat(12_000), ..invoice(1, 10_000, None) }),
        (2, NewInvoice { seed: msat(1_000), ..invoice(2, 10_000, None) }),
        (3, NewInvoice { credit_ttl_ms: Some(1_000), ..invoice(3, 10_000, None) }),
    ] {
        bench.ledger.open_invoice(gift).await.unwrap();
        assert_eq!(bench.begin(hash(tag)).await, DepositOutcome::Unfit, "{tag}");
    }
    // A bonus that came to the account by a token stays there.
    let session = bench.paid(4, 10_000).await;
    let bonus = NewInvoice { credit: msat(90_000), ..invoice(5, 10_000, Some(session)) };
    bench.ledger.open_invoice(bonus).await.unwrap();
    assert_eq!(bench.begin(session).await, has(10_000));
    bench.ledger.settle(Settlement::of(hash(5))).await.unwrap();
    bench.ledger.hold(of_session(order(1, session, 4_000))).await.unwrap();
    bench.post(vec![posting(1, 0, 4_000, true)]).await.unwrap();
    assert_eq!(bench.closed(session).await, 6_000);
    bench.assert_audit_clean().await;
}

pub(super) async fn whoever_closes_and_spends_at_once_loses_and_gains_nothing(bench: Bench) {
    let mut at_once = JoinSet::new();
    for tag in 1..=40 {
        let session = bench.paid(tag, 10_000).await;
        bench.begin(session).await;
        for way in 0..3_u128 {
            let ledger = bench.ledger.clone();
            at_once.spawn(async move {
                if way == 1 {
                    let order = CloseSession { session, realm: REALM.to_owned() };
                    ledger.close_session(order).await.unwrap();
                    return;
                }
                let id = u128::from(tag) * 3 + way;
                let spent = ledger.hold(of_session(order(id, session, 7_000))).await.unwrap();
                if matches!(spent, HoldOutcome::Answered(HoldReply::Granted { .. })) {
                    ledger.post(vec![posting(id, 0, 7_000, true)]).await.unwrap();
                }
            });
        }
    }
    at_once.join_all().await;
    for tag in 1..=40 {
        let returned = bench.closed(hash(tag)).await;
        assert!([3_000, 10_000].contains(&returned), "{returned}");
    }
    bench.assert_audit_clean().await;
    let stats = bench.ledger.stats().await.unwrap();
    assert_eq!(stats.balance_msat, 0);
}
