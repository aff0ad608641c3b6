//! The events of one round, drawn at random from a seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use poolhouse_tests::{Kind, Stop};

use super::messes::{self, By};
use super::script::{Script, Step};

/// The tests of a victim: `d` has its own database, `r` rolls back.
pub(crate) const SLOTS: [&str; 8] = ["d0", "d1", "d2", "d3", "d4", "d5", "r0", "r1"];

/// The number of tests with a database of their own.
pub(crate) const OWN_DATABASES: usize = 6;

/// The role of the tests on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Only the documented rights.
    Minimal,
    /// All rights.
    Superuser,
}

/// An event on the server.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Nothing,
    Restart(Stop),
    /// The server's statistics are reset.
    ResetStatistics,
    /// The superuser cleans up every test database that allows connections.
    Vacuum(&'static str),
    /// Every session of the tests is terminated.
    EndSessions,
}

/// One process of tests.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) role: Role,
    /// The number of the source tree with its migrations.
    pub(crate) tree: usize,
    pub(crate) threads: usize,
    pub(crate) scripts: Vec<(&'static str, Script)>,
    /// Whether databases of failed tests are kept, which is the default.
    pub(crate) keeps: bool,
    /// The time after which the process is killed, at any step.
    pub(crate) killed_after: Option<Duration>,
}

/// One round: events on the idle server, then processes side by side, with an event meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) before: Vec<Event>,
    pub(crate) runs: Vec<Run>,
    pub(crate) during: Option<(Duration, Event)>,
    /// An event after the processes, and tests that check every database left by them.
    pub(crate) after: Option<(Event, Run)>,
}

impl Round {
    /// Draws a round. The same seed gives the same round.
    pub(crate) fn draw(seed: u64, kind: Option<Kind>, roles: &[Role], trees: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        if rng.u8(..4) == 0 {
            return Self::harvest(&mut rng, kind, roles);
        }
        let mut before = Vec::new();
        let mut during = None;
        if kind.is_some() {
            for _ in 0..[0, 0, 1, 1, 2][rng.usize(..5)] {
                before.push(event(&mut rng));
            }
            if rng.u8(..6) == 0 {
                during = Some((Duration::from_millis(rng.u64(..1500)), event(&mut rng)));
            }
        }
        let processes = [1, 1, 1, 2, 2, 3][rng.usize(..6)];
        let runs = (0..processes)
            .map(|_| run(&mut rng, kind, roles, trees))
            .collect();
        Self {
            before,
            runs,
            during,
            after: None,
        }
    }

    /// A round without events, in which each test adds a row to a table that is empty in the template.
    pub(crate) fn calm(role: Role) -> Self {
        let rows = "INSERT INTO label VALUES (1, 'one')";
        let script = Script {
            steps: vec![Step::Check, Step::Run(rows.to_owned())],
        };
        let slots = &SLOTS[..OWN_DATABASES];
        Self {
            before: Vec::new(),
            runs: vec![Run {
                role,
                tree: 0,
                threads: 1,
                scripts: slots.iter().map(|slot| (*slot, script.clone())).collect(),
                keeps: false,
                killed_after: None,
            }],
            during: None,
            after: None,
        }
    }

    /// Draws a round in which all tests of a process are killed at work. An event on the server follows, and as many tests check
    /// their databases.
    fn harvest(rng: &mut Rng, kind: Option<Kind>, roles: &[Role]) -> Self {
        let mut killed = run(rng, kind, roles, 1);
        killed.killed_after = None;
        killed.threads = SLOTS.len();
        killed.scripts = SLOTS
            .iter()
            .map(|slot| {
                let mut script = script(rng, kind, killed.role, slot.starts_with('r'));
                script
                    .steps
                    .retain(|step| matches!(step, Step::Check | Step::Run(_) | Step::Visit(_)));
                script.steps.push(Step::Hang);
                (*slot, script)
            })
            .collect();
        let looks = Script {
            steps: vec![Step::Check],
        };
        let looking = Run {
            scripts: SLOTS.iter().map(|slot| (*slot, looks.clone())).collect(),
            ..killed.clone()
        };
        let event = if kind.is_some() {
            event(rng)
        } else {
            Event::Nothing
        };
        Self {
            before: Vec::new(),
            runs: vec![killed],
            during: None,
            after: Some((event, looking)),
        }
    }

    /// Whether no event disturbs the tests of this round.
    pub(crate) fn is_calm(&self) -> bool {
        !matches!(
            self.during,
            Some((_, Event::Restart(_) | Event::EndSessions))
        )
    }
}

fn event(rng: &mut Rng) -> Event {
    match rng.u8(..10) {
        0..=2 => Event::Restart(Stop::Crash),
        3..=4 => Event::Restart(Stop::Orderly),
        5..=6 => Event::ResetStatistics,
        7..=8 => {
            Event::Vacuum(["", "(FREEZE)", "(FULL)", "(FULL, FREEZE, ANALYZE)"][rng.usize(..4)])
        }
        _ => Event::EndSessions,
    }
}

fn run(rng: &mut Rng, kind: Option<Kind>, roles: &[Role], trees: usize) -> Run {
    let role = roles[rng.usize(..roles.len())];
    let count = [1, 1, 2, 3, 5, 8][rng.usize(..6)];
    let mut slots = SLOTS;
    rng.shuffle(&mut slots);
    let scripts: Vec<_> = slots[..count]
        .iter()
        .map(|slot| (*slot, script(rng, kind, role, slot.starts_with('r'))))
        .collect();
    Run {
        role,
        tree: if rng.u8(..4) == 0 {
            rng.usize(..trees)
        } else {
            0
        },
        threads: [1, 1, 2, 4][rng.usize(..4)],
        scripts,
        keeps: rng.bool(),
        killed_after: (rng.u8(..8) == 0).then(|| Duration::from_millis(rng.u64(..2000))),
    }
}

fn script(rng: &mut Rng, kind: Option<Kind>, role: Role, rolls_back: bool) -> Script {
    let may = |by: By| by == By::Anyone || role == Role::Superuser;
    let messes: Vec<&str> = messes::of(kind)
        .iter()
        .filter(|(by, _)| may(*by))
        .map(|(_, sql)| *sql)
        .collect();
    let mess = |rng: &mut Rng| messes[rng.usize(..messes.len())].to_owned();
    let mut steps = vec![Step::Check];
    for _ in 0..[0, 1, 1, 1, 2, 3][rng.usize(..6)] {
        let sql = mess(rng);
        steps.push(match rng.u8(..16) {
            0..=10 => Step::Run(sql),
            // A test that rolls back has only one connection of its own.
            _ if rolls_back => match beside_a_transaction(kind) {
                Some(sql) => Step::Visit(sql.to_owned()),
                None => Step::Run(sql),
            },
            11 => Step::Transaction("INSERT INTO label VALUES (50, 'of a transaction')".to_owned()),
            12..=13 => Step::Visit(sql),
            14 => Step::Linger("INSERT INTO label VALUES (60, 'of a visitor')".to_owned()),
            _ => Step::Spawn(
                "INSERT INTO label SELECT coalesce(max(id), 0) + 1, 'of a task' FROM label"
                    .to_owned(),
            ),
        });
    }
    match rng.u8(..24) {
        0 => steps.push(Step::Leak),
        1 => steps.push(Step::Lose),
        2 => steps.push(Step::Wait(Duration::from_millis(rng.u64(..300)))),
        _ => {}
    }
    match rng.u8(..16) {
        0..=1 => steps.push(Step::Fail),
        2 => steps.push(Step::Abort),
        3 => steps.push(Step::Exit),
        4..=6 => steps.push(Step::Hang),
        _ => {}
    }
    Script { steps }
}

/// Statements of a visitor while the transaction of the test is open, which may have locks. A file of SQLite has one writer.
fn beside_a_transaction(kind: Option<Kind>) -> Option<&'static str> {
    match kind? {
        Kind::Postgres => {
            Some("SET lock_timeout = '1s'; INSERT INTO label VALUES (70, 'beside a transaction')")
        }
        Kind::MariaDb => Some(
            "SET SESSION innodb_lock_wait_timeout = 1; INSERT INTO label VALUES (70, 'beside a transaction')",
        ),
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.before {
            writeln!(f, "  {event:?}")?;
        }
        for run in &self.runs {
            let Run {
                role,
                tree,
                threads,
                keeps,
                killed_after,
                ..
            } = run;
            write!(f, "  process of {role:?}, tree {tree}, {threads} threads")?;
            if *keeps {
                write!(f, ", keeps")?;
            }
            if let Some(after) = killed_after {
                write!(f, ", killed after {after:?}")?;
            }
            writeln!(f)?;
            for (slot, script) in &run.scripts {
                let text = script.text();
                writeln!(f, "    {slot}: {}", text.trim_end().replace('\n', " | "))?;
            }
        }
        if let Some((event, run)) = &self.after {
            writeln!(f, "  then: {event:?}, and {} tests look", run.scripts.len())?;
        }
        if let Some((delay, event)) = &self.during {
            writeln!(f, "  meanwhile, after {delay:?}: {event:?}")?;
        }
        Ok(())
    }
}
