//! All suites in one test binary: one link instead of many.

mod architecture;
mod bans;
mod deliveries;
mod main_path;
mod publish;
mod reading;
mod crash;
mod damage;
mod kit;
