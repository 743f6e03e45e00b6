//! Public keys as `gpgv` takes them: it reads no armour, and people publish nothing else. Pure; what
//! is within is not read, that is `gpgv`'s.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Why a file holds no public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// A text without a block of keys.
    #[error("it holds no block that begins with {BEGIN}")]
    NoBlock,
    /// A block that breaks off, or has something else in it.
    #[error("a block of keys in it is damaged")]
    Damaged,
}

/// A keyring of the keys of a file: of all armoured blocks in it, or what it is already where it is
/// not a text.
pub fn keyring(file: &[u8]) -> Result<Vec<u8>, NoKeys> {
    if file.is_empty() {
        return Err(NoKeys::Empty);
    }
    // Neither a packet nor a keybox is a text.
    let Ok(text) = std::str::from_utf8(file) else {
        return Ok(file.to_vec());
    };
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once(BEGIN) {
        let (block, after) = block.split_once(END).ok_or(NoKeys::Damaged)?;
        keys.extend(packets(block).ok_or(NoKeys::Damaged)?);
        rest = after;
    }
    if keys.is_empty() { Err(NoKeys::NoBlock) } else { Ok(keys) }
}

/// The bytes of one block: lines of base64 between the headers, which an empty line ends, and the
/// checksum, which is no protection and is left out.
fn packets(block: &str) -> Option<Vec<u8>> {
    let mut lines = block.lines().map(str::trim).skip(1);
    lines.by_ref().find(|line| line.is_empty())?;
    let digits: String = lines.take_while(|line| !line.starts_with('=')).collect();
    let bytes = STANDARD.decode(digits).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armoured(headers: &str, digits: &str) -> String {
        format!("{BEGIN}\n{headers}\n{digits}\n=abcd\n{END}\n")
    }

    #[test]
    fn all_blocks_of_a_text_are_one_keyring() {
        let one = armoured("", "AQID\nBAU=");
        let other = armoured("Comment: of somebody\n", "Bgc=");
        let text = format!("a key:\n{one}and another:\n{}", other.replace('\n', "\r\n"));
        assert_eq!(keyring(text.as_bytes()), Ok(vec![1, 2, 3, 4, 5, 6, 7]));
    }

    #[test]
    fn what_is_no_text_is_left_to_gpgv() {
        assert_eq!(keyring(&[0x99, 0x02, 0x0d, 0xff]), Ok(vec![0x99, 0x02, 0x0d, 0xff]));
    }

    #[test]
    fn a_file_without_whole_keys_is_refused() {
        let broken_off = armoured("", "AQID").replace(END, "");
        for (file, why) in [
            ("", NoKeys::Empty),
            ("ssh-ed25519 AAAA ada", NoKeys::NoBlock),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAQID\n", NoKeys::NoBlock),
            (&armoured("", "A*ID"), NoKeys::Damaged),
            (&armoured("", ""), NoKeys::Damaged),
            (&broken_off, NoKeys::Damaged),
        ] {
            assert_eq!(keyring(file.as_bytes()), Err(why), "{file}");
        }
    }
}
