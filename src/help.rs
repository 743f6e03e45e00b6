//! `reconciler --help`, as a table of contents: the commands in groups, each by what one wants.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use crate::cli::Cli;

/// The groups, with the commands of each in the order in which one needs them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Is it right?", &["check", "plan", "diff", "render", "status"]),
    ("Do it", &["apply", "run"]),
    ("What happened?", &["logs", "history", "requests"]),
    ("A person's word", &["retry", "cancel", "adopt", "forget", "allow-rewrite"]),
    (
        "Images and Packer",
        &[
            "images",
            "image show",
            "image create",
            "image delete",
            "image release",
            "base find",
            "packer install",
            "packer doctor",
        ],
    ),
];

/// The columns of a line.
const WIDTH: usize = 100;

/// The command line with this help.
pub(crate) fn command() -> Command {
    let command = Cli::command();
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}{{after-help}}",
        grouped(&command)
    );
    command.help_template(template)
}

/// The commands in their groups.
fn grouped(command: &Command) -> String {
    let names = GROUPS.iter().flat_map(|(_, names)| names.iter());
    let column = names.map(|name| name.len()).max().unwrap_or(0) + 4;
    let mut out = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(out, "\n{title}");
        for name in names {
            let about = found(command, name)
                .and_then(Command::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            entry(&mut out, name, &about, column);
        }
    }
    out
}

/// A name and what it is about, in lines that fit.
fn entry(out: &mut String, name: &str, about: &str, column: usize) {
    let mut line = format!("  {name:0$}", column - 2);
    let begin = line.len();
    for word in about.split_whitespace() {
        if line.len() > begin && line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = " ".repeat(begin);
        }
        if line.len() > begin {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// A command by its name, or by the names of it and of what it belongs to.
fn found<'a>(command: &'a Command, name: &str) -> Option<&'a Command> {
    name.split(' ').try_fold(command, |of, part| of.find_subcommand(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of all commands that do something and are not hidden.
    fn leaves(command: &Command, before: &str) -> Vec<String> {
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        let named = |one: &Command| format!("{before} {}", one.get_name()).trim().to_owned();
        shown
            .flat_map(|one| {
                if one.has_subcommands() { leaves(one, &named(one)) } else { vec![named(one)] }
            })
            .collect()
    }

    #[test]
    fn every_command_stands_in_one_group_and_every_name_is_a_command() {
        let command = Cli::command();
        let mut wanted = leaves(&command, "");
        let mut listed: Vec<_> =
            GROUPS.iter().flat_map(|(_, names)| names.iter().map(ToString::to_string)).collect();
        wanted.sort();
        listed.sort();
        assert_eq!(listed, wanted);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal() {
        let help = command().render_help().to_string();
        let longest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= WIDTH, "{longest}: {help}");
        assert!(help.contains("\nIs it right?\n  check "), "{help}");
    }
}
