//! What to tell people of a build that has failed: the sentence, not the title, once. Pure.
//!
//! Packer says most failures three times, an HCL error under a title that names neither the
//! argument nor its place, and of a script only its exit status. Here that becomes one line for a
//! table, and beside it what whoever looks closer wants to read.

use reconciler_model::build::BuildOutcome;

/// So long is a line at most.
const LONGEST_LINE: usize = 300;

/// So much is kept of what stands beside it.
const MOST_DETAILS: usize = 2000;

/// Why a build failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FailureText {
    /// In one line.
    pub(super) line: String,
    /// More of it, that the line does not say; empty if there is no more.
    pub(super) details: String,
}

impl FailureText {
    fn new(line: &str, details: &str) -> Self {
        let (line, details) = (joined(line), details.trim_matches('\n').trim_end());
        let more = joined(details);
        let is_said = more == line || line.ends_with(&format!(": {more}"));
        let is_whole = line.chars().count() <= LONGEST_LINE;
        Self {
            line: shortened(&line, LONGEST_LINE),
            details: if is_said && is_whole {
                String::new()
            } else {
                shortened(details, MOST_DETAILS)
            },
        }
    }
}

/// What Packer said of its failure; none if it said nothing.
pub(super) fn failure_text(outcome: &BuildOutcome) -> Option<FailureText> {
    let said = packer_messages(outcome);
    if let Some(line) = missing_plugin(&said) {
        return Some(FailureText::new(&line, ""));
    }
    match outcome.failures.as_slice() {
        [] => diagnostics(&said).or_else(|| cause_line(&outcome.errors)),
        [first, others @ ..] => {
            let first = without_frame(first);
            let is_of_a_script = first.contains("exited with") || first.contains("disconnected");
            if is_of_a_script && !outcome.last_words.is_empty() {
                return Some(of_script(first, &outcome.last_words));
            }
            let mut details = vec![first];
            details.extend(others.iter().map(|one| without_frame(one)));
            details.dedup();
            let line = match details.len() {
                1 => first.to_owned(),
                more => format!("{} (and {} more)", joined(first), more - 1),
            };
            Some(FailureText::new(&line, &details.join("\n")))
        }
    }
}

/// What ended the build is without the words of provisioners; where Packer did not come to say it,
/// all that it complained of.
pub(super) fn packer_messages(outcome: &BuildOutcome) -> String {
    match outcome.failures.as_slice() {
        [] => {
            let own = outcome.errors.iter().filter(|said| !is_targeted(said));
            let own: Vec<_> = own.map(String::as_str).collect();
            match own.as_slice() {
                [] => outcome.errors.join("\n"),
                own => own.join("\n"),
            }
        }
        failures => failures.join("\n"),
    }
}

/// `==> source: …`: what a builder or a provisioner said, and not Packer itself.
pub(super) fn is_targeted(said: &str) -> bool {
    let target = said.strip_prefix("==> ").and_then(|rest| rest.split_once(": "));
    target.is_some_and(|(target, _)| !target.contains(' '))
}

/// A script's failure with what it said last.
fn of_script(failure: &str, last_words: &[String]) -> FailureText {
    let failure = joined(failure);
    let sentence = failure.split("Allowed exit codes").next();
    let sentence = sentence.unwrap_or(&failure).trim_end_matches(['.', ' ']);
    // What `set -x` prints of the commands tells less than what they said.
    let last = last_words.iter().rfind(|line| !line.starts_with("+ ")).or(last_words.last());
    let line =
        last.map_or_else(|| sentence.to_owned(), |last| format!("{sentence}: {}", last.trim()));
    FailureText::new(&line, &last_words.join("\n"))
}

/// `1 error(s) occurred: * …` says no more than what stands in it.
fn without_frame(said: &str) -> &str {
    let inner = ["1 error(s) occurred:", "1 error occurred:"]
        .iter()
        .find_map(|frame| said.trim_start().strip_prefix(frame));
    inner.map_or(said, |rest| rest.trim_start().trim_start_matches("* ")).trim()
}

/// The errors that HCL reports: title, place and the sentence below them. None if there is none.
fn diagnostics(said: &str) -> Option<FailureText> {
    let starts: Vec<usize> = said
        .match_indices("Error: ")
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || said[..*at].ends_with('\n'))
        .collect();
    let blocks: Vec<&str> = starts
        .iter()
        .enumerate()
        .map(|(at, start)| &said[*start..starts.get(at + 1).copied().unwrap_or(said.len())])
        .collect();
    let sentence = diagnostic(blocks.first()?);
    let line = match blocks.len() {
        1 => sentence,
        more => format!("{sentence} (and {} more)", more - 1),
    };
    Some(FailureText::new(&line, said))
}

/// `FILE line N: title: what is wrong` of one block of HCL's.
fn diagnostic(block: &str) -> String {
    let mut lines = block.lines();
    let title = lines.next().unwrap_or_default();
    let title = title.trim_start_matches("Error: ").trim_end_matches(':');
    let mut place = None;
    let mut sentence: Vec<&str> = Vec::new();
    for line in lines.take_while(|line| !line.starts_with("Warning: ")) {
        if place.is_none()
            && let Some(rest) = line.trim_start().strip_prefix("on ")
            && rest.contains(" line ")
        {
            let rest = rest.split([',', ':']).next().unwrap_or(rest);
            place = Some(rest);
        } else if !line.starts_with(' ') && !line.trim().is_empty() {
            sentence.push(line.trim());
        }
    }
    let mut parts: Vec<String> = place.map(str::to_owned).into_iter().collect();
    parts.push(title.to_owned());
    if !sentence.is_empty() {
        parts.push(sentence.join(" "));
    }
    parts.join(": ")
}

/// What of Packer's is missing on this host, and how it gets there; none if its words tell of
/// something else.
pub(super) fn missing_plugin(said: &str) -> Option<String> {
    const WAY_OUT: &str = "run `packer plugins install` as the user of the reconciler, or name the folder of plugins in `packer.plugin_path`";
    let listed = |rest: &str| -> Vec<String> {
        let lines = rest.lines().map(str::trim);
        let plugins = lines.filter_map(|line| line.strip_prefix("* "));
        plugins.map(str::to_owned).collect()
    };
    if let Some((_, rest)) = said.split_once("Missing plugins") {
        return Some(match listed(rest).as_slice() {
            [] => format!("Packer lacks plugins that the template asks for; {WAY_OUT}"),
            plugins => format!("Packer lacks the plugin {}; {WAY_OUT}", plugins.join(", ")),
        });
    }
    let (before, _) = said.split_once(" is unknown by Packer, and is likely part of a plugin")?;
    let what = before.lines().next_back().unwrap_or(before).trim();
    Some(format!(
        "{} is unknown to this Packer: its plugin is not installed; {WAY_OUT}",
        what.trim_start_matches("The ")
    ))
}

/// The line that names the cause: not Packer's closing summary, and not what a provisioner wrote to
/// standard error.
fn cause_line(errors: &[String]) -> Option<FailureText> {
    let lines = || {
        errors.iter().flat_map(|text| text.lines()).map(str::trim).filter(|line| !line.is_empty())
    };
    let telling = |line: &&str| {
        ["errored", "Error", "error:", "exited with", "disconnected", "Timeout"]
            .iter()
            .any(|word| line.contains(word))
            && !line.starts_with("==> Some builds")
    };
    let line = lines()
        .filter(telling)
        .max_by_key(|line| line.contains("exited with") || line.contains("status code"))
        .or_else(|| lines().next_back())?;
    let line = line
        .split_once("errored after")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(line, |(_, rest)| rest);
    Some(FailureText::new(line.trim_start_matches("==> "), ""))
}

/// All of a text in one line.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let begin: String = text.chars().take(most - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use reconciler_model::build::{Exit, PackerStage};
    use reconciler_model::build_resources::ClaimedResources;

    fn outcome(failures: &[&str], errors: &[&str], last_words: &[&str]) -> BuildOutcome {
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        BuildOutcome {
            stage: PackerStage::Build,
            exit: Exit::Code(1),
            artifacts: vec![],
            failures: owned(failures),
            errors: owned(errors),
            traces: ClaimedResources::default(),
            sources: vec![],
            others: vec![],
            finished: true,
            last_words: owned(last_words),
            lost: None,
            phases: vec![],
            duration: Duration::ZERO,
            log: "packer.log".into(),
        }
    }

    #[test]
    fn an_error_of_hcl_is_told_by_its_place_and_its_sentence() {
        const OLD: &str = "Error: Unsupported argument\n\n  on x.pkr.hcl line 6:\n  (source code not available)\n\nAn argument named \"skip_create_ami\" is not expected here.\n\n";
        const NEW: &str = "Error: Unsupported argument\n\n  on x.pkr.hcl line 6, in source \"amazon-ebs\" \"x\":\n   6:   skip_create_ami = 1\n\nAn argument named \"skip_create_ami\" is not expected\nhere.\n\n";
        for said in [OLD, NEW] {
            let told = failure_text(&outcome(&[], &[said], &[])).unwrap();
            assert_eq!(
                told.line,
                "x.pkr.hcl line 6: Unsupported argument: An argument named \"skip_create_ami\" is not expected here."
            );
            assert!(told.details.starts_with("Error: Unsupported argument\n"));
        }
        let two =
            format!("{NEW}Error: Unset variable \"region\"\n\nA used variable must be set.\n");
        let told = failure_text(&outcome(&[], &[&two], &[])).unwrap();
        assert!(told.line.ends_with("here. (and 1 more)"), "{}", told.line);
        assert!(told.details.contains("Unset variable"));
    }

    #[test]
    fn a_scripts_failure_is_told_with_what_it_wrote_last() {
        const EXIT: &str =
            "Script exited with non-zero exit status: 100.Allowed exit codes are: [0]";
        let errors = [
            "==> amazon-ebs.x: E: Unable to locate package foo",
            "Build 'amazon-ebs.x' errored after 3 seconds: Script exited with non-zero exit status: 100.",
        ];
        let words = ["Reading package lists...", "E: Unable to locate package foo"];
        let told_so = failure_text(&outcome(&[EXIT], &errors, &words)).unwrap();
        assert_eq!(
            told_so.line,
            "Script exited with non-zero exit status: 100: E: Unable to locate package foo"
        );
        assert_eq!(told_so.details, words.join("\n"));
        let once = failure_text(&outcome(&[EXIT], &errors, &words[1..])).unwrap();
        assert_eq!(once.details, "", "not once more");
        let silent = failure_text(&outcome(&[EXIT], &[], &[])).unwrap();
        assert_eq!(silent.line, EXIT);
        let traced =
            failure_text(&outcome(&[EXIT], &[], &["no such package", "+ exit 100"])).unwrap();
        assert!(traced.line.ends_with(": no such package"), "{}", traced.line);
    }

    #[test]
    fn what_packer_says_three_times_is_told_once() {
        const SAID: &str = "Error launching source instance: InvalidParameterValue: Invalid value 't9.huge' for InstanceType.\n\tstatus code: 400, request id: 1";
        let errors = [
            format!("==> amazon-ebs.x: {SAID}"),
            format!("Build 'amazon-ebs.x' errored after 3 seconds: {SAID}"),
            "\n==> Some builds didn't complete successfully and had errors:".to_owned(),
            format!("--> amazon-ebs.x: {SAID}"),
        ];
        let errors: Vec<_> = errors.iter().map(String::as_str).collect();
        let told = failure_text(&outcome(&[SAID], &errors, &["left by a provisioner"])).unwrap();
        assert_eq!(told.line, joined(SAID));
        assert_eq!(told.details, "");
    }

    #[test]
    fn a_frame_around_one_error_is_left_out() {
        let said = "1 error(s) occurred:\n\n* Post-processor failed: exit status 3";
        let told = failure_text(&outcome(&[said], &[], &[])).unwrap();
        assert_eq!(told.line, "Post-processor failed: exit status 3");
    }

    #[test]
    fn a_plugin_that_is_not_there_is_named_with_a_way_out() {
        let said = "Error: Missing plugins\n\nThe following plugins are required, but not installed:\n\n* github.com/hashicorp/amazon >= 1.0\n";
        let told = failure_text(&outcome(&[], &[said], &[])).unwrap();
        assert!(told.line.contains("the plugin github.com/hashicorp/amazon >= 1.0"));
        assert!(told.line.contains("packer plugins install"));
    }

    #[test]
    fn a_line_is_never_long() {
        let long = "x ".repeat(5000);
        let told = failure_text(&outcome(&[&long], &[], &[])).unwrap();
        assert_eq!(told.line.chars().count(), LONGEST_LINE);
        assert!(told.line.ends_with('…') && told.details.chars().count() <= MOST_DETAILS);
    }
}
