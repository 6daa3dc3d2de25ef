//! Times as text, RFC 3339: read with any zone, written in UTC.

use alloc::format;
use alloc::string::String;

const DAYS_TO_1970: i64 = 719_468;
const DAYS_IN_400_YEARS: i64 = 146_097;
const MS_IN_DAY: i64 = 86_400_000;

/// Unix time in milliseconds, a part of one rounded up; a time before 1970 is 0. `None` for text
/// that is no date and time with a zone.
///
/// ```
/// use tollway_core::rfc3339::parse_ms;
///
/// assert_eq!(parse_ms("1970-01-01T01:00:00.5+01:00"), Some(500));
/// assert_eq!(parse_ms("1970-01-01T00:00:00"), None);
/// ```
#[must_use]
pub fn parse_ms(text: &str) -> Option<u64> {
    let mut rest = text.as_bytes();
    let year = number(&mut rest, 4, b'-')?;
    let month = number(&mut rest, 2, b'-')?;
    let day = number(&mut rest, 2, 0)?;
    if !matches!(take(&mut rest)?, b'T' | b't') {
        return None;
    }
    let hour = number(&mut rest, 2, b':')?;
    let minute = number(&mut rest, 2, b':')?;
    let second = number(&mut rest, 2, 0)?;
    let fraction_ms = fraction(&mut rest)?;
    let zone_minutes = zone(&mut rest)?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        // A leap second ends with its minute.
        && second <= 60;
    if !(in_range && rest.is_empty()) {
        return None;
    }
    let seconds = (hour * 60 + minute - zone_minutes) * 60 + second;
    let ms = day_number(year, month, day) * MS_IN_DAY + seconds * 1_000 + fraction_ms;
    Some(u64::try_from(ms).unwrap_or(0))
}

/// `2026-03-15T12:05:00Z`. Past the year 9999, its last second.
///
/// ```
/// assert_eq!(tollway_core::rfc3339::format_s(951_782_400), "2000-02-29T00:00:00Z");
/// ```
#[must_use]
pub fn format_s(unix_s: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let unix_s = unix_s.min(LAST);
    let (days, second) = ((unix_s / 86_400) as i64 + DAYS_TO_1970, unix_s % 86_400);
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The day's number from 1970-01-01. Years begin in March here, so that the leap day is the last.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(*first)
}

/// So many digits, and then this byte unless it is 0.
fn number(rest: &mut &[u8], digits: u32, then: u8) -> Option<i64> {
    let mut value = 0;
    for _ in 0..digits {
        let digit = take(rest).filter(u8::is_ascii_digit)?;
        value = value * 10 + i64::from(digit - b'0');
    }
    (then == 0 || take(rest) == Some(then)).then_some(value)
}

/// The part of a second in milliseconds, rounded up.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some(digits) = rest.strip_prefix(b".") else { return Some(0) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, tail) = digits.split_at_checked(count)?;
    *rest = tail;
    let mut ms = 0;
    for place in 0..3 {
        ms = ms * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    let more = digits.iter().skip(3).any(|digit| *digit != b'0');
    (count > 0).then_some(ms + i64::from(more))
}

/// Minutes east of UTC.
fn zone(rest: &mut &[u8]) -> Option<i64> {
    let sign = match take(rest)? {
        b'Z' | b'z' => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(rest, 2, b':')?;
    let minutes = number(rest, 2, 0)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_times_of_any_zone() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("2030-01-01T00:00:00.1Z", 1_893_456_000_100),
            ("2030-01-01t00:00:00.0001z", 1_893_456_000_001),
            ("2030-01-01T02:00:00+02:00", 1_893_456_000_000),
            ("2029-12-31T18:30:00-05:30", 1_893_456_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("9999-12-31T23:59:59.999999999Z", 253_402_300_800_000),
            ("0001-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(parse_ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn err_everything_else() {
        for text in [
            "",
            "1893456000",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-01-01 00:00:00Z",
            "2030-01-01T00:00Z",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00Zx",
            "2030-1-01T00:00:00Z",
            "2030-13-01T00:00:00Z",
            "2030-00-01T00:00:00Z",
            "2030-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2030-01-32T00:00:00Z",
            "2030-01-00T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:60:00Z",
            "2030-01-01T00:00:61Z",
            "2030-01-01T00:00:00+24:00",
            "2030-01-01T00:00:00+0000",
            "+030-01-01T00:00:00Z",
            "2030-01-01T00:00:00\u{2212}01:00",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut unix_s = 0_u64;
        while unix_s < 253_402_300_800 {
            let text = format_s(unix_s);
            assert_eq!(parse_ms(&text), Some(unix_s * 1_000), "{text}");
            unix_s += 86_399 * 137;
        }
        assert_eq!(format_s(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
