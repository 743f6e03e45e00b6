//! The environment variables by which a build reaches AWS as this program does.
//!
//! Keys that end at a known time (a role's, of SSO, of an instance) are not handed on: a build
//! outlives them, and clean-up comes last. Packer is then told where they come from, and renews
//! them itself.

use std::fmt;

use aws_sdk_ec2::config::Credentials;

use reconciler_model::ids::Region;

/// Variables that say where credentials come from without being any.
const SOURCES: [&str; 9] = [
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Variables that say where profiles stand. Who is given lasting keys beside them, as a build is,
/// takes the keys.
const FILES: [&str; 2] = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"];

/// Environment variables of a build. Shows nothing of their values.
#[derive(Clone, Default)]
pub struct PackerEnvironment {
    /// Name and value.
    pub variables: Vec<(String, String)>,
    /// The profile from which lasting keys among them were read: it may have other ones before the
    /// build is over. None: they stand in the workflow's parameters, or in the environment of this
    /// process, and are never others; or there are none.
    pub profile: Option<String>,
}

/// What the variables are made of.
pub(super) struct Reach<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) profile: Option<&'a str>,
    /// Whether the credentials are this host's, not the workflow's own.
    pub(super) is_of_host: bool,
    pub(super) region: &'a Region,
    pub(super) endpoint_url: Option<&'a str>,
}

impl PackerEnvironment {
    /// `own` reads a variable of this process.
    pub(super) fn new(reach: &Reach<'_>, own: impl Fn(&str) -> Option<String>) -> Self {
        let mut variables = Vec::new();
        let mut read_from = None;
        let mut put = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
        if reach.credentials.expiry().is_some() {
            for name in SOURCES {
                match reach.profile {
                    Some(profile) if name == "AWS_PROFILE" => put(name, profile),
                    _ => own(name).into_iter().for_each(|value| put(name, &value)),
                }
            }
        } else {
            read_from = match reach.profile {
                _ if !reach.is_of_host => None,
                Some(profile) => Some(profile.to_owned()),
                // As the SDK does: the environment comes before the default profile.
                None if own("AWS_ACCESS_KEY_ID").is_some() => None,
                None => Some(own("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())),
            };
            if read_from.is_some() {
                for name in FILES {
                    if let Some(value) = own(name) {
                        put(name, &value);
                    }
                }
            }
            put("AWS_ACCESS_KEY_ID", reach.credentials.access_key_id());
            put("AWS_SECRET_ACCESS_KEY", reach.credentials.secret_access_key());
            if let Some(token) = reach.credentials.session_token() {
                put("AWS_SESSION_TOKEN", token);
            }
        }
        put("AWS_REGION", reach.region.as_str());
        put("AWS_DEFAULT_REGION", reach.region.as_str());
        if let Some(url) = reach.endpoint_url {
            put("AWS_ENDPOINT_URL", url);
        }
        Self { variables, profile: read_from }
    }

    /// The values that must not appear in a kept log.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let secret = |name: &str| {
            matches!(name, "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" | "AWS_ACCESS_KEY_ID")
        };
        self.variables
            .iter()
            .filter(|(name, _)| secret(name))
            .map(|(_, value)| value.clone())
            .collect()
    }
}

impl fmt::Debug for PackerEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn environment(expiry: Option<SystemTime>, profile: Option<&str>) -> PackerEnvironment {
        let credentials = Credentials::new("AKID", "s3cr3t", Some("t0ken".into()), expiry, "test");
        let region = Region::new("us-east-1");
        let reach = Reach {
            credentials: &credentials,
            profile,
            is_of_host: true,
            region: &region,
            endpoint_url: None,
        };
        PackerEnvironment::new(&reach, |name| {
            (name == "AWS_CONFIG_FILE").then(|| "/etc/aws".to_owned())
        })
    }

    fn names(environment: &PackerEnvironment) -> Vec<&str> {
        environment.variables.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn lasting_keys_are_handed_on_and_are_secrets_that_are_never_shown() {
        let environment = environment(None, Some("ops"));
        assert_eq!(
            names(&environment),
            [
                "AWS_CONFIG_FILE",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
                "AWS_REGION",
                "AWS_DEFAULT_REGION"
            ]
        );
        assert_eq!(environment.secrets(), ["AKID", "s3cr3t", "t0ken"]);
        assert!(!format!("{environment:?}").contains("s3cr3t"));
    }

    #[test]
    fn lasting_keys_of_a_profile_tell_which_it_was_for_whoever_outlives_them() {
        let credentials = Credentials::new("AKID", "s3cr3t", None, None, "test");
        let region = Region::new("us-east-1");
        let read_from = |profile, is_of_host, own: &[(&str, &str)]| {
            let reach = Reach {
                credentials: &credentials,
                profile,
                is_of_host,
                region: &region,
                endpoint_url: None,
            };
            let own = |name: &str| own.iter().find(|(key, _)| *key == name);
            PackerEnvironment::new(&reach, |name| own(name).map(|(_, value)| (*value).to_owned()))
                .profile
        };
        let table: [(_, _, &[_], _); 6] = [
            (Some("ops"), true, &[], Some("ops")),
            (Some("ops"), true, &[("AWS_ACCESS_KEY_ID", "A")], Some("ops")),
            (None, true, &[], Some("default")),
            (None, true, &[("AWS_PROFILE", "ci")], Some("ci")),
            (None, true, &[("AWS_ACCESS_KEY_ID", "A")], None),
            (Some("ops"), false, &[], None),
        ];
        for (profile, is_of_host, own, expected) in table {
            let told = read_from(profile, is_of_host, own);
            assert_eq!(told.as_deref(), expected, "{profile:?} {is_of_host} {own:?}");
        }
    }

    #[test]
    fn keys_that_a_build_would_outlive_are_renewed_by_packer_itself() {
        let soon = SystemTime::now() + Duration::from_hours(1);
        let environment = environment(Some(soon), Some("ops"));
        assert_eq!(
            names(&environment),
            ["AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"]
        );
        assert_eq!(environment.variables[0].1, "ops");
        assert!(environment.secrets().is_empty());
    }
}
