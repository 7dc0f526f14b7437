//! Runs seeds: `posthorn-sim COUNT [FIRST]`, or one of them with everything that happens: `posthorn-sim show SEED`.

use std::process::ExitCode;

use posthorn_sim::plan::more::MORE_FROM;
use posthorn_sim::plan::third::THIRD_FROM;
use posthorn_sim::run::run;
use posthorn_sim::sweep::sweep;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match (words.first().map(String::as_str), number(0), number(1)) {
        (Some("show"), _, Some(seed)) => {
            let report = run(seed, true);
            println!("seed {seed}: {:?}", report.violation.map(|(violation, _)| violation));
            ExitCode::SUCCESS
        }
        (_, Some(count), first) => {
            // Without a first seed, a third of each kind.
            let third = count / 3;
            let each = vec![(0, third), (MORE_FROM, third), (THIRD_FROM, count - 2 * third)];
            let firsts = first.map_or(each, |first| vec![(first, count)]);
            let mut found = false;
            for (first, count) in firsts {
                let outcome = sweep(first..first + count);
                println!("{outcome}");
                found |= !outcome.failures.is_empty();
            }
            if !found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => {
            eprintln!("posthorn-sim COUNT [FIRST], or posthorn-sim show SEED");
            ExitCode::FAILURE
        }
    }
}
