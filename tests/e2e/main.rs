//! Evenkeel from outside, on the proving ground: the real program, LocalStack with the plug-in, real engines.
//!
//! `localstack/up` first, then `cargo test --features e2e --test e2e`. The tests find the proving ground by
//! `EVENKEEL_TESTBED`, or in `.testbed` of this repository. Every test has a stack, a balancer and a region of its own;
//! of those on EC2, the ones that make no faults and count no calls stand in one region ([`ground::SHARED`]).
//! What holds whoever runs the instances is written once, for a [`place::Place`], and tested on each provider.

mod bad_input;
mod controller;
mod converge;
mod databases;
mod disk;
mod drift;
mod ec2;
mod fleet;
mod ground;
mod hands;
mod imported;
mod in_place;
mod killed;
mod load;
mod manifest;
mod operator;
mod options;
mod place;
#[path = "../notifications/receiver.rs"]
#[allow(dead_code)]
mod receiver;
mod registries;
mod releases;
mod repository;
mod rest;
mod rollouts;
mod scaling;
mod secrets;
mod trouble;
mod truth;
