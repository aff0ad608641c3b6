//! The state of a database: the rows of all tables as SQL literals, and the counters that number them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A value as SQL writes it: `NULL`, `'text'`.
pub(super) type Literal = String;

/// One row, a value for each column.
pub(super) type Row = Vec<Literal>;

/// A table, with its quoted name and its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// The quoted name.
    pub(super) name: String,
    /// The SQL expression that gives the value as a literal.
    pub(super) literal: String,
    pub(super) written: Written,
}

/// Which statements can write a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Every `INSERT` and `UPDATE`.
    Freely,
    /// Only the `INSERT` of the row: the column is an identity that is always generated.
    Once,
    /// None: the database generates the value.
    Never,
}

/// The state of a database at one moment. Two states are equal when they have the same rows; counters may differ.
#[derive(Clone, Debug)]
pub(super) struct DatabaseRows {
    pub(super) tables: Vec<(Table, Vec<Row>)>,
    /// The statements that set the counters to these values.
    pub(super) counters: Vec<String>,
}

impl PartialEq for DatabaseRows {
    fn eq(&self, other: &Self) -> bool {
        self.tables == other.tables
    }
}

impl DatabaseRows {
    /// The state, with sorted rows, so that states can be compared.
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

/// The rows of a table that only one of two states has.
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

/// The rows of the first list that the second lacks, with duplicates. Both must be sorted.
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

/// Pairs each row with the most similar other row, if they share a value. Also returns the unpaired rows of both lists.
pub(super) fn pairs<'a>(
    rows: &[&'a Row],
    others: &[&'a Row],
    may_pair: impl Fn(&Row, &Row) -> bool,
) -> (Vec<(&'a Row, &'a Row)>, Vec<&'a Row>, Vec<&'a Row>) {
    // The first column counts twice, because it is nearly always the key.
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

/// The changes that a complete run of the work makes.
pub(super) struct Changes {
    complete: DatabaseRows,
    /// The columns in which complete runs differ, by table and number.
    volatile: BTreeSet<(String, usize)>,
    is_empty: bool,
}

impl Changes {
    /// The changes of the first complete run.
    pub(super) fn of(before: &DatabaseRows, complete: DatabaseRows) -> Self {
        Self {
            is_empty: *before == complete,
            complete,
            volatile: BTreeSet::new(),
        }
    }

    /// Notes the columns in which another complete run differs from the first.
    ///
    /// # Errors
    ///
    /// The name of a table in which the two runs leave different numbers of rows.
    pub(super) fn compare(
        &mut self,
        before: &DatabaseRows,
        other: &DatabaseRows,
    ) -> Result<(), String> {
        self.is_empty &= before == other;
        for difference in differences(&self.complete, other) {
            let name = &difference.table.name;
            if difference.fewer.len() != difference.more.len() {
                return Err(name.clone());
            }
            let (mut paired, alone, left) = pairs(&difference.fewer, &difference.more, |_, _| true);
            paired.extend(alone.into_iter().zip(left));
            for (one, other) in paired {
                let columns = one.iter().zip(other).enumerate();
                let differing = columns.filter(|(_, (one, other))| one != other);
                self.volatile
                    .extend(differing.map(|(column, _)| (name.clone(), column)));
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Describes the difference from a complete run; `None` when the state is that after one, or that before it.
    pub(super) fn half(&self, before: &DatabaseRows, state: &DatabaseRows) -> Option<String> {
        if state == before || self.stable(state) == self.stable(&self.complete) {
            return None;
        }
        let left = changed(before, state);
        let complete = changed(before, &self.complete);
        Some(format!(
            "  it leaves\n{left}  and a complete run leaves\n{complete}"
        ))
    }

    /// Counts the equal rows of each table, without the columns that differ from run to run.
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

/// Lists the removed and added rows, a line each.
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
