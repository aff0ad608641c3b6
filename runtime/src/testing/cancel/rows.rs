//! What a database holds: the rows of every table and the counters that number them, each value as SQL writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A value as SQL writes it: `NULL`, `'text'`.
pub(super) type Literal = String;

/// One row, a value for each column.
pub(super) type Row = Vec<Literal>;

/// A table, as SQL names it, and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// As SQL names it.
    pub(super) name: String,
    /// The expression for its value as SQL writes it.
    pub(super) literal: String,
    pub(super) written: Written,
}

/// Who writes a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The statement.
    Freely,
    /// A statement that inserts the row, and then nobody any more: an identity that is always generated.
    Once,
    /// The database alone.
    Never,
}

/// What a database holds at one moment. Two are equal when they hold the same rows; counters may differ.
#[derive(Clone, Debug)]
pub(super) struct DatabaseRows {
    pub(super) tables: Vec<(Table, Vec<Row>)>,
    /// The statements that set the counters to what they are.
    pub(super) counters: Vec<String>,
}

impl PartialEq for DatabaseRows {
    fn eq(&self, other: &Self) -> bool {
        self.tables == other.tables
    }
}

impl DatabaseRows {
    /// The state, with the rows in an order that two states have in common.
    pub(super) fn new(mut tables: Vec<(Table, Vec<Row>)>, counters: Vec<String>) -> Self {
        for (_, rows) in &mut tables {
            rows.sort_unstable();
        }
        Self { tables, counters }
    }

    fn rows(&self, table: &Table) -> &[Row] {
        let found = self.tables.iter().find(|(known, _)| known == table);
        found.map_or(&[], |(_, rows)| rows)
    }
}

/// Rows that one state has and another has not.
#[derive(Debug)]
pub(super) struct Difference<'a> {
    pub(super) table: &'a Table,
    pub(super) fewer: Vec<&'a Row>,
    pub(super) more: Vec<&'a Row>,
}

/// The tables in which two states differ.
pub(super) fn differences<'a>(
    before: &'a DatabaseRows,
    after: &'a DatabaseRows,
) -> Vec<Difference<'a>> {
    let tables = after.tables.iter().map(|(table, rows)| {
        let was = before.rows(table);
        Difference {
            table,
            fewer: without(was, rows),
            more: without(rows, was),
        }
    });
    tables
        .filter(|difference| !difference.fewer.is_empty() || !difference.more.is_empty())
        .collect()
}

/// The rows of the first that are not in the second, as often as they are missing. Both are sorted.
fn without<'a>(rows: &'a [Row], others: &[Row]) -> Vec<&'a Row> {
    let mut others = others.iter().peekable();
    let mut missing = Vec::new();
    for row in rows {
        while others.next_if(|other| *other < row).is_some() {}
        if others.next_if(|other| *other == row).is_none() {
            missing.push(row);
        }
    }
    missing
}

/// Pairs each of these rows with the one of the others that is most like it, if any value is the same; and what is left of both.
pub(super) fn pairs<'a>(
    rows: &[&'a Row],
    others: &[&'a Row],
    may_pair: impl Fn(&Row, &Row) -> bool,
) -> (Vec<(&'a Row, &'a Row)>, Vec<&'a Row>, Vec<&'a Row>) {
    // The key is the first column, nearly always.
    let alike = |one: &Row, other: &Row| {
        let same = one
            .iter()
            .zip(other)
            .filter(|(one, other)| one == other)
            .count();
        same + usize::from(one.first() == other.first())
    };
    let mut left: Vec<&Row> = others.to_vec();
    let (mut paired, mut alone) = (Vec::new(), Vec::new());
    for row in rows {
        let candidates = left
            .iter()
            .enumerate()
            .filter(|(_, other)| may_pair(row, other));
        let best = candidates
            .map(|(index, other)| (alike(row, other), index))
            .max();
        match best {
            Some((same, index)) if same > 0 => paired.push((*row, left.swap_remove(index))),
            _ => alone.push(*row),
        }
    }
    (paired, alone, left)
}

/// What a complete run of the work changes.
pub(super) struct Changes {
    complete: DatabaseRows,
    /// The columns in which two complete runs differ, by table and number.
    volatile: BTreeSet<(String, usize)>,
    is_empty: bool,
}

impl Changes {
    /// Learns it from two complete runs.
    ///
    /// # Errors
    ///
    /// The name of the table in which the two leave other numbers of rows.
    pub(super) fn of(
        before: &DatabaseRows,
        first: &DatabaseRows,
        second: &DatabaseRows,
    ) -> Result<Self, String> {
        let mut volatile = BTreeSet::new();
        for difference in differences(first, second) {
            let name = &difference.table.name;
            if difference.fewer.len() != difference.more.len() {
                return Err(name.clone());
            }
            let (mut paired, alone, left) = pairs(&difference.fewer, &difference.more, |_, _| true);
            paired.extend(alone.into_iter().zip(left));
            for (one, other) in paired {
                let columns = one.iter().zip(other).enumerate();
                let differing = columns.filter(|(_, (one, other))| one != other);
                volatile.extend(differing.map(|(column, _)| (name.clone(), column)));
            }
        }
        Ok(Self {
            complete: first.clone(),
            volatile,
            is_empty: before == first,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// What is neither as before nor as after a complete run, in words; `None` when it is as after one.
    pub(super) fn half(&self, before: &DatabaseRows, state: &DatabaseRows) -> Option<String> {
        if self.stable(state) == self.stable(&self.complete) {
            return None;
        }
        let left = changed(before, state);
        let complete = changed(before, &self.complete);
        Some(format!(
            "  it leaves\n{left}  and a complete run leaves\n{complete}"
        ))
    }

    /// How often each row is in each table, without what differs from run to run.
    fn stable<'a>(&self, state: &'a DatabaseRows) -> BTreeMap<(&'a str, Vec<&'a str>), usize> {
        let mut counts = BTreeMap::new();
        for (table, rows) in &state.tables {
            for row in rows {
                let values = row.iter().enumerate().map(|(column, value)| {
                    if self.volatile.contains(&(table.name.clone(), column)) {
                        ""
                    } else {
                        value.as_str()
                    }
                });
                *counts
                    .entry((table.name.as_str(), values.collect()))
                    .or_default() += 1;
            }
        }
        counts
    }
}

/// The rows that have gone and come, a line each.
fn changed(before: &DatabaseRows, state: &DatabaseRows) -> String {
    let mut words = String::new();
    for Difference { table, fewer, more } in differences(before, state) {
        for (sign, rows) in [('-', fewer), ('+', more)] {
            for row in rows {
                let values = table.columns.iter().zip(row);
                let values: Vec<String> = values
                    .map(|(column, value)| format!("{} = {value}", column.name))
                    .collect();
                // Writing to a string never fails.
                let _ = writeln!(words, "    {sign} {}: {}", table.name, values.join(", "));
            }
        }
    }
    if words.is_empty() {
        words.push_str("    what was there before\n");
    }
    words
}
