//! The rounds of one database, and their table.

use crate::contender::Contender;
use crate::median::median;
use crate::statement::Statement;

/// How many tasks ask at the same time.
pub(crate) const TASKS: [usize; 4] = [1, 8, 64, 512];

/// How often every contender has its turn.
const ROUNDS: usize = 11;

/// One statement with one number of tasks: for each contender, how the engine's throughput relates to its.
pub(crate) struct Cell {
    pub(crate) tasks: usize,
    ratios: Vec<(&'static str, f64)>,
}

impl Cell {
    /// The engine's throughput by this contender's.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        self.ratios
            .iter()
            .find(|(contender, _)| *contender == name)
            .map(|(_, ratio)| *ratio)
    }
}

/// Measures every statement with every number of tasks. The engine comes first among the contenders.
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
    // Connections are opened and statements prepared before it counts.
    for contender in contenders {
        contender.round(statement, tasks).await?;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for first in 0..ROUNDS {
        let mut round = vec![0.0; contenders.len()];
        // Each has every place in the order, so that what follows a heavy contender is not always the same one.
        for turn in 0..contenders.len() {
            let index = (first + turn) % contenders.len();
            round[index] = contenders[index].round(statement, tasks).await?;
        }
        rounds.push(round);
    }
    print!("{statement:<12}{tasks:>6}");
    let mut ratios = Vec::new();
    for (index, contender) in contenders.iter().enumerate() {
        let throughput = median(rounds.iter().map(|round| round[index]));
        // Within a round first: a slow moment of the machine is in both numbers.
        let ratio = median(rounds.iter().map(|round| round[0] / round[index]));
        ratios.push((contender.name, ratio));
        print!("{throughput:>16.0}{:>8}", format!("{ratio:.2}×"));
    }
    println!();
    Ok(Cell { tasks, ratios })
}
