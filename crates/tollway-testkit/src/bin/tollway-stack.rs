//! Starts and stops Tollway's demo on this machine, and plays its story.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tollway_testkit::stack::{self, Ports, Stack, StackOptions};
use tollway_testkit::story::{self, Stage};

/// How long a background stack may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(180);
const INTERVAL: Duration = Duration::from_millis(50);

/// Starts Tollway's demo: tollwayd, a joke API and Envoy with the filter.
#[derive(Debug, Parser)]
#[command(name = "tollway-stack")]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Starts everything, plays the story, stops everything.
    Demo,
    /// Starts everything and keeps it running, in the background.
    Up {
        /// Stay in the foreground until Ctrl-C.
        #[arg(long)]
        foreground: bool,
    },
    /// Stops what `up` started.
    Down,
    /// Plays the story against a running stack.
    Story {
        /// Envoy's URL.
        #[arg(long, default_value = "http://127.0.0.1:8402")]
        gateway: String,
        /// The URL of tollwayd's admin listener, whose simulated node pays.
        #[arg(long, default_value = "http://127.0.0.1:8404")]
        wallet_url: String,
    },
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Task::Demo => demo().await,
        Task::Up { foreground: true } => up_in_foreground().await,
        Task::Up { foreground: false } => up_in_background().await,
        Task::Down => down().await,
        Task::Story { gateway, wallet_url } => play(&gateway, &wallet_url).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<(), Failure> {
    let dir = run_dir()?.join("demo");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    println!("Starting tollwayd, the joke API and Envoy ...");
    let stack = start(&dir).await?;
    let played = play(&stack.gateway_url(), &stack.admin_url()).await;
    if let Err(failure) = played {
        return Err(format!("{failure}\n\nThe logs are in {}.", dir.display()).into());
    }
    stack.stop().await?;
    println!("`make up` keeps the stack running; the logs of this run are in {}.", dir.display());
    Ok(())
}

async fn play(gateway: &str, wallet: &str) -> Result<(), Failure> {
    let url = |text: &str| text.trim_end_matches('/').to_owned();
    let stage = Stage { gateway: url(gateway), wallet: url(wallet) };
    println!("Tollway's story on {}", stage.gateway);
    story::play(&stage, &mut io::stdout()).await?;
    Ok(())
}

async fn up_in_foreground() -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let run = RunFiles::new(run_dir()?);
    let stack = start(&run.dir).await?;
    run.write(&stack)?;
    println!("{}", welcome(&stack, &run));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    run.remove();
    stack.stop().await?;
    println!("Stopped.");
    Ok(())
}

async fn up_in_background() -> Result<(), Failure> {
    let run = RunFiles::new(run_dir()?);
    if let Some(pid) = run.running() {
        return Err(format!("A stack runs already (process {pid:?}). `make down` stops it.").into());
    }
    run.remove();
    let log = File::create(&run.log)?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["up", "--foreground"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let started = wait_until(|| {
        if run.pid.exists() {
            return Some(true);
        }
        child.try_wait().ok().flatten().map(|_| false)
    });
    match started.await {
        Some(true) => {
            println!("{}", fs::read_to_string(&run.log)?.trim_end());
            Ok(())
        }
        Some(false) => Err(fs::read_to_string(&run.log)?.trim().to_owned().into()),
        None => {
            child.kill()?;
            Err(format!("The stack did not start. Its log is {}.", run.log.display()).into())
        }
    }
}

async fn down() -> Result<(), Failure> {
    let run = RunFiles::new(run_dir()?);
    let Some(pid) = run.running() else {
        println!("No stack runs.");
        run.remove();
        return Ok(());
    };
    kill_process(pid, Signal::TERM)?;
    let gone = wait_until(|| test_kill_process(pid).is_err().then_some(()));
    if gone.await.is_none() {
        return Err(format!("Process {pid:?} does not end. Its log: {}", run.log.display()).into());
    }
    println!("Stopped. The ledger stays in {}.", run.dir.display());
    Ok(())
}

async fn start(dir: &Path) -> Result<Stack, Failure> {
    let options = StackOptions {
        ports: Some(Ports::of_demo()?),
        dir: Some(dir.to_owned()),
        ..StackOptions::default()
    };
    Ok(Stack::start(options).await?)
}

fn welcome(stack: &Stack, run: &RunFiles) -> String {
    let gateway = stack.gateway_url();
    let admin = stack.admin_url();
    format!(
        "Tollway is up.\n  \
           the paid API     {gateway}/api/joke\n  \
           wallet, admin    {admin}\n  \
           Envoy's stats    {}/stats/prometheus\n  \
           logs, ledger     {}\n  \
           tokens           {}\n\
         Try:\n  \
           curl -i {gateway}/api/joke\n  \
           tollway get {gateway}/api/joke --max-sats 50 --wallet-url {admin}\n\
         Stop it with `make down`.",
        stack.envoy_admin_url(),
        run.dir.display(),
        run.tokens.display(),
    )
}

/// What a running stack leaves on the disk.
#[derive(Debug)]
struct RunFiles {
    dir: PathBuf,
    /// Written when the stack is ready.
    pid: PathBuf,
    log: PathBuf,
    /// The tokens of this run, readable by their owner alone.
    tokens: PathBuf,
}

impl RunFiles {
    fn new(dir: PathBuf) -> Self {
        let [pid, log, tokens] = ["stack.pid", "stack.log", "tokens.env"].map(|f| dir.join(f));
        Self { dir, pid, log, tokens }
    }

    fn write(&self, stack: &Stack) -> io::Result<()> {
        let (gate, admin) = (stack.gate_token(), stack.admin_token());
        let mut tokens = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.tokens)?;
        writeln!(tokens, "TOLLWAY_GATE_TOKEN={gate}\nTOLLWAY_ADMIN_TOKEN={admin}")?;
        fs::write(&self.pid, format!("{}\n", std::process::id()))
    }

    fn remove(&self) {
        for file in [&self.pid, &self.tokens] {
            // Not there is what we want.
            let _ = fs::remove_file(file);
        }
    }

    /// The process of the stack, if the one that the file names is still ours.
    fn running(&self) -> Option<Pid> {
        let pid: i32 = fs::read_to_string(&self.pid).ok()?.trim().parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&command).contains("tollway-stack");
        Pid::from_raw(pid).filter(|_| ours)
    }
}

fn run_dir() -> Result<PathBuf, Failure> {
    let dir = stack::root()?.join(".tools/run");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

async fn wait_until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return Some(found);
        }
        tokio::time::sleep(INTERVAL).await;
    }
    None
}
