//! What of a commit or tag object is signed, and by which text. Pure; it verifies nothing.
//!
//! Stricter than git, which signs one way and reads several: an object whose signature can be read
//! in two ways is refused, for what one program shows as signed must be what this one builds.

use crate::git::signature::Unreadable;

/// How an object is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `gpg.format = ssh`
    Ssh,
    /// `gpg.format = openpgp`
    OpenPgp,
}

/// A signature and the bytes that it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What is signed: the object less its signature.
    pub payload: Vec<u8>,
    /// The armoured signature.
    pub signature: Vec<u8>,
    /// Its format.
    pub format: Format,
}

/// The first line of a signature, by format. Git knows X.509 as well; nothing here verifies it.
const STARTS: [(&[u8], Option<Format>); 4] = [
    (b"-----BEGIN SSH SIGNATURE-----", Some(Format::Ssh)),
    (b"-----BEGIN PGP SIGNATURE-----", Some(Format::OpenPgp)),
    (b"-----BEGIN PGP MESSAGE-----", Some(Format::OpenPgp)),
    (b"-----BEGIN SIGNED MESSAGE-----", None),
];

/// The signature of a commit, which stands in its header `gpgsig`; none if it is not signed.
pub fn commit(raw: &[u8]) -> Result<Option<Signed>, Unreadable> {
    let mut payload = Vec::with_capacity(raw.len());
    let mut signature: Option<Vec<u8>> = None;
    let mut within = false;
    let mut rest = raw;
    while let Some((line, after)) = next_line(rest) {
        if line == b"\n" {
            break;
        }
        let continued = within && line.starts_with(b" ");
        if continued {
            let text = line.get(1..).unwrap_or_default();
            signature.get_or_insert_default().extend_from_slice(text);
        } else if let Some(text) = line.strip_prefix(b"gpgsig ") {
            if signature.is_some() {
                return Err(Unreadable::TwoSignatures);
            }
            signature = Some(text.to_vec());
            within = true;
        } else if line.starts_with(b"gpgsig") {
            return Err(Unreadable::OtherHeader);
        } else {
            within = false;
            payload.extend_from_slice(line);
        }
        rest = after;
    }
    payload.extend_from_slice(rest);
    signature.map(|signature| signed(payload, signature)).transpose()
}

/// The signature of an annotated tag, which stands behind its message; none if it is not signed.
pub fn tag(raw: &[u8]) -> Result<Option<Signed>, Unreadable> {
    let mut rest = raw;
    let mut start = None;
    let mut in_headers = true;
    while let Some((line, after)) = next_line(rest) {
        if in_headers && line.starts_with(b"gpgsig") {
            return Err(Unreadable::OtherHeader);
        }
        in_headers &= line != b"\n";
        // The last one counts, as git has it.
        if STARTS.iter().any(|(mark, _)| line.starts_with(mark)) {
            start = Some(raw.len() - rest.len());
        }
        rest = after;
    }
    start
        .map(|at| {
            let (payload, signature) = raw.split_at(at);
            signed(payload.to_vec(), signature.to_vec())
        })
        .transpose()
}

/// The name that a tag object was signed under.
#[must_use]
pub fn tag_name(raw: &[u8]) -> Option<String> {
    let headers = raw.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    let mut names = headers.filter_map(|line| line.strip_prefix(b"tag "));
    let name = names.next()?;
    names.next().is_none().then(|| String::from_utf8_lossy(name).into_owned())
}

fn signed(payload: Vec<u8>, signature: Vec<u8>) -> Result<Signed, Unreadable> {
    let known = STARTS.iter().find(|(mark, _)| signature.starts_with(mark));
    let format = known.and_then(|(_, format)| *format).ok_or(Unreadable::UnknownFormat)?;
    Ok(Signed { payload, signature, format })
}

/// A line with its line feed, and what follows.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text.iter().position(|byte| *byte == b'\n');
    Some(text.split_at(end.map_or(text.len(), |at| at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSH: &str = "-----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n";

    fn object(headers: &str) -> Vec<u8> {
        format!("tree 1\nparent 2\n{headers}\nsubject\n\ngpgsig no header\n").into_bytes()
    }

    #[test]
    fn what_is_signed_is_the_commit_without_its_signature() {
        let signed =
            commit(&object(&format!("committer x\ngpgsig {SSH}encoding y\n"))).unwrap().unwrap();
        assert_eq!(signed.payload, object("committer x\nencoding y\n"));
        assert_eq!(signed.signature, SSH.replace("\n ", "\n").into_bytes());
        assert_eq!(signed.format, Format::Ssh);
        assert_eq!(commit(&object("committer x\n")), Ok(None));
    }

    #[test]
    fn the_signature_of_a_merged_tag_is_not_the_commits() {
        let merged = format!("mergetag object 3\n tag v1\n \n text\n {SSH}");
        assert_eq!(commit(&object(&merged)), Ok(None));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let two = object(&format!("gpgsig {SSH}gpgsig {SSH}"));
        assert_eq!(commit(&two), Err(Unreadable::TwoSignatures));
        let other = object(&format!("gpgsig-sha256 {SSH}"));
        assert_eq!(commit(&other), Err(Unreadable::OtherHeader));
        let smuggled = object(&format!("gpgsig {SSH}gpgsigx y\n"));
        assert_eq!(commit(&smuggled), Err(Unreadable::OtherHeader));
        let x509 = object("gpgsig -----BEGIN SIGNED MESSAGE-----\n abc\n");
        assert_eq!(commit(&x509), Err(Unreadable::UnknownFormat));
        assert_eq!(commit(&object("gpgsig nonsense\n")), Err(Unreadable::UnknownFormat));
    }

    #[test]
    fn the_signature_of_a_tag_is_its_end() {
        let text = format!("object 1\ntype commit\ntag v1\ntagger x\n\nmessage\n{SSH}");
        let signed = tag(text.as_bytes()).unwrap().unwrap();
        assert!(signed.payload.ends_with(b"message\n"));
        assert!(signed.signature.starts_with(b"-----BEGIN SSH"));
        assert_eq!(tag_name(text.as_bytes()).as_deref(), Some("v1"));
        assert_eq!(tag(b"object 1\ntag v1\n\nmessage\n"), Ok(None));
        assert_eq!(tag_name(b"object 1\ntag v1\ntag v2\n\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw: Vec<u8>) {
            let _ = (commit(&raw), tag(&raw), tag_name(&raw));
        }
    }
}
