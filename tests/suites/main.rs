//! All suites in one test binary: one link instead of many.

mod architecture;
mod bad_requests;
mod bans;
mod cli_suite;
mod control;
mod crash;
mod damage;
mod deliveries;
mod egress;
mod endpoints;
mod filtered;
mod fuzz;
mod grpc;
mod kit;
mod main_path;
mod memory;
mod planes;
mod publish;
mod reading;
