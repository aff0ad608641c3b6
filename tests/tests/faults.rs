//! The table of faults: each fault with its case, its databases and its pools.
//!
//! Each row runs on the multi-thread and on the current-thread runtime. The cases with a pool in this process are in
//! `poolhouse_tests::faults`, because the comparison report runs them too. The cases that end a program are in [`ends`].

mod ends;
mod load;

use crate::table::{faults, variants};

variants! {
    case_01_the_body_returns: returns, on (postgres, mariadb, sqlite);
    case_02_the_body_fails: fails, on (postgres, mariadb, sqlite);
    case_03_the_body_panics: panics, on (postgres, mariadb, sqlite);
    case_04_a_task_panics_with_a_checkout: task_panics, on (postgres, mariadb, sqlite);
    case_05_the_body_exits_the_process: exits, on (postgres, mariadb);
    case_06_the_program_is_killed_in_a_transaction: killed, on (postgres, mariadb, sqlite);
    case_08_a_second_sigterm: second_signal, on (postgres, mariadb);
    case_11_a_static_outlives_the_pool: in_a_static, on (postgres, mariadb, sqlite);
    case_25_the_body_drops_another_runtime: another_runtime, on (postgres, mariadb, sqlite);
}

mod case_07_sigterm_under_load {
    use super::load::sigterm_under_load;

    #[tokio::test]
    async fn postgres() -> anyhow::Result<()> {
        sigterm_under_load::<sqlx::Postgres>().await
    }

    #[tokio::test]
    async fn mariadb() -> anyhow::Result<()> {
        sigterm_under_load::<sqlx::MySql>().await
    }
}

use ends::{
    another_runtime, exits, fails, in_a_static, killed, panics, returns, second_signal, task_panics,
};

faults! {
    case_09_a_checkout_is_held_for_ever: close::held_for_ever, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_10_a_checkout_is_leaked: close::leaked, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_11_a_clone_outlives_the_pool: close::outlived_by_a_clone, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_12_a_statement_runs_at_close: close::running_statement, on (postgres, mariadb), with (Own, OnSqlx);
    case_13_a_query_is_dropped_before_close: close::dropped_query, on (postgres, mariadb), with (Own);
    case_13_a_dropped_query_frees_its_slot: close::dropped_query_frees_its_slot, on (postgres, mariadb), with (Own);
    case_14_begin_is_cancelled: cancel::begin, on (postgres, mariadb, sqlite), with (Own, EngineOnSqlx);
    case_14_a_whole_transaction_is_cancelled: cancel::transaction, on (postgres, mariadb, sqlite), with (Own, EngineOnSqlx);
    case_14_a_plain_begin_is_cancelled: cancel::plain_begin, on (postgres, mariadb, sqlite), with (Own);
    case_16_acquire_is_cancelled: cancel::acquire, on (postgres, mariadb, sqlite), with (Own, EngineOnSqlx);
    case_17_a_thousand_tasks_wait_at_close: close::a_thousand_waiters, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_17_waiters_take_turns_at_close: close::waiters_in_turn, on (postgres, mariadb, sqlite), with (Own);
    case_18_a_handshake_in_progress_at_close: network::late_handshake, on (postgres, mariadb), with (Own, OnSqlx);
    case_19_the_server_restarts_while_the_pool_is_idle: restart::while_idle, on (postgres, mariadb), with (Own, OnSqlx);
    case_20_the_server_restarts_in_the_middle_of_queries: restart::in_the_middle_of_queries, on (postgres, mariadb), with (Own, OnSqlx, EngineOnSqlx);
    case_21_a_connection_returns_into_a_black_hole: network::return_into_a_black_hole, on (postgres, mariadb), with (Own);
    case_21_an_idle_connection_is_in_a_black_hole: network::idle_in_a_black_hole, on (postgres, mariadb), with (Own);
    case_22_all_peers_are_in_a_black_hole_at_close: network::close_into_a_black_hole, on (postgres, mariadb), with (Own, OnSqlx);
    case_23_a_result_is_half_read_at_close: close::half_read_result, on (postgres, mariadb, sqlite), with (Own, EngineOnSqlx);
    case_24_a_checkout_is_dropped_outside_any_runtime: runtimes::dropped_outside, on (postgres, mariadb, sqlite), with (Own, EngineOnSqlx);
    case_24_a_checkout_is_dropped_after_its_runtime: runtimes::dropped_after_the_runtime, on (postgres, mariadb, sqlite), with (Own, EngineOnSqlx);
    case_25_another_runtime_ends: runtimes::another_runtime_ends, on (postgres, mariadb, sqlite), with (Own);
    case_26_a_start_fails_after_some_connections: start::after_some_connections, on (postgres, mariadb), with (Own);
    case_27_too_many_clients: start::too_many_clients, on (postgres, mariadb), with (Own);
    case_27_a_wrong_password: start::wrong_password, on (postgres, mariadb), with (Own, OnSqlx);
    case_27_an_unknown_database: start::unknown_database, on (postgres, mariadb), with (Own, OnSqlx);
    case_27_tls_refused: start::tls_refused, on (postgres, mariadb), with (Own, OnSqlx);
    case_31_resized_down_and_up: size::resized_down_and_up, on (postgres, mariadb, sqlite), with (Own);
    case_32_resized_below_min_size: size::resized_below_min_size, on (postgres, mariadb, sqlite), with (Own);
    case_36_a_start_is_cancelled: start::cancelled, on (postgres, mariadb), with (Own);
    case_39_a_close_is_given_up: close::given_up, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_42_an_error_of_the_client_alone: errors::of_the_client_alone, on (postgres, mariadb), with (Own, EngineOnSqlx);
    case_42_an_error_of_the_client_alone_on_a_node: errors::of_the_client_alone_on_a_node, on (postgres, mariadb), with (Own);
    case_43_cancelled_behind_a_lock: cancel::behind_a_lock, on (postgres, mariadb), with (Own);
    case_43_cancelled_behind_a_lock_without_room: cancel::behind_a_lock_without_room, on (postgres, mariadb), with (Own);
    case_45_without_a_statement_cache: errors::without_a_statement_cache, on (postgres, mariadb), with (Own, OnSqlx);
    case_47_a_runtime_ends_without_a_close: runtimes::ends_without_a_close, on (postgres, mariadb), with (Own, OnSqlx, EngineOnSqlx);
    case_48_the_longest_times: limits::the_longest_times, on (postgres, mariadb, sqlite), with (Own, OnSqlx);
    case_49_secrets_in_the_url: secrets::in_the_url, on (postgres, mariadb), with (Own, OnSqlx);
    case_50_a_session_with_the_id_of_one_of_ours: strangers::with_the_id_of_one_of_ours, on (postgres, mariadb), with (Own, OnSqlx);
    case_50_of_ended_sessions_few_are_remembered: strangers::of_ours_that_have_ended, on (postgres, mariadb), with (Own, OnSqlx);
    case_51_evicted_without_room: size::evicted_without_room, on (postgres, mariadb), with (Own);
    case_51_evicted_while_the_session_ends: size::evicted_while_the_session_ends, on (postgres), with (Own);
}
