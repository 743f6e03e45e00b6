//! SSH signatures, verified by `ssh-keygen -Y`, as git itself does it: one reading of the file of
//! allowed signers, with its patterns, certificate authorities, namespaces, validity and
//! revocations, for git and for us.
//!
//! The time that counts is now, not the commit's own date: whoever signs can choose that date, so
//! an expired key could sign for ever.

use std::path::Path;
use std::process::Command;

use crate::config::SignaturePolicy;
use crate::git::signature::object::Signed;
use crate::git::signature::{Refusal, Signer};
use crate::verifier::{Desk, program};

/// What git signs under; a signature of the same key made for something else does not count.
const NAMESPACE: &str = "git";

/// Verifies a signature, and says whose it is.
pub(super) fn verify(policy: &SignaturePolicy, signed: &Signed) -> Result<Signer, Refusal> {
    let Some(allowed) = &policy.allowed_signers else {
        return Err(Refusal::FormatNotAllowed {
            found: "an SSH signature",
            key: "allowed_signers",
        });
    };
    readable(allowed, "allowed_signers")?;
    if let Some(revoked) = &policy.revoked_keys {
        readable(revoked, "revoked_keys")?;
    }
    let io = |error| Refusal::program("ssh-keygen", &error);
    let desk = Desk::new().map_err(io)?;
    let payload = desk.put("payload", &signed.payload).map_err(io)?;
    let signature = desk.put("signature", &signed.signature).map_err(io)?;
    let ask = |action: &str| {
        let mut command = program("ssh-keygen");
        command.args(["-Y", action, "-n", NAMESPACE, "-s"]).arg(&signature);
        command
    };
    let genuine = desk.run(&mut ask("check-novalidate"), Some(&payload)).map_err(io)?;
    if !genuine.status.success() {
        return Err(Refusal::Forged { said: last_line(&genuine.err) });
    }
    let key = genuine.out.split_whitespace().last().unwrap_or("?").to_owned();
    let mut find = program("ssh-keygen");
    find.args(["-Y", "find-principals", "-s"]).arg(&signature).arg("-f").arg(allowed);
    let found = desk.run(&mut find, None).map_err(io)?;
    let mut said = last_line(&found.err);
    let principals = found.out.split(['\n', ',']).filter(|name| !name.is_empty());
    for principal in principals {
        let mut command = ask("verify");
        allow(&mut command, allowed, policy.revoked_keys.as_deref());
        let verified = desk.run(command.args(["-I", principal]), Some(&payload)).map_err(io)?;
        if verified.status.success() {
            return Ok(Signer(format!("{principal}, {key}")));
        }
        said = last_line(&verified.err);
    }
    Err(Refusal::NotAllowed { key, place: allowed.clone(), said })
}

fn allow(command: &mut Command, allowed: &Path, revoked: Option<&Path>) {
    command.arg("-f").arg(allowed);
    if let Some(revoked) = revoked {
        command.arg("-r").arg(revoked);
    }
}

/// Refuses what is not there, and what anybody on the host may write.
fn readable(path: &Path, key: &'static str) -> Result<(), Refusal> {
    use std::os::unix::fs::PermissionsExt as _;
    let unusable = |said: String| Refusal::Unusable { key, path: path.to_owned(), said };
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    let meta = file.metadata().map_err(|error| unusable(error.to_string()))?;
    if meta.permissions().mode() & 0o002 != 0 {
        return Err(unusable("every user of this host may write it".to_owned()));
    }
    Ok(())
}

fn last_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next_back().unwrap_or_default().to_owned()
}
