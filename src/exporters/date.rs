//! The calendar, for what is named or printed with a date.

/// The date so many days after 1970-01-01. Years are counted from March, so that the day that
/// some of them lack is their last, and in eras of 400 years, which all have the same length.
pub(super) const fn date(days: u64) -> (u64, u64, u64) {
    const TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + TO_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let after_new_year = month >= 10;
    let year = era * 400 + year + after_new_year as u64;
    (
        year,
        if after_new_year { month - 9 } else { month + 3 },
        day,
    )
}
