//! Whom the reconciler believes: which commits of a repository count, and what they may do on the
//! build host.

use std::path::PathBuf;

use crate::config::load::ProcessEnvironment;
use crate::config::patterns::PLUGIN;
use crate::config::raw::RawRepository;
use crate::config::refusal::Refusal;
use crate::config::values::{items, path};
pub use reconciler_hcl::LocalExec;

/// What is asked of a repository's commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustConfig {
    /// Who has to have signed; none: anybody who may push is believed.
    pub signatures: Option<SignaturePolicy>,
    /// Whether a commit may take the place of one that it does not descend from.
    pub rewrite: Rewrite,
    /// Whether templates may run programs on the build host and read its files.
    pub local_exec: LocalExec,
}

/// Who may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// SSH keys: a file as `ssh-keygen(1)` describes it under ALLOWED SIGNERS.
    pub allowed_signers: Option<PathBuf>,
    /// SSH keys that no longer count: a revocation list, or public keys, one a line.
    pub revoked_keys: Option<PathBuf>,
    /// `OpenPGP` keys: the home folder of a keyring that holds the allowed ones and no other.
    pub gpg_home: Option<PathBuf>,
}

/// Whether a commit may take the place of one that it does not descend from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// A forced push is just another commit.
    Allowed,
    /// It is refused until a person accepts it.
    Refused,
}

/// The only plugin that a step of amazon builders needs.
const AMAZON_PLUGIN: &str = "github.com/hashicorp/amazon";

/// Takes the keys of a repository that say whom to believe. `place` is where the repository stands
/// in the configuration.
pub(super) fn check(
    raw: &mut RawRepository,
    place: &str,
    around: &ProcessEnvironment,
) -> Result<TrustConfig, Refusal> {
    let key = |name: &str| format!("{place}.{name}");
    let required = raw.require_signed_commits.unwrap_or(false);
    let file = |name: &str, typed: Option<String>| path(&key(name), typed, around);
    let policy = SignaturePolicy {
        allowed_signers: file("allowed_signers", raw.allowed_signers.take())?,
        revoked_keys: file("revoked_keys", raw.revoked_keys.take())?,
        gpg_home: file("gpg_home", raw.gpg_home.take())?,
    };
    if required && policy.allowed_signers.is_none() && policy.gpg_home.is_none() {
        return Err(Refusal::new(
            key("require_signed_commits"),
            "`require_signed_commits` is set, and nobody is named who may sign",
        )
        .hint("name a file of SSH keys in `allowed_signers`, or a keyring in `gpg_home`"));
    }
    if !required && policy != SignaturePolicy::default() {
        let first =
            [("allowed_signers", &policy.allowed_signers), ("revoked_keys", &policy.revoked_keys)]
                .into_iter()
                .find(|(_, file)| file.is_some())
                .map_or("gpg_home", |(name, _)| name);
        return Err(Refusal::new(
            key(first),
            "`allowed_signers`, `revoked_keys` and `gpg_home` do nothing without `require_signed_commits: true`",
        )
        .hint("set it, or remove them"));
    }
    let denied = raw.deny_local_exec.unwrap_or(false);
    let plugins = raw.allowed_plugins.take();
    if !denied && plugins.is_some() {
        return Err(Refusal::new(
            key("allowed_plugins"),
            "`allowed_plugins` does nothing without `deny_local_exec: true`",
        )
        .hint("set it, or remove `allowed_plugins`"));
    }
    let hint = "write where it comes from, as `required_plugins` does: github.com/hashicorp/amazon";
    let wrong = "what is no plugin";
    items(&key("allowed_plugins"), plugins.as_deref(), PLUGIN, wrong, hint)?;
    // Somebody who may push but not sign could still push an old signed commit, with its old holes.
    let rewrite_allowed = raw.allow_rewrite.unwrap_or(!required);
    Ok(TrustConfig {
        signatures: required.then_some(policy),
        rewrite: if rewrite_allowed { Rewrite::Allowed } else { Rewrite::Refused },
        local_exec: if denied {
            LocalExec::Denied { plugins: plugins.unwrap_or_else(|| vec![AMAZON_PLUGIN.to_owned()]) }
        } else {
            LocalExec::Allowed
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(yaml: &str) -> Result<TrustConfig, String> {
        let mut raw: RawRepository = serde_yaml::from_str(yaml).unwrap();
        let around = ProcessEnvironment { folder: "/etc".into(), ..ProcessEnvironment::default() };
        check(&mut raw, "repositories[0]", &around).map_err(|refusal| refusal.said.message)
    }

    #[test]
    fn nothing_is_asked_of_a_repository_by_default() {
        let trust = meant("path: x").unwrap();
        assert_eq!(trust.signatures, None);
        assert_eq!(trust.rewrite, Rewrite::Allowed);
        assert_eq!(trust.local_exec, LocalExec::Allowed);
    }

    #[test]
    fn signed_commits_may_not_be_replaced_by_older_ones_unless_that_is_allowed() {
        let signed = "require_signed_commits: true\nallowed_signers: signers\n";
        let trust = meant(signed).unwrap();
        assert_eq!(trust.rewrite, Rewrite::Refused);
        let signers = trust.signatures.unwrap().allowed_signers;
        assert_eq!(signers, Some(PathBuf::from("/etc/signers")));
        let allowed = meant(&format!("{signed}allow_rewrite: true")).unwrap();
        assert_eq!(allowed.rewrite, Rewrite::Allowed);
        let refused = meant("allow_rewrite: false").unwrap();
        assert_eq!(refused.rewrite, Rewrite::Refused);
    }

    #[test]
    fn a_defence_that_would_do_nothing_is_an_error() {
        assert!(meant("require_signed_commits: true").unwrap_err().contains("nobody is named"));
        assert!(meant("allowed_signers: x").unwrap_err().contains("do nothing without"));
        assert!(meant("allowed_plugins: [x]").unwrap_err().contains("does nothing without"));
    }
}
