//! `tollwayd admin stats` for people.

use serde_json::Value;

use super::super::CliError;

/// Sums first, then one line per route, then the newest payments.
pub(super) fn table(json: &str) -> Result<String, CliError> {
    let stats: Value = serde_json::from_str(json)
        .map_err(|_| CliError::Failed("the answer is not from tollwayd".to_owned()))?;
    let show = |from: &Value, key: &str| match from.pointer(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.chars().filter(|c| !c.is_control()).collect(),
        Some(value) => value.to_string(),
    };
    let mut text = String::new();
    for (label, key) in [
        ("revenue (msat)", "/totalRevenueMsat"),
        ("refunded (msat)", "/refunds/refundedMsat"),
        ("requests", "/totalRequests"),
        ("  paid", "/totalPaid"),
        ("  free", "/free"),
        ("  not charged", "/refunds/uncharged"),
        ("payers", "/uniquePayers"),
        ("challenges", "/challenges"),
        ("payments", "/payments"),
        ("conversion", "/conversion"),
        ("credit sold (msat)", "/credited_msat"),
        ("balances (msat)", "/balance_msat"),
        ("held (msat)", "/held_msat"),
        ("debts (msat)", "/debt_msat"),
    ] {
        text += &format!("{label:<20} {:>16}\n", show(&stats, key));
    }
    let line = |name: &str, cells: [String; 6]| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>12}")).collect();
        format!("{name:<24}{}\n", cells.concat())
    };
    let titles = ["msat", "requests", "paid", "free", "challenges", "payments"];
    text += &format!("\n{}", line("route", titles.map(str::to_owned)));
    for (route, endpoint) in
        stats.pointer("/endpoints").and_then(Value::as_object).into_iter().flatten()
    {
        let keys = ["/revenueMsat", "/requests", "/paid", "/free", "/challenges", "/payments"];
        text += &line(route, keys.map(|key| show(endpoint, key)));
    }
    text += "\nnewest payments: time (Unix ms), sat, route, payment hash\n";
    for payment in stats.pointer("/recentPayments").and_then(Value::as_array).into_iter().flatten()
    {
        let keys = ["/timestamp", "/amountSats", "/endpoint", "/paymentHash"];
        text += &(keys.map(|key| show(payment, key)).join("  ") + "\n");
    }
    Ok(text)
}
