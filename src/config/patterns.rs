//! The forms that texts of the configuration have. Each is written once, for the check and for the
//! JSON schema, so that the two agree.

/// Something that is not white space only.
pub(super) const SOMETHING: &str = r"\S";

/// The name of an environment variable.
pub(super) const VARIABLE: &str = r"^[A-Za-z_][A-Za-z0-9_]*$";

/// A region of AWS.
pub(super) const REGION: &str = r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$";

/// The address of an emulator: scheme, host, port, perhaps a path.
pub(super) const ENDPOINT: &str =
    r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[^?#\s]*)?$";

/// A table of DynamoDB with room for `_requests` behind its name: DynamoDB takes 255 characters.
pub(super) const TABLE: &str = r"^[A-Za-z0-9_.-]{3,246}$";

/// Where git fetches from: a URL, the short form of ssh, or a folder from the root.
pub(super) const REMOTE: &str =
    r"^((https?|ssh|git\+ssh|git|file)://\S+|[^\s/@:]+@[^\s/@:]+:\S.*|[^\s/@:]+:[^\s/].*|/.*)$";

/// A folder's name, not a path.
pub(super) const FOLDER_NAME: &str = r"^[^/]+$";

/// The template of image names: the four parts, and the characters that EC2 takes.
pub(super) const IMAGE_NAME: &str = r"^([A-Za-z0-9 ()\[\]./'@_-]|\{(root_base_ami_name|workflow_id|step_id|fingerprint)\})*\{fingerprint\}([A-Za-z0-9 ()\[\]./'@_-]|\{(root_base_ami_name|workflow_id|step_id|fingerprint)\})*$";

/// Where a secret is.
pub(super) const SECRET_SOURCE: &str = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$";

/// Where a plugin of Packer comes from: host, owner, name.
pub(super) const PLUGIN: &str = r"^[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._-]+)+$";

/// An attribute of HCL.
pub(super) const ATTRIBUTE: &str = r"^[A-Za-z_][A-Za-z0-9_-]*$";

/// An address of this host and a port; an address of IPv6 stands in brackets.
pub(super) const LISTEN: &str = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$";

/// A name or an address that clients write, without a port; an address of IPv6 stands in brackets.
pub(super) const HOST: &str = r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$";

/// Whether a text has a form.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    regex_lite::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each form, what it takes, and what it refuses.
    const CASES: [(&str, &[&str], &[&str]); 13] = [
        (SOMETHING, &["a", " a "], &["", "  ", "\t"]),
        (VARIABLE, &["HTTPS_PROXY", "_a1"], &["", "A=b", "1A", "A-B", "[\"A\"", "$A"]),
        (
            REGION,
            &["us-east-1", "us-gov-west-1", "ap-southeast-12", "cn-north-1", "eusc-de-east-1"],
            &["", "us-east-1a", "US-EAST-1", "us_east_1", "useast1", "Ireland"],
        ),
        (
            ENDPOINT,
            &["http://localhost:5000", "https://aws.test", "http://[::1]:80/", "http://h_1/x/y"],
            &[
                "localhost:5000",
                "localhost",
                "http://",
                "http:/x",
                "ftp://h",
                "http://u:p@h",
                "http://h?x",
                "http://h:port",
            ],
        ),
        (TABLE, &["acore_ami_catalog", "a.b-c"], &["", "ab", "a b", "arn:aws:dynamodb", "tàble"]),
        (
            REMOTE,
            &[
                "https://host/a.git",
                "ssh://git@host:22/a",
                "git@github.com:a/b.git",
                "github.com:a/b.git",
                "file:///srv/a.git",
                "/srv/a.git",
            ],
            &["", "github.com/a/b", "a.git", "../a", "https:/host/a", "svn://host/a"],
        ),
        (FOLDER_NAME, &["example", "a b"], &["", "a/b", "a/"]),
        (
            IMAGE_NAME,
            &[
                "{fingerprint}",
                "{root_base_ami_name}/{workflow_id}/{step_id}/{fingerprint}",
                "a (b)-{fingerprint}",
            ],
            &[
                "",
                "{step_id}",
                "{fingerprint",
                "{step}/{fingerprint}",
                "a:{fingerprint}",
                "{{ step_id }}-{fingerprint}",
            ],
        ),
        (
            SECRET_SOURCE,
            &["env:A_1", "file:/x:y"],
            &["", "hunter2", "env:", "env:a b", "file:", "ENV:A"],
        ),
        (
            PLUGIN,
            &["github.com/hashicorp/amazon"],
            &["", "amazon", "https://github.com/hashicorp/amazon", "*"],
        ),
        (ATTRIBUTE, &["skip_region_validation"], &["", "a b", "1a", "a.b"]),
        (
            LISTEN,
            &["127.0.0.1:9180", "0.0.0.0:0", "[::1]:9180"],
            &["", "9180", ":9180", "localhost:9180", "127.0.0.1", "::1:9180", "http://1.2.3.4:5"],
        ),
        (
            HOST,
            &["ami.example.com", "a", "10.0.0.7", "[fe80::1]"],
            &["", "*", "a.example.com:80", "https://a", "a/b", "a.", "-a", "a b"],
        ),
    ];

    #[test]
    fn each_form_takes_what_is_meant_and_refuses_what_is_near() {
        for (pattern, good, bad) in CASES {
            assert!(regex_lite::Regex::new(pattern).is_ok(), "{pattern}");
            for text in good {
                assert!(fits(pattern, text), "{pattern} takes {text:?}");
            }
            for text in bad {
                assert!(!fits(pattern, text), "{pattern} refuses {text:?}");
            }
        }
    }
}
