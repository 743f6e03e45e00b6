//! How the daemon writes its log: text on a terminal, the journal's own protocol under systemd, one JSON object a line elsewhere.

use std::io::IsTerminal as _;

use reconciler::config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Parts of the SDK that log access keys, or what credentials are made of, in detail.
const QUIET: [&str; 6] = [
    "aws_config=info",
    "aws_credential_types=info",
    "aws_runtime=info",
    "aws_sdk_sts=info",
    "aws_sigv4=info",
    "aws_smithy_runtime=info",
];

/// Starts logging; `RECONCILER_LOG` takes a filter such as `debug` or `reconciler=debug`.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("RECONCILER_LOG")
        .unwrap_or_else(|_| EnvFilter::new("reconciler=info,warn"));
    // Whatever is asked for, credentials and whole answers are not logged.
    let filter = QUIET
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(filter);
    let text = || {
        tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    };
    // A second start would be a bug of this program and changes nothing.
    let _ = match resolved(format) {
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => registry.with(layer).try_init(),
            Err(_) => registry.with(text()).try_init(),
        },
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Text | LogFormat::Auto => registry.with(text()).try_init(),
    };
}

fn resolved(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => LogFormat::Journald,
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        other => other,
    }
}
