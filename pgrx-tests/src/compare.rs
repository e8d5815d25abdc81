//! What it means that two servers gave the same answer.

use std::collections::BTreeMap;

use crate::client::{Error, PgError, ResultSet, Row};
use crate::corpus::Marks;

/// First type id that a server gives to types that its users define: it differs between servers.
const FIRST_USER_TYPE: u32 = 16384;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;

/// How many differing rows a report shows.
const SHOWN: usize = 8;

/// The difference between the expected answer and the one given, or None.
pub fn difference(
    want: &Result<ResultSet, Error>,
    got: &Result<ResultSet, Error>,
    marks: &Marks,
) -> Option<String> {
    match (want, got) {
        (Ok(w), Ok(g)) => result_difference(w, g, marks),
        (Err(Error::Server(w)), Err(Error::Server(g))) => error_difference(w, g),
        (Err(w), Err(g)) => Some(format!("expected: {w}\ngot: {g}")),
        (Err(w), Ok(g)) => Some(format!("expected: {w}\ngot: {} without an error", g.tag)),
        (Ok(w), Err(g)) => Some(format!("expected: {}{}\ngot: {g}", w.tag, show(&sorted(&w.rows)))),
    }
}

/// Violations of integrity are compared in full: their texts must name tables, never shards.
///
/// Two things may differ: which of several bad rows is found first (the values in DETAIL), and
/// the words in which a missing distribution key is refused.
fn error_difference(want: &PgError, got: &PgError) -> Option<String> {
    let detail = |e: &PgError| {
        let text = e.detail.clone()?;
        let constant = text.split(['=', '(']).next().unwrap_or_default().to_owned();
        Some(if text.starts_with("Key (") { text.split('=').next()?.to_owned() } else { constant })
    };
    let fields = |e: &PgError| {
        (e.message.clone(), detail(e), e.table.clone(), e.column.clone(), e.constraint.clone())
    };
    let differs = match want.code.as_str() {
        _ if want.code != got.code => true,
        "23502" => want.column != got.column,
        code => code.starts_with("23") && fields(want) != fields(got),
    };
    differs.then(|| {
        format!(
            "expected: {want} [table {:?} column {:?} constraint {:?}]\ngot: {got} [table {:?} column {:?} constraint {:?}]",
            want.table, want.column, want.constraint, got.table, got.column, got.constraint
        )
    })
}

fn result_difference(want: &ResultSet, got: &ResultSet, marks: &Marks) -> Option<String> {
    if want.tag != got.tag {
        return Some(format!(
            "expected tag: {}{}\ngot tag: {}{}",
            want.tag,
            show(&want.rows),
            got.tag,
            show(&got.rows)
        ));
    }
    if marks.tag_only {
        return None;
    }
    let names = |r: &ResultSet| r.columns.iter().map(|c| c.0.clone()).collect::<Vec<_>>();
    if names(want) != names(got) {
        return Some(format!("expected columns: {:?}\ngot columns: {:?}", names(want), names(got)));
    }
    let types =
        |r: &ResultSet| r.columns.iter().map(|c| c.1.min(FIRST_USER_TYPE)).collect::<Vec<_>>();
    if types(want) != types(got) {
        return Some(format!(
            "expected column types: {:?}\ngot column types: {:?}",
            types(want),
            types(got)
        ));
    }
    if marks.rows_only {
        let counts = (want.rows.len(), got.rows.len());
        return (counts.0 != counts.1)
            .then(|| format!("expected {} rows, got {}", counts.0, counts.1));
    }
    let copied = copied_difference(want, got, marks.ordered);
    copied.or_else(|| rows_difference(&rounded(want, marks), &rounded(got, marks), marks.ordered))
}

fn copied_difference(want: &ResultSet, got: &ResultSet, ordered: bool) -> Option<String> {
    let lines = |r: &ResultSet| -> Vec<Row> {
        let text = String::from_utf8_lossy(&r.copied).into_owned();
        text.lines().map(|l| vec![Some(l.to_owned())]).collect()
    };
    rows_difference(&lines(want), &lines(got), ordered)
}

/// Compares rows, in order or as multisets.
pub fn rows_difference(want: &[Row], got: &[Row], ordered: bool) -> Option<String> {
    if want == got {
        return None;
    }
    if sorted(want) != sorted(got) {
        let mut counts: BTreeMap<&Row, i64> = BTreeMap::new();
        want.iter().for_each(|r| *counts.entry(r).or_default() += 1);
        got.iter().for_each(|r| *counts.entry(r).or_default() -= 1);
        let side = |sign: i64| -> Vec<Row> {
            counts.iter().filter(|(_, &n)| n * sign > 0).map(|(r, _)| (*r).clone()).collect()
        };
        return Some(format!(
            "expected {} rows, got {}\nmissing:{}\nunexpected:{}",
            want.len(),
            got.len(),
            show(&side(1)),
            show(&side(-1))
        ));
    }
    ordered
        .then(|| format!("the order of rows differs\nexpected:{}\ngot:{}", show(want), show(got)))
}

fn sorted(rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort();
    rows
}

fn rounded(result: &ResultSet, marks: &Marks) -> Vec<Row> {
    let Some(digits) = marks.digits else { return result.rows.clone() };
    let is_float: Vec<bool> =
        result.columns.iter().map(|c| c.1 == FLOAT4 || c.1 == FLOAT8).collect();
    let round =
        |(value, &float): (&Option<String>, &bool)| match value.as_deref().map(str::parse::<f64>) {
            Some(Ok(number)) if float => Some(format!("{number:.*e}", digits.saturating_sub(1))),
            _ => value.clone(),
        };
    result.rows.iter().map(|row| row.iter().zip(&is_float).map(round).collect()).collect()
}

/// The first rows, one per line.
pub fn show(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().take(SHOWN) {
        let values: Vec<&str> = row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect();
        text.push_str(&format!("\n    {}", values.join(" | ")));
    }
    if rows.len() > SHOWN {
        text.push_str(&format!("\n    ... {} more", rows.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::rows_difference;

    #[test]
    fn multisets_and_lists() {
        let row = |s: &str| vec![Some(s.to_owned())];
        let (a, b) = (row("a"), row("b"));
        let ab = [a.clone(), b.clone()];
        let ba = [b.clone(), a.clone()];
        assert!(rows_difference(&ab, &ba, false).is_none());
        assert!(rows_difference(&ab, &ba, true).is_some());
        assert!(rows_difference(&[a.clone(), a.clone(), b.clone()], &[a, b.clone(), b], false)
            .is_some());
        assert!(rows_difference(&[vec![None]], &[row("")], false).is_some());
    }
}
