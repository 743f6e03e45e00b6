//! The command line, as clap takes it. What a command does stands in `commands`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use reconciler_core::packer::release::ReleaseVersion;
use reconciler_model::duration;
use reconciler_model::survey::Architecture;

/// Keeps a fleet of Amazon Machine Images as a git repository says they should be.
#[derive(Debug, Parser)]
#[command(
    name = "reconciler",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 nothing to do, or done; 1 an error, or something has failed; 2 work, drift or a difference (plan, status and diff with --exit-code); 3 only a person's part is left (apply); 64 bad usage; 78 a configuration that run cannot use; 130 Ctrl-C, 143 SIGTERM."
)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// As if started in this folder.
    #[arg(short = 'C', global = true, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Say only what was asked for, and errors; the daemon logs warnings and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say on standard error what is done meanwhile; twice: in detail.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// How much is said.
    pub(crate) fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (false, 0) => Loudness::Normal,
            (false, 1) => Loudness::Verbose,
            (false, _) => Loudness::Detailed,
        }
    }
}

/// How much is said beside what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// Errors.
    Quiet,
    /// What a person wants to know.
    Normal,
    /// What is done.
    Verbose,
    /// What is done, in detail.
    Detailed,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Is this repository sound? Asks no network; for pre-commit and pull requests.
    Check(CheckArgs),
    /// What would be built, and why, step by step.
    Plan(PlanArgs),
    /// What changed since the recorded image: parameters, rendered files, scripts, as a unified
    /// diff.
    Diff(DiffArgs),
    /// The rendered files of a step, as Packer reads them.
    Render(RenderArgs),
    /// Every step: one state, one reason, image, age. Works with and without the daemon.
    Status(StatusArgs),
    /// Pass after pass until nothing is left to do, then exit.
    Apply(ApplyArgs),
    /// Take over without a rebuild: records of the Python library, an image that somebody made
    /// (`--image`), or those of an earlier run (`--from`).
    Adopt(AdoptArgs),
    /// Remove the record of a step that git has no more; its image stays.
    Forget(ForgetArgs),
    /// Accept a commit that does not descend from the last applied one, where rewritten history is
    /// refused.
    AllowRewrite(AllowRewriteArgs),
    /// What Packer said, of this build or an earlier one.
    Logs(LogsArgs),
    /// Every build that was tried, newest first: its stages, times, and why it failed.
    History(HistoryArgs),
    /// Recorded images, newest first: of a workflow, of its family, or of every workflow.
    Images(ImagesArgs),
    /// What people have asked of a running reconciler (`retry`, `cancel`, `adopt`, `forget`), and the
    /// answers.
    Requests(RequestsArgs),
    /// Base images: which there are, and which one the workflow starts from.
    #[command(subcommand)]
    Base(BaseCommand),
    /// Images: what one is, where it comes from, what was built on it, what uses it; a new one of an
    /// instance; or to delete those that nothing needs.
    #[command(subcommand)]
    Image(ImageCommand),
    /// The Packer of this host.
    #[command(subcommand)]
    Packer(PackerCommand),
    /// Try a step again that has failed, whatever it waits for.
    Retry(RetryArgs),
    /// End the running build of a step cleanly.
    Cancel(CancelArgs),
    /// The daemon: watch, plan, build, record, for ever.
    Run(RunArgs),
    /// Fetches one repository; started by the reconciler itself.
    #[command(hide = true, name = reconciler::git::fetcher::COMMAND)]
    Fetch,
    /// Runs one build; started by the reconciler itself.
    #[command(hide = true)]
    Supervise {
        /// The build's folder.
        folder: PathBuf,
    },
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs; see docs/output.md.
    Json,
}

/// Which workflow is meant, where there are several.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Which {
    /// Only the repository of this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) repository: Option<String>,
    /// Only the workflow of this id or folder.
    #[arg(long, value_name = "ID")]
    pub(crate) workflow: Option<String>,
    /// At this revision instead of the followed branch or tag.
    #[arg(long, value_name = "REF")]
    pub(crate) rev: Option<String>,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// What would be committed instead of a commit; what is meant where git runs this as a hook of
    /// a commit.
    #[arg(long, conflicts_with_all = ["worktree", "rev"])]
    pub(crate) index: bool,
    /// The files as they lie there, with those that git does not know yet and without those that it
    /// ignores.
    #[arg(long, conflicts_with = "rev")]
    pub(crate) worktree: bool,
    /// Run `packer validate` on every step as well.
    #[arg(long)]
    pub(crate) packer: bool,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Only these steps, with their ancestors.
    #[arg(value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// Do not ask EC2: trust the records.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Exit with 2 if there is work.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The step.
    pub(crate) step: String,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// Exit with 2 if something changed.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `render`
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// The step.
    pub(crate) step: String,
    /// Write the files into this folder instead of printing them.
    #[arg(long, value_name = "D")]
    pub(crate) out: Option<PathBuf>,
    /// Write secrets in clear; without it something stands in their place.
    #[arg(long)]
    pub(crate) show_secrets: bool,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}

/// `status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Only these steps, with their ancestors.
    #[arg(value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// Until Ctrl-C: drawn in place on a terminal, printed again elsewhere whenever something has
    /// changed.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Do not ask EC2: trust the records.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Exit with 2 if anything is not in sync.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `apply`
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Only these steps, with their ancestors.
    #[arg(value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    /// Build this step though nothing changed; may be given several times.
    #[arg(long, value_name = "STEP")]
    pub(crate) rebuild: Vec<String>,
    /// Print the plan that would be executed, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// How the result is printed; as JSON at the end, with what happens meanwhile on standard
    /// error.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `adopt`
#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    /// Only these steps; by default all unverified ones, or with `--from` all that have no image of
    /// this run.
    #[arg(value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    /// This image, which has no record, becomes the image of the step.
    #[arg(long, value_name = "AMI", conflicts_with = "from")]
    pub(crate) image: Option<String>,
    /// The images of this earlier run become the images of this one; `family` in reconciler.json
    /// says which ids are runs of one workflow.
    #[arg(long, value_name = "WORKFLOW")]
    pub(crate) from: Option<String>,
    /// With `--image` or `--from`: also where something is in doubt, or an image that is there is
    /// replaced.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Say what would be adopted or refused, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}

/// `forget`
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// The step, which git has no more.
    pub(crate) step: String,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// Only the repository of this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) repository: Option<String>,
    /// Only the workflow of this id or folder.
    #[arg(long, value_name = "ID")]
    pub(crate) workflow: Option<String>,
}

/// `allow-rewrite`
#[derive(Debug, Args)]
pub(crate) struct AllowRewriteArgs {
    /// The commit that the followed branch or tag has now.
    pub(crate) rev: String,
    /// The repository; needed where several are configured.
    #[arg(long, value_name = "NAME")]
    pub(crate) repository: Option<String>,
}

/// `logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The step.
    pub(crate) step: String,
    /// This build instead of the newest; the begin of its id is enough.
    #[arg(long, value_name = "ID")]
    pub(crate) build: Option<String>,
    /// Go on until the build is over.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only so many lines of what is there: the last ones.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Only what was said since then: 2026-11-24T09:30:00Z, 2026-11-24, or how long ago that is,
    /// such as 10m.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Timestamp>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}

/// `history`
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only this step, in git or not.
    pub(crate) step: Option<String>,
    /// Only this build: its id, or how it begins.
    #[arg(long, value_name = "BUILD")]
    pub(crate) build: Option<String>,
    /// At most so many builds of each workflow.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only builds that began since then: 2026-11-24, 2026-11-24T09:30:00Z, or how long ago that
    /// is, such as 7d.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<Timestamp>,
    /// Only builds that failed.
    #[arg(long)]
    pub(crate) failed: bool,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `images`
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// Only images of this step, in git or not.
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// Those of the workflow of this id, in git or not, instead of those that git has.
    #[arg(long, value_name = "ID")]
    pub(crate) workflow: Option<String>,
    /// Those of all runs of the workflow, as `family` in its reconciler.json names them.
    #[arg(long, conflicts_with_all = ["workflow", "all"])]
    pub(crate) family: bool,
    /// Those of every workflow that has or had one of the steps.
    #[arg(long, conflicts_with = "workflow")]
    pub(crate) all: bool,
    /// Only what the workflows of the repository of this name have.
    #[arg(long, value_name = "NAME")]
    pub(crate) repository: Option<String>,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `base`
#[derive(Debug, Subcommand)]
pub(crate) enum BaseCommand {
    /// Images that a workflow can start from, newest first: public ones, your own, and those that
    /// are shared with you.
    Find(BaseFindArgs),
}

/// `base find`
#[derive(Debug, Args)]
pub(crate) struct BaseFindArgs {
    /// Whose names match, with * for any text and ? for one character; what the workflow's
    /// parameters say by default.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) name: Option<String>,
    /// Of this account (12 digits), or self, amazon, aws-marketplace; what the workflow's parameters
    /// say by default.
    #[arg(long, value_name = "ID")]
    pub(crate) owner: Option<String>,
    /// For this kind of processor.
    #[arg(long, value_enum, default_value_t, value_name = "ARCH")]
    pub(crate) arch: Arch,
    /// Write id and name of the newest into `workflow_param.json`; everything else there stays as
    /// it is.
    #[arg(long, conflicts_with = "rev")]
    pub(crate) write: bool,
    /// At most so many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,
    #[command(flatten)]
    /// Which workflow; as its files lie there, where there is a work tree.
    pub(crate) which: Which,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// `image`
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// All that is known of an image, or of the current image of a step: record, ancestry, what was
    /// built on it, where it is used, size and tags.
    Show(ImageShowArgs),
    /// The image of a stopped instance, for a step that a person makes; recorded like any other.
    Create(ImageCreateArgs),
    /// Take images away that nothing needs: says what goes and what keeps the others, and asks.
    Delete(ImageDeleteArgs),
    /// End the reservation of images whose deletion was begun and not ended.
    Release(ImageReleaseArgs),
}

/// `image delete`
#[derive(Debug, Args)]
pub(crate) struct ImageDeleteArgs {
    /// The images.
    #[arg(value_name = "AMI", required_unless_present = "workflow", conflicts_with = "workflow")]
    pub(crate) images: Vec<String>,
    /// All images of the workflow of this id, with its records: an earlier run, which git has no
    /// more.
    #[arg(long, value_name = "ID")]
    pub(crate) workflow: Option<String>,
    /// Their snapshots as well, but for those that another image uses.
    #[arg(long)]
    pub(crate) snapshots: bool,
    /// Without asking.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
}

/// `image release`
#[derive(Debug, Args)]
pub(crate) struct ImageReleaseArgs {
    /// The images.
    #[arg(value_name = "AMI", required = true)]
    pub(crate) images: Vec<String>,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
}

/// `image create`
#[derive(Debug, Args)]
pub(crate) struct ImageCreateArgs {
    /// The step.
    #[arg(long, value_name = "STEP")]
    pub(crate) step: String,
    /// The instance, which has to be stopped.
    #[arg(long, value_name = "ID")]
    pub(crate) instance_id: String,
    /// Though the instance was not started from the image that git asks for.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}

/// `image show`
#[derive(Debug, Args)]
pub(crate) struct ImageShowArgs {
    /// The image's id, or the step.
    #[arg(value_name = "AMI|STEP")]
    pub(crate) image: String,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
    /// How the result is printed.
    #[arg(long, short, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Output,
}

/// What an image runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// Intel and AMD, 64 bits.
    #[default]
    #[value(name = "x86_64")]
    X86_64,
    /// ARM, 64 bits.
    Arm64,
    /// Intel and AMD, 32 bits.
    I386,
    /// A Mac with an Intel processor.
    #[value(name = "x86_64_mac")]
    X86_64Mac,
    /// A Mac with a processor of Apple's own.
    #[value(name = "arm64_mac")]
    Arm64Mac,
}

impl From<Arch> for Architecture {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64,
            Arch::Arm64 => Self::Arm64,
            Arch::I386 => Self::I386,
            Arch::X86_64Mac => Self::X86_64Mac,
            Arch::Arm64Mac => Self::Arm64Mac,
        }
    }
}

/// A time: how long ago, a day of this host's calendar, or a moment.
fn since(text: &str) -> Result<Timestamp, String> {
    if let Some(ago) = duration::parse(text) {
        let ago = SignedDuration::try_from(ago.min(duration::LONGEST));
        let now = Timestamp::now();
        return Ok(ago.ok().and_then(|ago| now.checked_sub(ago).ok()).unwrap_or(now));
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    text.parse::<Date>()
        .and_then(|day| TimeZone::system().to_timestamp(day.at(0, 0, 0, 0)))
        .map_err(|_| {
            format!(
                "neither how long ago ({}), nor a day (2026-11-24), nor a moment (2026-11-24T09:30:00Z)",
                duration::HOW
            )
        })
}

/// `packer`
#[derive(Debug, Subcommand)]
pub(crate) enum PackerCommand {
    /// Install Packer, or another version of it, once its vendor's signature and its SHA-256 fit.
    Install(PackerInstallArgs),
    /// Which Packer and plugins are installed, what the templates ask for, and how to get what is
    /// missing. Exit code 1 if something is.
    Doctor,
}

/// `packer install`
#[derive(Debug, Args)]
pub(crate) struct PackerInstallArgs {
    /// This version instead of the newest.
    #[arg(long, value_name = "V", value_parser = release)]
    pub(crate) version: Option<ReleaseVersion>,
    /// Into this folder instead of /usr/local/bin for root and ~/.local/bin for others, or of where
    /// `packer.binary` of the configuration is.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Take the files from this folder instead of the release site, under the names that they have
    /// there: `packer_V_SHA256SUMS`, `packer_V_SHA256SUMS.sig` and the zip file.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
}

fn release(text: &str) -> Result<ReleaseVersion, String> {
    let read = ReleaseVersion::parse(text);
    read.ok_or_else(|| "a version of Packer has three numbers, such as 1.11.2".to_owned())
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Until nothing is left to do, then exit: for a timer instead of a service.
    #[arg(long)]
    pub(crate) once: bool,
}

/// `requests`
#[derive(Debug, Args)]
pub(crate) struct RequestsArgs {
    /// Only this one; the begin of its id is enough.
    #[arg(value_name = "ID")]
    pub(crate) request: Option<String>,
    /// Only those that are not answered yet.
    #[arg(long)]
    pub(crate) open: bool,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}

/// `retry`
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The step.
    pub(crate) step: String,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}

/// `cancel`
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The step.
    pub(crate) step: String,
    /// Ask, and do not wait until the build has ended.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Why, in your words: kept with the request.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    /// Which workflow.
    pub(crate) which: Which,
}
