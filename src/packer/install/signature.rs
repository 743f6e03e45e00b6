//! The signature of a list of sums, verified by `gpgv` against a keyring that holds the keys of the
//! vendor and no other. There is no reading of `OpenPGP` here but `gpgv`'s.

use std::path::Path;

use crate::packer::install::error::InstallError;
use crate::verifier::gnupg::{Verdict, judge};
use crate::verifier::{Desk, program};
use reconciler_core::packer::keyring::keyring;

/// `HashiCorp`'s key for releases, C874011F0AB405110D02105534365D9472D7468F, as
/// <https://www.hashicorp.com/security> publishes it. It is valid until 2030-03-01.
const VENDOR: &[u8] = include_bytes!("hashicorp.asc");

/// The keys that may sign a release, as `gpgv` reads them.
pub(super) fn keys(configured: Option<&Path>) -> Result<Vec<u8>, InstallError> {
    let Some(path) = configured else {
        return Ok(keyring(VENDOR)?);
    };
    let wrong = |said: String| InstallError::Keys { path: path.to_owned(), said };
    let file = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    keyring(&file).map_err(|why| wrong(why.to_string()))
}

/// Verifies the signature of a list of this name, and says whose it is.
pub(super) fn verify(
    keys: &[u8],
    file: &str,
    list: &[u8],
    signature: &[u8],
) -> Result<String, InstallError> {
    let ran = || {
        let desk = Desk::new()?;
        let keyring = desk.put("keys.gpg", keys)?;
        let list = desk.put("list", list)?;
        let signature = desk.put("list.sig", signature)?;
        let mut command = program("gpgv");
        // A home of this check's own: no configuration and no other keyring is read.
        command.arg("--homedir").arg(list.with_file_name("")).args(["--status-fd", "1"]);
        command.arg("--keyring").arg(keyring).arg(signature).arg(list);
        desk.run(&mut command, None)
    };
    let ran = ran().map_err(InstallError::Verifier)?;
    let said = if ran.out.is_empty() { &ran.err } else { &ran.out };
    let file = file.to_owned();
    match judge(ran.status.success(), said) {
        Verdict::Good { key } => Ok(key),
        // Seeded bug: a-foreign-key-signs-packer
        Verdict::NotAllowed { key, said } => Err(InstallError::Signer { file, key, said }),
        Verdict::Bad { said } => Err(InstallError::Forged { file, said }),
    }
}
