//! The lines that a client is judged by, in the order of the list.

use super::line::ClientLine;

mod answers;
mod codes;
mod environment;
mod requests;
mod retries;

/// Every line.
pub(super) fn all() -> Vec<&'static ClientLine> {
    let mut lines: Vec<&ClientLine> = [
        codes::LINES,
        retries::LINES,
        answers::LINES,
        requests::LINES,
        environment::LINES,
    ]
    .into_iter()
    .flatten()
    .collect();
    lines.sort_by_key(|line| place(line.line.id));
    lines
}

/// The family, the number, and what tells two lines of one number apart.
fn place(id: &'static str) -> (&'static str, u32, &'static str) {
    let (family, rest) = id.split_at_checked(1).unwrap_or((id, ""));
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, part) = rest.split_at_checked(digits).unwrap_or((rest, ""));
    (family, number.parse().unwrap_or(u32::MAX), part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits_its_column_and_has_a_source() {
        for line in all().iter().map(|line| line.line) {
            assert!(line.what.len() <= 76, "{}: {}", line.id, line.what.len());
            assert!(
                !line.what.ends_with('.') && !line.source.is_empty(),
                "{}",
                line.id
            );
        }
    }

    #[test]
    fn lines_stand_in_the_order_of_the_list_and_once_each() {
        let ids: Vec<_> = all().iter().map(|line| line.line.id).collect();
        assert_eq!(ids.first(), Some(&"C1"));
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        for number in 1..=28 {
            let id = format!("C{number}");
            assert!(
                ids.iter()
                    .any(|found| found.trim_end_matches(['a', 'b']) == id),
                "{id}"
            );
        }
    }
}
