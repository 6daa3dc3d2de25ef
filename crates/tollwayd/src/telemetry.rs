//! The log. Only this crate writes to it below the level of a warning: what libraries trace
//! (headers, frames, statements) could hold secrets.

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Sends this process's log to standard error. A second call changes nothing.
pub(crate) fn init(config: LogConfig) {
    // It fails only where a log is set up already, as in tests.
    let _ = tracing::subscriber::set_global_default(subscriber(config, std::io::stderr));
}

/// The log as configured, written to `writer`.
pub fn subscriber<W>(config: LogConfig, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(level(config.level)))
        .with_target("tollwayd", level(config.level));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(targets))
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
