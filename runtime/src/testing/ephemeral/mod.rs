//! A private server for tests, where no URL names one.
//!
//! It is made of the programs on this machine, shared by all test processes of one user, and gone a minute after the last of
//! them. There is no daemon to set up and nothing to stop.
//!
//! | file | what it holds |
//! |---|---|
//! | `settle` | which settings mean a private server |
//! | `no_server` | why there is none |
//! | `make` | the kinds of server: their programs, and how these are called |
//! | `machine` | where programs, accounts and folders are |
//! | `template_files` | the files of an empty server, made once and copied |
//! | `shared` | the running server that processes share |
//! | `keeper.sh` | the process that runs the server for as long as somebody uses it |
//!
//! The folder of a running server holds:
//!
//! | entry | meaning |
//! |---|---|
//! | `data` | the server's files |
//! | `users/<pid>` | a process that uses the server; `closing` instead of `users` while the keeper stops it |
//! | `port` | where it listens, on 127.0.0.1 |
//! | `log` | what it says |

mod machine;
mod make;
mod no_server;
mod settle;
mod shared;
mod template_files;

#[cfg(feature = "mysql")]
pub(super) use self::make::MYSQL_URL;
#[cfg(feature = "postgres")]
pub(super) use self::make::POSTGRES_URL;
pub(super) use self::settle::settle;
