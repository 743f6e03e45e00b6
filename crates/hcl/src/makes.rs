//! Which builders make a machine image, and whether it is still there when Packer has come to its
//! end. Pure.
//!
//! A post-processor may take what it is handed away (Packer calls it the input artifact): of an AMI
//! that means that it is deregistered, and Packer ends with 0 and without an image. What Packer's
//! own post-processors do stands in their documentation (`keep_input_artifact`) and in their
//! sources; of those of other plugins nothing is known but what the template says.

use hcl_edit::structure::{Block, Body};

use crate::known::{Flag, Known, Value};

/// What a builder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makes {
    /// An AMI.
    Image,
    /// Something else: what.
    No(&'static str),
    /// Nobody here knows.
    Unknown,
}

/// What the builder of a source makes. `plugins` are the names under which the template has the
/// amazon plugin.
pub(super) fn makes(kind: &str, plugins: &[String]) -> Makes {
    let names = plugins.iter().map(String::as_str).chain(["amazon"]);
    let mut builders = names.filter_map(|name| kind.strip_prefix(name)?.strip_prefix('-'));
    match builders.next() {
        Some("ebs" | "ebssurrogate" | "chroot" | "instance") => Makes::Image,
        Some("ebsvolume") => Makes::No("it makes volumes"),
        Some(_) => Makes::Unknown,
        None => Makes::No("it is not one of the amazon builders"),
    }
}

/// The names under which templates have the amazon plugin, as `required_plugins` gives them.
pub(super) fn amazon_plugins(body: &Body, known: &Known<'_>) -> Vec<String> {
    let required =
        body.get_blocks("packer").flat_map(|packer| packer.body.get_blocks("required_plugins"));
    let plugins = required.flat_map(|block| block.body.attributes());
    let amazon = plugins.filter(|plugin| match known.value(&plugin.value) {
        Value::Map(map) => map
            .get("source")
            .and_then(Value::text)
            .is_some_and(|source| source.ends_with("hashicorp/amazon")),
        _ => false,
    });
    amazon.map(|plugin| plugin.key.as_str().to_owned()).collect()
}

/// What becomes of the image after it is made: the post-processor that takes it away, if one
/// certainly does.
pub(super) fn taken_away<'a>(builds: &[&'a Block], known: &Known<'_>) -> Option<&'a Block> {
    let (mut chains, mut taker) = (0, None);
    let mut is_kept = false;
    for build in builds {
        for block in build.body.blocks() {
            let chain: Vec<&Block> = match block.ident.as_str() {
                "post-processor" => vec![block],
                "post-processors" => block.body.get_blocks("post-processor").collect(),
                // Whatever it makes.
                "dynamic" => return None,
                _ => continue,
            };
            let Some(first) = chain.first() else {
                continue;
            };
            chains += 1;
            match keeps(first, known) {
                Flag::Off => taker = taker.or(Some(*first)),
                Flag::On | Flag::Unknown => is_kept = true,
            }
            // Those that hand on what they got hand on the image itself.
            let handed_on = chain.windows(2).take_while(|pair| hands_on(pair[0]));
            let mut later = handed_on.map(|pair| pair[1]);
            if let Some(later) = later.find(|later| keeps(later, known) == Flag::Off) {
                return Some(later);
            }
        }
    }
    taker.filter(|_| chains > 0 && !is_kept)
}

fn kind(block: &Block) -> &str {
    block.labels.first().map_or("", |label| label.as_str())
}

/// Whether a post-processor keeps what it is handed.
fn keeps(block: &Block, known: &Known<'_>) -> Flag {
    if block.body.has_attribute("only") || block.body.has_attribute("except") {
        return Flag::Unknown;
    }
    let asked = block.body.get_attribute("keep_input_artifact");
    let asked = asked.map(|attribute| known.value(&attribute.value));
    let asked = asked.filter(|value| *value != Value::Null);
    match (kind(block), asked) {
        // They keep it whatever they are told.
        ("manifest" | "checksum" | "shell-local" | "provenance", _)
        | ("artifice" | "vagrant", None) => Flag::On,
        ("artifice" | "vagrant" | "compress", Some(asked)) => asked.flag(),
        ("compress", None) => Flag::Off,
        (_, Some(asked)) if asked.flag() == Flag::On => Flag::On,
        _ => Flag::Unknown,
    }
}

/// Whether it gives what it got.
fn hands_on(block: &Block) -> bool {
    matches!(kind(block), "manifest" | "shell-local" | "provenance")
        && !block.body.has_attribute("only")
        && !block.body.has_attribute("except")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taker(build: &str) -> Option<String> {
        let text = format!(
            "variable \"keep\" {{\n  default = false\n}}\nvariable \"open\" {{}}\nbuild {{\n{build}\n}}\n"
        );
        let body: Body = text.parse().unwrap();
        let known = Known::of([("x.pkr.hcl", &body)].into_iter());
        let builds: Vec<&Block> = body.get_blocks("build").collect();
        taken_away(&builds, &known).map(|block| kind(block).to_owned())
    }

    #[test]
    fn an_image_that_a_post_processor_takes_away_is_told() {
        let one = |kind: &str, keep: &str| format!("post-processor \"{kind}\" {{\n  {keep}\n}}\n");
        let chain = |of: &[String]| format!("post-processors {{\n{}}}\n", of.concat());
        let (no, yes) = ("keep_input_artifact = false", "keep_input_artifact = true");
        for (build, expected) in [
            (String::new(), None),
            (one("compress", ""), Some("compress")),
            (one("compress", no), Some("compress")),
            (one("compress", "keep_input_artifact = var.keep"), Some("compress")),
            (one("compress", "keep_input_artifact = var.open"), None),
            (one("compress", yes), None),
            (one("compress", "only = [\"amazon-ebs.y\"]"), None),
            (one("artifice", ""), None),
            (one("artifice", no), Some("artifice")),
            (one("manifest", no), None),
            (one("shell-local", no), None),
            (one("of-some-plugin", no), None),
            (one("manifest", "") + &one("compress", ""), None),
            (one("compress", "") + &one("artifice", no), Some("compress")),
            (chain(&[one("compress", ""), one("manifest", "")]), Some("compress")),
            (chain(&[one("manifest", ""), one("compress", "")]), Some("compress")),
            (chain(&[one("checksum", ""), one("compress", "")]), None),
            (chain(&[one("manifest", ""), one("compress", yes)]), None),
            ("dynamic \"post-processor\" {\n}\n".to_owned() + &one("compress", ""), None),
        ] {
            assert_eq!(taker(&build).as_deref(), expected, "{build}");
        }
    }

    #[test]
    fn the_amazon_builders_make_images_under_whatever_name_the_plugin_has() {
        let own = ["aws".to_owned()];
        for (kind, plugins, expected) in [
            ("amazon-ebs", &[][..], Makes::Image),
            ("amazon-ebssurrogate", &[], Makes::Image),
            ("amazon-ebsvolume", &[], Makes::No("it makes volumes")),
            ("amazon-of-somebody", &[], Makes::Unknown),
            ("aws-ebs", &own, Makes::Image),
            ("aws-ebs", &[], Makes::No("it is not one of the amazon builders")),
            ("docker", &own, Makes::No("it is not one of the amazon builders")),
        ] {
            assert_eq!(makes(kind, plugins), expected, "{kind}");
        }
    }
}
