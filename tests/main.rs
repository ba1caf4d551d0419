//! End to end: the real command, real processes, real clients.
//!
//! Every test starts nodes of the binary that was just built, each with its own home and its own
//! ports, and drives them as a person would: by the command, by `npm`, by `curl`. Nothing here
//! reaches the internet, and nothing sleeps for luck: tests wait for a condition, with a limit.
//!
//! ```text
//! tests/run                 everything that guards a change
//! tests/run apart           the end-to-end tests whose name contains `apart`
//! ```
//!
//! A test that fails keeps its folder, with the homes and the logs of its nodes, and prints where.
//! A test whose tool is missing skips loudly; `tests/skips.txt` lists the skips that may happen.

#[cfg(test)]
mod backup;
#[cfg(test)]
mod big_wheels;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod cargo;
#[cfg(test)]
mod cargo_link;
#[cfg(test)]
mod cargo_upstream;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod confusion;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod generic;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod index;
#[cfg(test)]
mod invites;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod lan;
#[cfg(test)]
mod life;
#[cfg(test)]
mod link;
#[cfg(test)]
mod live;
#[cfg(test)]
mod live_cargo;
#[cfg(test)]
mod live_python;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod npm;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod own_names;
#[cfg(test)]
mod poetry;
mod prefetch;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod pypi;
#[cfg(test)]
mod pypi_http;
#[cfg(test)]
mod pypi_upstream;
mod python_clients;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod realms;
#[cfg(test)]
mod realms_more;
#[cfg(test)]
mod reunion;
#[cfg(test)]
mod run_proxy;
mod run_python;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod shaped;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod stub_clients;
#[cfg(test)]
mod thin;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod upstream_verbs;
#[cfg(test)]
mod upstreams;
#[cfg(test)]
mod worlds;
