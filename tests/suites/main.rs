//! All suites in one test binary: one link instead of many.

mod architecture;
mod bad_requests;
mod bans;
mod broker;
mod cli_suite;
mod control;
mod crash;
mod damage;
mod deliveries;
mod egress;
mod endpoints;
mod explain;
mod filters;
mod fuzz;
mod grpc;
mod hops;
mod kit;
mod main_path;
mod memory;
mod nakadi;
mod parity;
mod planes;
mod publish;
mod qos;
mod readers;
mod reading;
