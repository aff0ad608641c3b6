//! The rounds of one database, and their table.

use crate::chart::{Chart, Panel};
use crate::contender::Contender;
use crate::median::median;
use crate::statement::Statement;

/// The numbers of tasks that query at the same time.
pub(crate) const TASKS: [usize; 4] = [1, 8, 64, 512];

/// The number of turns of every contender. The bar is the minimum of many cells, so each must be precise: with eleven turns the
/// same cell differed by a tenth between two runs.
const ROUNDS: usize = 41;

/// One statement with one number of tasks: the throughput of all contenders.
pub(crate) struct Cell {
    pub(crate) statement: Statement,
    pub(crate) tasks: usize,
    names: Vec<&'static str>,
    /// The throughput of each contender, in each round.
    rounds: Vec<Vec<f64>>,
}

impl Cell {
    /// The engine's throughput divided by this contender's.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        self.between(self.names[0], name)
    }

    /// One contender's throughput divided by another's. The ratio is taken within a round, because a slow moment of the machine
    /// affects both.
    pub(crate) fn between(&self, one: &str, other: &str) -> Option<f64> {
        let [one, other] = [self.index(one)?, self.index(other)?];
        Some(median(
            self.rounds.iter().map(|round| round[one] / round[other]),
        ))
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// Whether the statement reads or writes one row.
    pub(crate) fn is_single_row(&self) -> bool {
        self.statement != Statement::Rows
    }
}

/// Measures every statement with every number of tasks. The engine is the first contender.
pub(crate) async fn measure(database: &str, contenders: &[Contender]) -> anyhow::Result<Vec<Cell>> {
    println!("\n{database}: statements a second, and how many times as many the engine does");
    print!("{:<12}{:>6}", "statement", "tasks");
    for contender in contenders {
        print!("{:>24}", contender.name);
    }
    println!();
    let mut cells = Vec::new();
    for statement in Statement::ALL {
        for tasks in TASKS {
            cells.push(cell(contenders, statement, tasks).await?);
        }
    }
    Ok(cells)
}

async fn cell(
    contenders: &[Contender],
    statement: Statement,
    tasks: usize,
) -> anyhow::Result<Cell> {
    // Connections are opened and statements prepared before the measurement.
    for contender in contenders {
        contender.round(statement, tasks).await?;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut round = vec![0.0; contenders.len()];
        // In a random order, so that none always follows the same one.
        let mut turns: Vec<usize> = (0..contenders.len()).collect();
        fastrand::shuffle(&mut turns);
        for index in turns {
            round[index] = contenders[index].round(statement, tasks).await?;
        }
        rounds.push(round);
    }
    let cell = Cell {
        statement,
        tasks,
        names: contenders.iter().map(|contender| contender.name).collect(),
        rounds,
    };
    print!("{statement:<12}{tasks:>6}");
    for (index, name) in cell.names.iter().enumerate() {
        let throughput = median(cell.rounds.iter().map(|round| round[index]));
        let ratio = cell.ratio(name).unwrap_or(f64::NAN);
        print!("{throughput:>16.0}{:>8}", format!("{ratio:.2}×"));
    }
    println!();
    Ok(cell)
}

/// Draws the cells: a panel for each statement, with each contender's throughput relative to that of `sqlx::Pool`.
pub(crate) fn chart(database: &str, file: &str, cells: &[Cell]) -> anyhow::Result<()> {
    let names = cells[0].names.clone();
    let group = |cell: &Cell| {
        let heights = names
            .iter()
            .map(|name| cell.between(name, "sqlx::Pool").unwrap_or(f64::NAN));
        let tasks = if cell.tasks == 1 { "task" } else { "tasks" };
        (format!("{} {tasks}", cell.tasks), heights.collect())
    };
    let panel = |statement: Statement| Panel {
        title: statement.to_string(),
        groups: cells
            .iter()
            .filter(|cell| cell.statement == statement)
            .map(group)
            .collect(),
    };
    let chart = Chart {
        title: format!("{database}: statements a second, sqlx::Pool = 1, eight connections each"),
        bars: names.clone(),
        panels: Statement::ALL.map(panel).into(),
    };
    chart.write(file)
}
