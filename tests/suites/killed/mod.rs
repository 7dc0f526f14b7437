//! Fifty kills at moments that chance chooses, under twenty subscriptions of all kinds, and an account of every event (issue of
//! delivery that holds; I1, I2, I3, I12), of what each kill repeated, and of what the process says of that itself.
//!
//! The seed is printed; `KILLED_SEED` repeats a run's choices and `KILLED_ROUNDS` makes it longer.

mod account;
mod clients;
mod kinds;
mod ledger;
mod repeats;
mod siege;

use anyhow::{Result, ensure};

use crate::dice::Dice;
use siege::Siege;

const ROUNDS: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_and_repeat_only_what_was_not_yet_stored() -> Result<()> {
    let mut dice = Dice::seeded("KILLED_SEED");
    let rounds = std::env::var("KILLED_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut siege = Siege::start(rounds).await?;
    for round in 0..rounds {
        siege.round(round, &mut dice).await?;
    }
    let truth = siege.heal().await?;
    let sums = account::account(siege.ledger(), &truth)?;
    println!(
        "{rounds} rounds, {} kills before it was ready: {} events, {} deliveries, 0 lost, {} repeated, {} could not be repeated",
        siege.at_the_start,
        truth.log.len(),
        sums.delivered,
        sums.repeated,
        sums.protected
    );
    let window = &sums.window;
    println!(
        "a kill repeated {} at the most, {} are allowed; of {} repeats {} were there at a reading of the counter; the last readings say {}, at least {} and at most {}",
        window.most, window.allowed, window.repeated, window.read, window.counted, window.certain, window.countable
    );
    // The counter is read right before each kill, so that hardly any come after it.
    ensure!(window.read * 2 >= window.repeated, "too few repeats were held against the counter: {window:?}");
    // An account that protects nothing would prove nothing.
    ensure!(sums.protected * 4 >= sums.delivered, "too few deliveries were stored before a kill: {sums:?}");
    ensure!(siege.ledger().kinds().len() == 20, "twenty subscriptions");
    Ok(())
}
