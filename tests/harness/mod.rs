//! What the end-to-end tests stand on: folders, processes, clients, links, and waiting.

pub(crate) mod acme;
pub(crate) mod bucket;
pub(crate) mod cargo;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod forwarder;
pub(crate) mod http;
pub(crate) mod invite;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod project;
pub(crate) mod python;
pub(crate) mod samples;
pub(crate) mod session;
pub(crate) mod shaper;
pub(crate) mod small_disk;
pub(crate) mod tls;
pub(crate) mod tunnel;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod world;

pub(crate) use bucket::BucketServer;
pub(crate) use cargo::Cargo;
pub(crate) use client::{Curl, Npm};
pub(crate) use clients::Client;
pub(crate) use clock::Clock;
pub(crate) use forwarder::Forwarder;
pub(crate) use http::{Reply, Request};
pub(crate) use network::Lan;
pub(crate) use node::{Node, NodeOptions};
pub(crate) use project::Project;
pub(crate) use python::Python;
pub(crate) use small_disk::SmallDisk;
pub(crate) use tls::TlsFront;
pub(crate) use tunnel::Tunnel;
pub(crate) use wait::{wait_for, wait_until};
pub(crate) use world::World;

use std::time::Duration;

/// How long a small release may take to reach a node that is connected.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How long anything that moves many bytes, or that waits for a redial, may take.
pub(crate) const EVENTUALLY: Duration = Duration::from_secs(90);
