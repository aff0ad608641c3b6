//! A private server for tests, where no URL names one.
//!
//! The server runs from the programs on this machine. All test processes of one user share it, and it stops a minute after
//! the last of them. So there is nothing to set up and nothing to stop.
//!
//! | file | what it holds |
//! |---|---|
//! | `settle` | which settings mean a private server |
//! | `no_server` | the error when there is none |
//! | `make` | the kinds of server: their programs and arguments |
//! | `machine` | the programs, accounts and folders of this machine |
//! | `template_files` | the files of an empty server, made once and copied |
//! | `shared` | the running server that processes share |
//! | `supervisor.sh` | the process that runs the server while it has users |
//!
//! The folder of a running server holds:
//!
//! | entry | meaning |
//! |---|---|
//! | `data` | the server's files |
//! | `users/<pid>` | a process that uses the server; `closing` instead of `users` while the supervisor stops it |
//! | `port` | the server's port on 127.0.0.1 |
//! | `log` | the server's output |

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
