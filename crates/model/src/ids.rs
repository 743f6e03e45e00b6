//! The nouns that every stage passes on, each a type of its own so that a step id cannot be handed
//! in for an image id.
//!
//! They carry no rules beyond what their text may look like; rules live in the stage that reads the
//! text. A copy shares the text: a plan passes ten thousand of each through every stage.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::new)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// One run of a workflow (`acore-ami-2024-06-13-12-00-00`); hash key of the inventory.
    WorkflowId
);
text_id!(
    /// What tells a host, and a place on it, from others that may bear the same name.
    HostMark
);
text_id!(
    /// A step's semantic name (`pyenv`); range key of the inventory.
    StepId
);
text_id!(
    /// An image id as EC2 gives it (`ami-0123456789abcdef0`).
    AmiId
);
text_id!(
    /// An image name; unique per account and region at EC2.
    AmiName
);
text_id!(
    /// An AWS region (`us-east-1`).
    Region
);
text_id!(
    /// A commit, as the full lower-case hex id of a git commit object.
    Revision
);
text_id!(
    /// One try at building one step: a UUID of version 7, so ids sort by the time they were made.
    BuildId
);

text_id!(
    /// What one person asked for once: a UUID of version 7, so ids sort by the time they were made.
    RequestId
);

impl RequestId {
    /// A new id that sorts after all earlier ones of this host.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(uuid::Uuid::now_v7().to_string())
    }

    /// The build under whose id the journal tells of what a request has changed, where nothing was
    /// built: ids of both have one form.
    #[must_use]
    pub fn as_build(&self) -> BuildId {
        BuildId::new(self.as_str())
    }
}

impl Revision {
    /// The first seven digits, as git abbreviates.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

impl BuildId {
    /// A new id that sorts after all earlier ones of this host.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(uuid::Uuid::now_v7().to_string())
    }

    /// When it was made, by the clock of its host; none for an id of another kind.
    #[must_use]
    pub fn made_at(&self) -> Option<Timestamp> {
        let (seconds, nanos) = uuid::Uuid::parse_str(&self.0).ok()?.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?).ok()
    }

    /// A text before which all ids sort that were made earlier (RFC 9562, version 7: milliseconds
    /// since 1970 come first).
    #[must_use]
    pub fn earliest(made_at: Timestamp) -> String {
        let millis = u64::try_from(made_at.as_millisecond()).unwrap_or(0);
        format!("{:08x}-{:04x}", millis >> 16, millis & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_ids_sort_before_the_text_of_a_time_and_later_ones_do_not() {
        let id = BuildId::generate();
        let made = id.made_at().unwrap();
        let second = jiff::SignedDuration::from_secs(1);
        assert!(id.as_str() >= BuildId::earliest(made).as_str());
        assert!(id.as_str() >= BuildId::earliest(made - second).as_str());
        assert!(id.as_str() < BuildId::earliest(made + second).as_str());
    }
}
