//! Coupons and supplies: what is taken comes back if nothing came of it, and is never sold twice.

use tokio::task::JoinSet;
use tollway_core::budget::BudgetWindow;
use tollway_core::digest::Digest;
use tollway_core::wire::SaleRefusal;

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn stock(name: &str, limit: u64, window: BudgetWindow) -> StockOrder {
    let id = Digest::of(&[name.as_bytes()]);
    StockOrder { id, name: name.to_owned(), limit, window }
}

fn coupon(limit: u64, per_account: Option<u64>) -> CouponOrder {
    CouponOrder { stock: stock("coupon X", limit, BudgetWindow::Total), per_account }
}

/// An invoice over 100 for 150, with this coupon.
fn with(coupon: &CouponOrder, tag: u8, top_up: Option<PaymentHash>) -> NewInvoice {
    let coupon = Some(coupon.clone());
    NewInvoice { coupon, credit: msat(150), ..invoice(tag, 100, top_up) }
}

const USED_UP: Result<InvoiceOutcome, LedgerError> =
    Ok(InvoiceOutcome::Refused(SaleRefusal::CouponUsedUp));

impl Bench {
    async fn used(&self, name: &str) -> u64 {
        let views = self.ledger.stocks().await.unwrap();
        views.into_iter().find(|view| view.name == name).map_or(0, |view| view.used)
    }

    async fn sell(&self, invoice: NewInvoice) -> Result<InvoiceOutcome, LedgerError> {
        self.ledger.open_invoice(invoice).await
    }

    async fn take(&self, order: HoldOrder) -> HoldOutcome {
        self.ledger.hold(order).await.unwrap()
    }
}

pub(super) async fn a_coupon_is_used_as_often_as_there_is_of_it(bench: Bench) {
    let coupon = coupon(2, None);
    assert_eq!(bench.sell(with(&coupon, 1, None)).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(bench.sell(with(&coupon, 2, None)).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(bench.sell(with(&coupon, 3, None)).await, USED_UP);
    assert!(bench.ledger.invoice(hash(3)).await.unwrap().is_none(), "it left nothing behind");
    // What it promised is credited: what was paid, and the rest as a bonus.
    assert_eq!(bench.ledger.settle(Settlement::of(hash(1))).await, Ok(SettleOutcome::Credited));
    assert_eq!(bench.sums(hash(1)).await, (150, 0));
    assert_eq!(bench.used("coupon X").await, 2);
    // The operator allows more, and then less.
    let more = CouponOrder { stock: StockOrder { limit: 3, ..coupon.stock }, per_account: None };
    assert_eq!(bench.sell(with(&more, 3, None)).await, Ok(InvoiceOutcome::Stored));
    let less = CouponOrder { stock: StockOrder { limit: 1, ..more.stock }, per_account: None };
    assert_eq!(bench.sell(with(&less, 4, None)).await, USED_UP);
    bench.assert_audit_clean().await;
}

pub(super) async fn a_coupon_comes_back_with_an_unpaid_invoice_and_never_with_a_paid_one(
    bench: Bench,
) {
    let coupon = coupon(2, None);
    for tag in [1, 2] {
        assert_eq!(bench.sell(with(&coupon, tag, None)).await, Ok(InvoiceOutcome::Stored));
    }
    assert_eq!(bench.ledger.settle(Settlement::of(hash(1))).await, Ok(SettleOutcome::Credited));
    // It may still be paid, or its payment reported.
    bench.clock.advance_ms(600_000 + HOUR_MS);
    bench.ledger.prune().await.unwrap();
    assert_eq!(bench.sell(with(&coupon, 3, None)).await, USED_UP);
    bench.clock.advance_ms(1);
    bench.ledger.prune().await.unwrap();
    assert_eq!(bench.used("coupon X").await, 1);
    bench.assert_audit_clean().await;
    let late =
        |tag| NewInvoice { expires_at_ms: START_MS + 2 * HOUR_MS, ..with(&coupon, tag, None) };
    assert_eq!(bench.sell(late(3)).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(bench.sell(late(4)).await, USED_UP);
    bench.assert_audit_clean().await;
}

pub(super) async fn an_account_uses_a_coupon_as_often_as_it_may(bench: Bench) {
    let coupon = coupon(u64::MAX, Some(1));
    assert_eq!(bench.sell(with(&coupon, 1, None)).await, Ok(InvoiceOutcome::Stored));
    bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    assert_eq!(bench.sell(with(&coupon, 2, Some(hash(1)))).await, USED_UP);
    // Another account, without the coupon at first.
    bench.paid(3, 100).await;
    assert_eq!(bench.sell(with(&coupon, 4, Some(hash(3)))).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(bench.sell(with(&coupon, 5, Some(hash(3)))).await, USED_UP);
    // Many top-ups of one account at once.
    bench.paid(10, 100).await;
    let mut asking = JoinSet::new();
    for tag in 20..52 {
        let (ledger, order) = (bench.ledger.clone(), with(&coupon, tag, Some(hash(10))));
        asking.spawn(async move { ledger.open_invoice(order).await.unwrap() });
    }
    let outcomes = asking.join_all().await;
    let stored = outcomes.iter().filter(|it| **it == InvoiceOutcome::Stored).count();
    assert_eq!(stored, 1);
    bench.assert_audit_clean().await;
}

pub(super) async fn a_shared_invoice_uses_a_coupon_once(bench: Bench) {
    let coupon = coupon(1, None);
    let asker = Some(Asker { client: [1; 32], offer: [2; 32] });
    let first = NewInvoice { asker, ..with(&coupon, 1, None) };
    let again = NewInvoice { asker, ..with(&coupon, 2, None) };
    let shared = OpenInvoice::from(&first);
    assert_eq!(bench.sell(first).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(bench.sell(again).await, Ok(InvoiceOutcome::Shared(shared)));
    assert_eq!(bench.used("coupon X").await, 1);
}

fn taking(supply: &StockOrder, order: HoldOrder) -> HoldOrder {
    HoldOrder { supply: Some(supply.clone()), ..order }
}

fn sold_out(balance: u64, resets_at: Option<u64>) -> HoldOutcome {
    let (refusal, balance_msat) = (HoldRefusal::SoldOut, msat(balance));
    HoldOutcome::Answered(HoldReply::Refused { refusal, balance_msat, resets_at, tier: None })
}

pub(super) async fn a_supply_sells_what_there_is_and_no_more(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let supply = stock("supply s", 2, BudgetWindow::Total);
    assert_eq!(bench.take(taking(&supply, order(1, hash, 10))).await, granted(hash, 10, 90));
    // A repeat takes nothing more.
    assert_eq!(bench.take(taking(&supply, order(1, hash, 10))).await, granted(hash, 10, 90));
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, granted(hash, 10, 80));
    assert_eq!(bench.take(taking(&supply, order(3, hash, 10))).await, sold_out(80, None));
    // Who cannot pay is not asked to for what is not there.
    assert_eq!(bench.take(taking(&supply, order(4, hash, 500))).await, sold_out(80, None));
    assert_eq!(bench.ledger.sold_out(&supply).await, Ok(Some(None)));
    // Other routes sell on.
    assert_eq!(bench.take(order(5, hash, 10)).await, granted(hash, 10, 70));
    bench.post(vec![posting(1, 0, 4, true), posting(2, 0, 10, true)]).await.unwrap();
    assert_eq!(bench.take(taking(&supply, order(6, hash, 10))).await, sold_out(76, None));
    assert_eq!(bench.used("supply s").await, 2);
    let none = stock("supply none", 0, BudgetWindow::Day);
    assert_eq!(bench.take(taking(&none, order(7, hash, 10))).await, sold_out(76, None));
    assert_eq!(bench.ledger.sold_out(&none).await, Ok(Some(None)));
    bench.assert_audit_clean().await;
}

pub(super) async fn what_is_refunded_or_expires_can_be_sold_again(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let supply = stock("supply s", 1, BudgetWindow::Total);
    assert_eq!(bench.take(taking(&supply, order(1, hash, 10))).await, granted(hash, 10, 90));
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, sold_out(90, None));
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert_eq!(bench.ledger.sold_out(&supply).await, Ok(None));
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, granted(hash, 10, 90));
    bench.clock.advance_ms(TTL_MS);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.used("supply s").await, 0);
    assert_eq!(bench.take(taking(&supply, order(3, hash, 10))).await, granted(hash, 10, 90));
    // What was charged a part of is sold, also when its hold expires.
    bench.post(vec![posting(3, 0, 1, false)]).await.unwrap();
    bench.clock.advance_ms(TTL_MS);
    assert_eq!(bench.take(taking(&supply, order(4, hash, 10))).await, sold_out(99, None));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_supply_is_whole_in_its_next_window(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let supply = stock("supply s", 1, BudgetWindow::Hour);
    let ends_ms = START_MS - START_MS % HOUR_MS + HOUR_MS;
    bench.clock.set_ms(ends_ms - 1_000);
    assert_eq!(bench.take(taking(&supply, order(1, hash, 10))).await, granted(hash, 10, 90));
    let refused = sold_out(90, Some(ends_ms / 1_000));
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, refused);
    assert_eq!(bench.ledger.sold_out(&supply).await, Ok(Some(Some(ends_ms / 1_000))));
    bench.clock.set_ms(ends_ms);
    assert_eq!(bench.ledger.sold_out(&supply).await, Ok(None));
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, granted(hash, 10, 80));
    // The call of the window before gives nothing back to this one.
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert!(matches!(
        bench.take(taking(&supply, order(3, hash, 10))).await,
        HoldOutcome::Answered(HoldReply::Refused { refusal: HoldRefusal::SoldOut, .. })
    ));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_hold_for_many_requests_takes_nothing_of_a_supply(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let supply = stock("supply s", 5, BudgetWindow::Total);
    let lease = HoldOrder { min: msat(1), ..order(1, hash, 50) };
    assert_eq!(bench.take(taking(&supply, lease)).await, sold_out(100, None));
    assert_eq!(bench.used("supply s").await, 0);
}

pub(super) async fn a_stock_survives_a_restart_and_a_planted_one_is_named(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let supply = stock("supply s", 1, BudgetWindow::Total);
    assert_eq!(bench.take(taking(&supply, order(1, hash, 10))).await, granted(hash, 10, 90));
    let bench = bench.reopen().await;
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, sold_out(90, None));
    bench.post(vec![posting(1, 0, 10, true)]).await.unwrap();
    let bench = bench.reopen().await;
    assert_eq!(bench.take(taking(&supply, order(2, hash, 10))).await, sold_out(90, None));
    bench.assert_audit_clean().await;
    let id = supply.id;
    bench
        .damage("UPDATE stocks SET used = 0", |tables| {
            let mut stock = tables.stocks.get(&(id,)).unwrap().clone();
            stock.used = 0;
            tables.stocks.load(stock);
        })
        .await;
    let differences = bench.ledger.audit().await.unwrap().differences;
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(differences[0].about.as_deref(), Some("supply s"));
    assert_eq!((differences[0].claimed, differences[0].recorded), (0, 1));
}

pub(super) async fn sixty_four_never_buy_more_than_there_is(bench: Bench) {
    let (coupon, supply) = (coupon(7, None), stock("supply s", 9, BudgetWindow::Total));
    let accounts: Vec<_> = [bench.paid(200, 6_400).await, bench.paid(201, 6_400).await].into();
    let (mut buying, mut calling) = (JoinSet::new(), JoinSet::new());
    for n in 0..64_u8 {
        let (ledger, order) = (bench.ledger.clone(), with(&coupon, n + 1, None));
        buying.spawn(async move { ledger.open_invoice(order).await.unwrap() });
        let hash = accounts[usize::from(n % 2)];
        let (ledger, call) = (bench.ledger.clone(), taking(&supply, order_of(n, hash)));
        calling.spawn(async move {
            let outcome = ledger.hold(call).await.unwrap();
            let granted = matches!(&outcome, HoldOutcome::Answered(HoldReply::Granted { .. }));
            // Every third one that is granted comes to nothing.
            if granted && n % 3 == 0 {
                ledger.post(vec![posting(u128::from(n), 0, 0, true)]).await.unwrap();
            }
            granted && n % 3 != 0
        });
    }
    let bought = buying.join_all().await;
    assert_eq!(bought.iter().filter(|it| **it == InvoiceOutcome::Stored).count(), 7);
    let called = calling.join_all().await.into_iter().filter(|sold| *sold).count();
    assert!(called <= 9, "{called}");
    assert_eq!(bench.used("supply s").await, u64::try_from(called).unwrap());
    assert_eq!(bench.used("coupon X").await, 7);
    // The rest is sold to the last one, and no more.
    for n in 64..80_u8 {
        bench.take(taking(&supply, order_of(n, accounts[0]))).await;
    }
    assert_eq!(bench.used("supply s").await, 9);
    bench.assert_audit_clean().await;
}

fn order_of(n: u8, hash: PaymentHash) -> HoldOrder {
    order(u128::from(n), hash, 10)
}
