//! Whether what stands between braces is a template of Packer's: Go's `text/template`, with
//! Packer's functions. Pure.

/// What Packer's templates call, of its SDK (`template/interpolate/funcs.go`) and of its builders,
/// and how Go's end.
const NAMES: [&str; 22] = [
    "build",
    "build_name",
    "build_type",
    "env",
    "isotime",
    "strftime",
    "pwd",
    "template_dir",
    "timestamp",
    "uuid",
    "user",
    "packer_version",
    "consul_key",
    "vault",
    "sed",
    "replace_all",
    "aws_secretsmanager",
    "clean_resource_name",
    "clean_ami_name",
    "clean_image_name",
    "else",
    "end",
];

/// What may be a name of the user's as well: these stand before an argument.
const CALLS: [&str; 29] = [
    "split", "upper", "lower", "replace", "print", "printf", "println", "index", "len", "eq", "ne",
    "lt", "le", "gt", "ge", "html", "js", "urlquery", "join", "title", "and", "or", "not", "if",
    "range", "with", "define", "template", "block",
];

/// Whether this looks like it.
pub(super) fn speaks(inside: &str) -> bool {
    let inside = inside.trim_matches(['-', ' ', '\t', '\n']);
    let length = inside.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let (first, rest) = inside.split_at(length.unwrap_or(inside.len()));
    let argument = |c: char| c.is_alphanumeric() || "\"'`(.$_".contains(c);
    let is_call = rest.starts_with(char::is_whitespace) && rest.trim_start().starts_with(argument);
    inside.contains('`')
        || has_field(inside)
        || NAMES.contains(&first)
        || (is_call && CALLS.contains(&first))
        || inside.contains(":=")
        || inside.starts_with("/*")
        || (inside.starts_with('$') && !inside.starts_with("${"))
}

/// `.Path`: a dot with a name behind it and no name before it.
fn has_field(inside: &str) -> bool {
    if inside == "." {
        return true;
    }
    inside.match_indices('.').any(|(at, _)| {
        let before = inside[..at].chars().next_back();
        let after = inside[at + 1..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || c == '(' || c == '|')
            && after.is_some_and(|c| c.is_alphabetic() || c == '_')
    })
}
