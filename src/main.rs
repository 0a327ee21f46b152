//! wip
use clap::Parser;
#[derive(clap::Parser, Debug)]
enum Cli { Bench(otlpd::cli::bench::BenchArgs), Run { #[arg(long)] config: std::path::PathBuf } }
fn main() -> std::process::ExitCode {
    let path = match Cli::parse() { Cli::Bench(a) => return otlpd::cli::bench::run(a), Cli::Run { config } => config };
    let config = otlpd::config::Config::load(Some(std::path::Path::new(&path)), &[], &|n| std::env::var(n).ok()).map_err(|p| panic!("{p}")).unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    rt.block_on(async {
        let budget = otlpd::budget::Budget::new(128 << 20);
        let workers = otlpd::host::workers::Workers::new(2);
        let app = otlpd::app::App::start(&config, budget, workers).await.unwrap();
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        term.recv().await;
        let l = app.stop().await;
        println!("{}", serde_json::to_string(&l).unwrap());
    });
    std::process::ExitCode::SUCCESS
}
