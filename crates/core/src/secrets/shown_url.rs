//! URLs as people may see them.

/// An URL as people may see it: without user and password where these may be secret.
#[must_use]
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let Some((login, host)) = authority.rsplit_once('@') else {
        return url.to_owned();
    };
    match login.split_once(':') {
        _ if scheme.starts_with("http") => format!("{scheme}://{host}{path}"),
        Some((user, _)) => format!("{scheme}://{user}@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_password_and_no_token() {
        for (url, shown) in [
            ("https://me:pass@host/a.git", "https://host/a.git"),
            ("https://ghp_token@host/a@b.git", "https://host/a@b.git"),
            ("https://host/a@b.git", "https://host/a@b.git"),
            ("ssh://git:pass@host:2222/a", "ssh://git@host:2222/a"),
            ("ssh://git@host/a", "ssh://git@host/a"),
            ("git@host:a.git", "git@host:a.git"),
            ("file:///srv/a.git", "file:///srv/a.git"),
            ("https://me:p@ss@host", "https://host"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
