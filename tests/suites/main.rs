//! All suites in one test binary: one link instead of many.

mod architecture;
mod bans;
mod crash;
mod damage;
mod kit;
