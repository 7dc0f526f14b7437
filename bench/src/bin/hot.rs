//! `hot NAME N` runs one operation N times and says nothing; without arguments it lists the names, and how many of what one run is.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(name), times) = (args.next(), args.next()) else {
        posthorn_bench::units().for_each(|(name, count, unit)| println!("{name} {count} {unit}"));
        return ExitCode::SUCCESS;
    };
    let (Some(mut run), Some(times)) = (posthorn_bench::operation(&name), times.and_then(|times| times.parse::<u64>().ok())) else {
        eprintln!("hot NAME N: NAME is one of those that `hot` alone lists, N a number");
        return ExitCode::FAILURE;
    };
    (0..times).for_each(|_| run());
    ExitCode::SUCCESS
}
