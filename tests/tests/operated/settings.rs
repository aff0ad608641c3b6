//! Mistakes that are found before any connection is opened.

use super::golden::Run;

#[tokio::test]
async fn there_is_no_url() -> anyhow::Result<()> {
    Run::new("check")?.golden("no_url", 1).await
}

#[tokio::test]
async fn the_file_has_a_setting_that_does_not_exist() -> anyhow::Result<()> {
    let toml = "[engine]\nurl = \"sqlite::memory:\"\nmax_sizes = 5\n";
    let run = Run::new("check")?.file("poolhouse.toml", toml)?;
    run.golden("unknown_setting", 1).await
}

#[tokio::test]
async fn a_variable_is_misspelt() -> anyhow::Result<()> {
    let run = Run::new("check")?.variable("MAIN", "sqlite");
    let run = run.variable("DATABASE_URL", "sqlite::memory:");
    run.variable("POOLHOUSE_MAX_SIZES", "5")
        .golden("misspelt_variable", 0)
        .await
}

#[tokio::test]
async fn every_source_is_named() -> anyhow::Result<()> {
    let toml = "[engine]\nmax_size = 7\nshutdown_timeout = \"20s\"\n\n[profile.prod.engine]\nmin_size = 2\n";
    let run = Run::new("check")?.file("poolhouse.toml", toml)?;
    let run = run.file(".env", "DATABASE_URL=sqlite::memory:\n")?;
    let run = run
        .variable("MAIN", "sqlite")
        .variable("POOLHOUSE_PROFILE", "prod");
    run.variable("POOLHOUSE_IDLE_TIMEOUT", "off")
        .golden("sources", 0)
        .await
}

#[tokio::test]
async fn secrets_are_nowhere() -> anyhow::Result<()> {
    let url =
        "postgres://app:hunter2@127.0.0.1:1/bands?passwort=hunter3&options=-c%20app.key%3Dhunter4";
    for output in ["text", "json"] {
        for command in ["check", "migrate", "info"] {
            let run = Run::new(command)?.variable("POOLHOUSE_OUTPUT", output);
            let run = run
                .variable("DATABASE_URL", url)
                .variable("POOLHOUSE_START_TIMEOUT", "10ms");
            let run = run.variable("POOLHOUSE_SESSION", "SET app.token = 'hunter5'");
            let ended = run.run(1).await?;
            assert!(
                !ended.everything().contains("hunter"),
                "{}",
                ended.everything()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_command_runs_nothing() -> anyhow::Result<()> {
    let run = Run::new("chek")?.variable("DATABASE_URL", "sqlite::memory:");
    run.golden("unknown_command", 1).await?;
    let run = Run::new("check")?.variable("DATABASE_URL", "sqlite::memory:");
    run.variable("POOLHOUSE_OUTPUT", "yaml")
        .golden("unknown_output", 1)
        .await
}
