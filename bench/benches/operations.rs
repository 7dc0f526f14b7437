//! Times every operation: `cargo bench -p posthorn-bench [NAME]`.

fn main() {
    divan::main();
}

#[divan::bench(args = posthorn_bench::names())]
fn operation(bencher: divan::Bencher<'_, '_>, name: &str) {
    let run = posthorn_bench::operation(name).expect("a name from the list");
    bencher.bench_local(run);
}
