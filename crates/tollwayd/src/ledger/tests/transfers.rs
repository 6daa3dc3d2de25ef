//! Laws of payments that a facilitator settles.

use tokio::task::JoinSet;

use super::*;

const TTL: u64 = 10_000;

fn id(tag: u8) -> TransferId {
    TransferId::new([tag; 32])
}

fn reservation(tag: u8, hold: u128) -> Reservation {
    Reservation {
        id: id(tag),
        hold: hold_id(hold),
        units: "3200".to_owned(),
        payer: "0xpayer".to_owned(),
        price: msat(5_000),
        route: "joke".to_owned(),
        ttl_ms: TTL,
    }
}

fn start(tag: u8, hold: u128) -> SettlementStart {
    SettlementStart { id: id(tag), hold: hold_id(hold), units: "3200".to_owned(), ttl_ms: TTL }
}

fn end(tag: u8, hold: u128, verdict: Verdict) -> SettlementEnd {
    SettlementEnd { id: id(tag), hold: hold_id(hold), verdict }
}

fn settled() -> Verdict {
    Verdict::Settled { transaction: "0xtx".to_owned() }
}

const ASK: StartOutcome = StartOutcome::Ask;

impl Bench {
    async fn reserve(&self, tag: u8, hold: u128) -> ReservationOutcome {
        self.ledger.reserve_transfer(reservation(tag, hold)).await.unwrap()
    }

    async fn start(&self, tag: u8, hold: u128) -> StartOutcome {
        self.ledger.start_settlement(start(tag, hold)).await.unwrap()
    }

    async fn end(&self, tag: u8, hold: u128, verdict: Verdict) -> EndOutcome {
        self.ledger.end_settlement(end(tag, hold, verdict)).await.unwrap()
    }
}

pub(super) async fn a_transfer_is_reserved_for_one_request(bench: Bench) {
    use ReservationOutcome::{Conflict, Reserved, Taken};
    assert_eq!(bench.reserve(1, 1).await, Reserved);
    assert_eq!(bench.reserve(1, 1).await, Reserved, "a repeat of the call");
    assert_eq!(bench.reserve(1, 2).await, Taken);
    assert_eq!(bench.reserve(2, 2).await, Reserved, "another transfer");
    let other = Reservation { units: "3201".to_owned(), ..reservation(1, 1) };
    assert_eq!(bench.ledger.reserve_transfer(other).await, Ok(Conflict));
    assert_eq!(bench.start(1, 2).await, StartOutcome::Lost, "only who reserved it");
    assert_eq!(bench.start(3, 1).await, StartOutcome::Lost);
    let more = SettlementStart { units: "3201".to_owned(), ..start(1, 1) };
    assert_eq!(bench.ledger.start_settlement(more).await, Ok(StartOutcome::Lost));
    let bench = bench.reopen().await;
    assert_eq!(bench.reserve(1, 2).await, Taken, "it survives a restart");
    bench.clock.advance_ms(TTL);
    assert_eq!(bench.reserve(1, 2).await, Reserved, "nobody has it any more");
    assert_eq!(bench.start(1, 1).await, StartOutcome::Lost);
    assert_eq!(bench.start(1, 2).await, ASK);
}

pub(super) async fn a_settled_transfer_is_credit_once(bench: Bench) {
    bench.reserve(1, 1).await;
    assert_eq!(bench.start(1, 1).await, ASK);
    assert_eq!(bench.end(1, 1, settled()).await, EndOutcome::Credited);
    assert_eq!(bench.end(1, 1, settled()).await, EndOutcome::Credited);
    assert_eq!(bench.end(1, 1, Verdict::Refused).await, EndOutcome::Credited);
    let account = id(1).payment_hash();
    assert_eq!(bench.sums(account).await, (5_000, 0));
    assert_eq!(bench.reserve(1, 2).await, ReservationOutcome::Settled);
    assert_eq!(bench.start(1, 2).await, StartOutcome::Settled);
    let held = bench.ledger.hold(order(1, account, 5_000)).await.unwrap();
    assert_eq!(held, granted(account, 5_000, 0));
    let again = bench.ledger.hold(order(2, account, 5_000)).await.unwrap();
    assert!(matches!(again, HoldOutcome::Answered(HoldReply::Refused { .. })), "{again:?}");
    bench.assert_audit_clean().await;
}

pub(super) async fn a_refused_transfer_may_be_tried_anew(bench: Bench) {
    bench.reserve(1, 1).await;
    bench.start(1, 1).await;
    assert_eq!(bench.end(1, 1, Verdict::Refused).await, EndOutcome::Refused);
    assert_eq!(bench.start(1, 1).await, StartOutcome::Lost);
    assert_eq!(bench.reserve(1, 2).await, ReservationOutcome::Reserved);
    assert_eq!(bench.start(1, 2).await, ASK);
    assert_eq!(bench.end(1, 2, settled()).await, EndOutcome::Credited);
    assert_eq!(bench.sums(id(1).payment_hash()).await, (5_000, 0));
}

/// The facilitator was asked and nobody heard: the process died, or no answer came.
pub(super) async fn after_a_silence_only_a_yes_counts(bench: Bench) {
    bench.reserve(1, 1).await;
    assert_eq!(bench.start(1, 1).await, ASK);
    let bench = bench.reopen().await;
    assert_eq!(bench.start(1, 2).await, StartOutcome::Taken, "an answer may still come");
    assert_eq!(bench.reserve(1, 2).await, ReservationOutcome::Taken);
    bench.clock.advance_ms(TTL);
    assert_eq!(bench.reserve(1, 2).await, ReservationOutcome::Unknown);
    assert_eq!(bench.start(1, 2).await, ASK);
    // The facilitator's "no" may be about the transfer that it made when it was silent.
    assert_eq!(bench.end(1, 2, Verdict::Refused).await, EndOutcome::Unknown);
    assert_eq!(bench.reserve(1, 3).await, ReservationOutcome::Unknown);
    assert_eq!(bench.start(1, 3).await, ASK);
    assert_eq!(bench.end(1, 3, Verdict::Unknown).await, EndOutcome::Unknown);
    assert_eq!(bench.start(1, 4).await, ASK);
    // A late word of an earlier request: no "no" ends the wait of the one that asks now.
    assert_eq!(bench.end(1, 3, Verdict::Unknown).await, EndOutcome::Unknown);
    assert_eq!(bench.start(1, 5).await, StartOutcome::Taken);
    assert_eq!(bench.end(1, 3, settled()).await, EndOutcome::Credited);
    assert_eq!(bench.end(1, 4, Verdict::Refused).await, EndOutcome::Credited);
    assert_eq!(bench.sums(id(1).payment_hash()).await, (5_000, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn the_janitor_keeps_what_may_have_been_settled(bench: Bench) {
    for tag in 1..=4 {
        bench.reserve(tag, tag.into()).await;
    }
    for tag in 2..=4 {
        bench.start(tag, tag.into()).await;
    }
    bench.end(3, 3, settled()).await;
    bench.end(4, 4, Verdict::Refused).await;
    bench.clock.advance_ms(2 * 86_400_000);
    bench.ledger.prune().await.unwrap();
    assert_eq!(bench.start(1, 1).await, StartOutcome::Lost);
    assert_eq!(bench.reserve(2, 9).await, ReservationOutcome::Unknown);
    assert_eq!(bench.reserve(3, 9).await, ReservationOutcome::Settled);
    assert_eq!(bench.start(4, 4).await, StartOutcome::Lost);
}

pub(super) async fn of_sixty_four_requests_one_has_the_transfer(bench: Bench) {
    let mut requests = JoinSet::new();
    for hold in 0..64 {
        let ledger = bench.ledger.clone();
        requests.spawn(async move {
            let outcome = ledger.reserve_transfer(reservation(1, hold)).await.unwrap();
            if outcome != ReservationOutcome::Reserved {
                return false;
            }
            let asks = ledger.start_settlement(start(1, hold)).await.unwrap() == ASK;
            let ended = ledger.end_settlement(end(1, hold, settled())).await.unwrap();
            assert_eq!(ended, EndOutcome::Credited);
            asks
        });
    }
    let asked = requests.join_all().await;
    assert_eq!(asked.into_iter().filter(|asked| *asked).count(), 1);
    assert_eq!(bench.sums(id(1).payment_hash()).await, (5_000, 0));
    bench.assert_audit_clean().await;
}
