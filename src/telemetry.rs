//! How the daemon writes its log: text on a terminal, the journal's own protocol under systemd, one
//! JSON object a line elsewhere.

use std::io::IsTerminal as _;

use crate::cli::Loudness;
use reconciler::config::LogFormat;
use reconciler_model::diagnostic::Diagnostic;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Parts of the SDK that log access keys, or what credentials are made of, in detail; and all of
/// their modules and kin.
const QUIET: [&str; 6] = [
    "aws_config",
    "aws_credential_types",
    "aws_runtime",
    "aws_sdk_sts",
    "aws_sigv4",
    "aws_smithy_runtime",
];

/// Whether something may be logged, whatever is asked for: credentials and whole answers are not. A
/// directive of a filter would not do, since a more specific one wins over it.
fn is_fit_to_log(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() <= Level::INFO || !QUIET.iter().any(|quiet| target.starts_with(quiet))
}

/// For a command of a person who wants to see what it does: text on standard error.
pub(crate) fn start_for_a_command(loudness: Loudness) -> Result<(), Diagnostic> {
    match loudness {
        Loudness::Quiet | Loudness::Normal => Ok(()),
        Loudness::Verbose | Loudness::Detailed => start(LogFormat::Text, loudness),
    }
}

/// The variable that says what is logged.
const FILTER: &str = "RECONCILER_LOG";

/// Starts logging; `RECONCILER_LOG` takes a filter such as `debug` or `reconciler=debug`, and one
/// that cannot be read is refused.
pub(crate) fn start(format: LogFormat, loudness: Loudness) -> Result<(), Diagnostic> {
    let asked = std::env::var(FILTER).unwrap_or_default();
    let filter = match asked.trim() {
        "" => EnvFilter::new(match loudness {
            Loudness::Quiet => "warn",
            Loudness::Normal => "reconciler=info,warn",
            Loudness::Verbose => "reconciler=debug,info",
            Loudness::Detailed => "reconciler=trace,debug",
        }),
        asked => EnvFilter::try_new(asked).map_err(|error| {
            Diagnostic::new(format!(
                "the environment variable {FILTER} is no filter: {asked:?}: {error}"
            ))
            .hint("levels are error, warn, info, debug and trace; for instance debug, or reconciler=debug,warn")
        })?,
    };
    let registry = filtered(filter);
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
                    .with_target(false)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        LogFormat::Text | LogFormat::Auto => registry.with(text()).try_init(),
    };
    Ok(())
}

fn filtered(asked: EnvFilter) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    tracing_subscriber::registry().with(asked).with(filter_fn(is_fit_to_log))
}

fn resolved(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => LogFormat::Journald,
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_logs_credentials_is_quiet_however_exactly_it_is_asked_for() {
        let kept = Kept::default();
        let asked =
            "trace,aws_smithy_runtime::client=trace,aws_smithy_runtime_api=trace,[request]=trace";
        let into = kept.clone();
        let subscriber = filtered(EnvFilter::new(asked))
            .with(tracing_subscriber::fmt::layer().with_writer(move || into.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _in = tracing::info_span!("request").entered();
            tracing::trace!(target: "aws_smithy_runtime::client::http", "of AKIA-1");
            tracing::debug!(target: "aws_smithy_runtime_api::client", "of AKIA-2");
            tracing::debug!(target: "aws_config::profile", "of AKIA-3");
            tracing::info!(target: "aws_config::profile", "is shown");
            tracing::trace!(target: "reconciler_model::build", "is shown too");
        });
        let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!said.contains("AKIA"), "{said}");
        assert!(said.contains("is shown\n") && said.contains("is shown too\n"), "{said}");
    }
}
