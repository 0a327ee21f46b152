//! Points in time as people write them: RFC 3339, or an age.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::units;

const WANTED: &str = "a time such as 2026-01-31T09:00:00Z, or an age such as 90m, 2h or 72h";

/// Reads a time, or an age counted back from `now`.
///
/// # Errors
/// A phrase that says what is wanted.
pub(super) fn parse(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let date_like = text.as_bytes().get(4) == Some(&b'-');
    let time = if date_like {
        rfc3339(text)
    } else {
        let age = units::parse_duration(text).ok();
        age.and_then(|age| now.checked_sub(age))
    };
    time.ok_or_else(|| format!("wants {WANTED}"))
}

/// `2026-01-31T09:00:00.5+01:00`; a space may stand for the `T`, and a date alone is its
/// midnight in UTC.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let (date, rest) = match text.split_once(['T', 't', ' ']) {
        Some((date, rest)) => (date, rest),
        None => (text, "00:00:00Z"),
    };
    let [year, month, day] = numbers(date, '-')?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':')?;
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = u64::try_from(seconds - offset(zone)?).ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// Three numbers of digits only.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<i64>()
            .ok()
            .filter(|_| digits && part.len() <= 4)
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = zone.split_at_checked(1)?;
    let [hours, minutes, _] = numbers(&format!("{rest}:0"), ':')?;
    let seconds = hours * 3600 + minutes * 60;
    (hours < 24 && minutes < 60).then_some(if sign == "-" { -seconds } else { seconds })
}

/// Days since 1970-01-01 in the Gregorian calendar. A year is counted from March, so that the
/// leap day is its last, and months then have lengths that (153 m + 2) / 5 sums up.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The time in UTC, to the second.
pub(super) fn show(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (day, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(i64::try_from(day).unwrap_or(i64::MAX));
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The inverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> u64 {
        let time = parse(text, UNIX_EPOCH).unwrap();
        time.duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn times_are_read_with_zones_and_fractions() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-02", 86_400),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-01-31T09:00:00Z", 1_769_850_000),
            ("2026-01-31 09:00:00z", 1_769_850_000),
            ("2026-01-31T10:30:00+01:30", 1_769_850_000),
            ("2026-01-31T04:00:00.75-05:00", 1_769_850_000),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        let half = parse("1970-01-01T00:00:00.5Z", UNIX_EPOCH).unwrap();
        assert_eq!(half, UNIX_EPOCH + Duration::from_millis(500));
    }

    #[test]
    fn an_age_is_counted_back_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let earlier = UNIX_EPOCH + Duration::from_secs(100_000 - 5400);
        assert_eq!(parse("1h30m", now), Ok(earlier));
    }

    #[test]
    fn what_is_neither_is_told_what_is_wanted() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-0x",
            "5000h2",
        ] {
            let problem = parse(text, UNIX_EPOCH).unwrap_err();
            assert!(problem.starts_with("wants a time such as"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 0_u64..253_402_300_800) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert_eq!(parse(&show(time), UNIX_EPOCH), Ok(time));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}") {
            // Whether it is a time does not matter here.
            let _read = rfc3339(&text);
        }
    }
}
