//! The words by which a log tells that a phase begins or a source is done, as Packer 1.6.6 and
//! today's amazon plugin say them.

use reconciler_model::build_phases::PhaseEnd;

/// What was said of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said<'a> {
    pub(super) source: &'a str,
    pub(super) text: &'a str,
    /// Whether it stands behind an arrow, as all that Packer says itself does.
    pub(super) is_heading: bool,
}

/// `==> amazon-ebs.x: text`, or `    amazon-ebs.x (shell-local): text`, of which nothing is a mark.
pub(super) fn said(line: &str) -> Option<Said<'_>> {
    let (is_heading, rest) = match line.strip_prefix("==> ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("    ")?),
    };
    let (target, text) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let (source, by) = target.split_once(' ').map_or((target, None), |(of, by)| (of, Some(by)));
    let is_source = source.contains('.') && by.is_none_or(|by| by.starts_with('('));
    is_source.then_some(Said { source, text, is_heading: is_heading && by.is_none() })
}

/// `Build 'amazon-ebs.x' finished after …`, or `… errored after …`: the last word of a source.
pub(super) fn ending(text: &str) -> Option<(&str, PhaseEnd)> {
    let (source, rest) = text.strip_prefix("Build '")?.split_once("' ")?;
    if rest.starts_with("finished") {
        Some((source, PhaseEnd::Passed))
    } else if rest.starts_with("errored") {
        Some((source, PhaseEnd::Failed))
    } else {
        None
    }
}

/// What a line tells of the way of a build.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// The instance runs, and is connected to by this.
    Connecting(&'static str),
    /// The next provisioner has begun by waiting.
    Pausing,
    /// A provisioner begins.
    Provisioner(Run<'a>),
    /// A provisioner has failed, and is begun again.
    Retrying,
    /// A provisioner has failed for good.
    ProvisionerFailed,
    /// The instance is stopped.
    Stopping,
    /// The image is made.
    Creating,
    /// It is copied.
    Copying,
    /// What was needed is removed.
    CleaningUp,
    /// A post-processor begins.
    PostProcessor(&'a str),
}

/// What a provisioner says that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// It runs a script on the instance, or here: its path.
    Script {
        /// The path.
        path: &'a str,
        /// Whether it is run where Packer is.
        is_local: bool,
    },
    /// Something else: the types of provisioners that say so begin with this.
    Other(&'a str),
}

impl<'a> Run<'a> {
    /// The last part of its path; none of commands that stand in the template, for which Packer
    /// writes a file of its own.
    pub(super) fn script(&self) -> Option<&'a str> {
        let Run::Script { path, .. } = self else {
            return None;
        };
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        (!name.starts_with("packer-")).then_some(name)
    }
}

const CONNECTING: [(&str, &str); 6] = [
    ("Using ssh communicator to connect", "SSH"),
    ("Using SSH communicator to connect", "SSH"),
    ("Waiting for SSH to become available", "SSH"),
    ("Using winrm communicator to connect", "WinRM"),
    ("Using WinRM communicator to connect", "WinRM"),
    ("Waiting for WinRM to become available", "WinRM"),
];

/// What a line of Packer's marks, if anything.
pub(super) fn mark(text: &str) -> Option<Mark<'_>> {
    let begins = |all: &[&str]| all.iter().any(|words| text.starts_with(words));
    if let Some((_, name)) = CONNECTING.iter().find(|(words, _)| text.starts_with(words)) {
        return Some(Mark::Connecting(name));
    }
    if let Some(run) = run(text) {
        return Some(Mark::Provisioner(run));
    }
    if let Some(rest) = text.strip_prefix("Running post-processor: ") {
        let (name, kind) = rest.split_once("(type ").unwrap_or((rest, ""));
        let name = Some(name.trim()).filter(|name| !name.is_empty());
        return Some(Mark::PostProcessor(name.unwrap_or_else(|| kind.trim_end_matches(')'))));
    }
    let pause = text.strip_prefix("Pausing ");
    if pause.and_then(|rest| rest.strip_suffix(" before the next provisioner...")).is_some() {
        return Some(Mark::Pausing);
    }
    if text.starts_with("Provisioner failed with ") && text.contains(", retrying with ") {
        return Some(Mark::Retrying);
    }
    if begins(&["Provisioning step had errors: "]) {
        return Some(Mark::ProvisionerFailed);
    }
    if begins(&["Stopping the source instance", "Waiting for the instance to stop"]) {
        return Some(Mark::Stopping);
    }
    if begins(&["Creating AMI ", "Creating unencrypted AMI ", "Registering the AMI", "Bundling "]) {
        return Some(Mark::Creating);
    }
    if begins(&["Copying/Encrypting AMI", "Copying AMI", "Copying unencrypted AMI"]) {
        return Some(Mark::Copying);
    }
    begins(&[
        "Terminating the source AWS instance",
        "Cleaning up any extra volumes",
        "Deleting temporary ",
    ])
    .then_some(Mark::CleaningUp)
}

fn run(text: &str) -> Option<Run<'_>> {
    let script = |words: &str, is_local: bool| {
        text.strip_prefix(words).map(|path| Run::Script { path, is_local })
    };
    script("Provisioning with shell script: ", false)
        .or_else(|| script("Provisioning with powershell script: ", false))
        .or_else(|| script("Running local shell script: ", true))
        .or_else(|| {
            let is_file = ["Uploading ", "Downloading "].iter().any(|word| text.starts_with(word));
            (is_file && text.contains(" => ")).then_some(Run::Other("file"))
        })
        .or_else(|| text.starts_with("Breakpoint provisioner").then_some(Run::Other("breakpoint")))
        .or_else(|| text.starts_with("Restarting Machine").then_some(Run::Other("windows-restart")))
        .or_else(|| {
            // `Provisioning with Ansible...`
            let rest = text.strip_prefix("Provisioning with ")?.strip_suffix("...")?;
            (!rest.contains(' ')).then_some(Run::Other(rest))
        })
}
