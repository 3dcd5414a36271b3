//! The simulator: OpsWorks or EC2, balancers with requests in flight, engines, the clock and the controller's crashes, in virtual
//! time. The promises of safety are checked after every step, those of liveness once the faults stop.
//!
//! A run follows from its seed alone. `make sim SEEDS=n` plays n of them, `make sim SEED=n` one again, with its whole
//! trace; `SCENE=NAME` in another scene than its own, `CUT=…` what is left of it, as a failure tells. `FIRST=n` says
//! with which seed to begin. `SIM_DEFECT=NAME` looks for one defect alone.

mod charge;
mod cloud;
mod crowd;
mod defect;
mod dice;
mod driver;
mod engines;
mod exhaustive;
mod faults;
mod fleet;
mod launches;
mod look;
mod migrations;
mod mind;
mod mishaps;
mod opsworks;
mod play;
mod real;
mod registry;
mod scene;
mod script;
mod seeds;
mod shrink;
mod traffic;
#[path = "../trial/mod.rs"]
mod trial;
mod upheaval;
mod watch;

const SHOP: &str = include_str!("../scenarios/manifests/shop.yaml");
const EC2: &str = include_str!("../scenarios/manifests/ec2.yaml");
