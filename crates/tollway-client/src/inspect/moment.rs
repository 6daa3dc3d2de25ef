//! Times in words. Dates follow the proleptic Gregorian calendar, in UTC.

/// `2026-03-01 12:00:00 UTC`.
#[must_use]
pub fn date(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let Some((year, month, day)) = civil(days) else {
        return format!("Unix time {unix_s}");
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `in 3 days`, `2 hours ago`; rounded down to the largest unit that fits twice.
pub(super) fn distance(unix_s: u64, now_s: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86_400, "years"),
        (86_400, "days"),
        (3_600, "hours"),
        (60, "minutes"),
        (1, "seconds"),
    ];
    let seconds = unix_s.abs_diff(now_s);
    if seconds < 2 {
        return "now".to_owned();
    }
    let fits = UNITS.into_iter().find(|(length, _)| seconds / length >= 2);
    let (length, name) = fits.unwrap_or((1, "seconds"));
    let count = seconds / length;
    if unix_s > now_s { format!("in {count} {name}") } else { format!("{count} {name} ago") }
}

/// Year, month and day of a day counted from 1970-01-01; `None` past the year 9999.
///
/// Years begin in March here, so that the leap day is the last of its year, and 400 of them
/// always have the same number of days.
fn civil(days: u64) -> Option<(u64, u64, u64)> {
    const DAYS_TO_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days.checked_add(DAYS_TO_1970)?;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year <= 9_999).then_some((year, month, day_of_month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13:20 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
            (253_402_300_800, "Unix time 253402300800"),
            (u64::MAX, "Unix time 18446744073709551615"),
        ] {
            assert_eq!(date(unix_s), expected);
        }
    }

    #[test]
    fn distances() {
        let now = 1_000_000_000;
        for (unix_s, expected) in [
            (now, "now"),
            (now + 90, "in 90 seconds"),
            (now + 121, "in 2 minutes"),
            (now - 7_200, "2 hours ago"),
            (now + 86_400, "in 24 hours"),
            (now + 31_536_000, "in 365 days"),
            (now + 63_072_000, "in 2 years"),
            (0, "31 years ago"),
        ] {
            assert_eq!(distance(unix_s, now), expected);
        }
    }
}
