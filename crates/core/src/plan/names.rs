//! Who holds the names that builds want: EC2 gives a name once, and what holds it may be the wanted
//! image itself. Pure.

use reconciler_model::images::FINGERPRINT_TAG;
use std::collections::HashMap;

use reconciler_model::components::Fingerprint;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, AmiName, StepId};
use reconciler_model::images::{Image, ImageState};

/// How many names in a row are tried where one that is free is looked for.
pub const MOST_NAMES: u32 = 50;

/// That none of so many names was free.
#[must_use]
pub fn all_taken(step: &StepId, tried: u32) -> Diagnostic {
    Diagnostic::new(format!(
        "{tried} images hold the names that the next image of {step} could get"
    ))
    .hint("deregister those that nobody needs")
}

/// What is known of names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Of each name that EC2 was asked for, the image of this account that holds it, in whatever
    /// state.
    pub asked: HashMap<AmiName, Option<Image>>,
    /// Images that a build made which was given up: nobody has tagged them, and they are of its
    /// unique name.
    pub of_lost_builds: Vec<AmiId>,
}

/// Who holds a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// EC2 was not asked.
    Unknown,
    /// Nobody.
    Nobody,
    /// The image that git wants.
    Wanted {
        /// Its id.
        image: AmiId,
        /// Whether it is ready.
        ready: bool,
        /// Made by a build that was given up; it may lack what was to come afterwards.
        lost: bool,
    },
    /// The image that git wants, disabled: a person has taken it out of use, and can put it back.
    Disabled {
        /// Its id.
        image: AmiId,
    },
    /// An image that cannot be taken for it.
    Other {
        /// Its id.
        image: AmiId,
        /// Why not.
        why: Hindrance,
    },
}

/// Why an image that has the wanted name cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// It can never be used; with EC2's word for it.
    Unusable(String),
    /// It was made from other inputs, or by somebody else.
    OfAnother,
}

impl Names {
    /// Who holds a name that an image of this fingerprint is to get.
    #[must_use]
    pub fn holder(&self, name: &AmiName, fingerprint: &Fingerprint) -> Holder {
        let image = match self.asked.get(name) {
            None => return Holder::Unknown,
            Some(None) => return Holder::Nobody,
            Some(Some(image)) => image,
        };
        let tag = image.tags.get(FINGERPRINT_TAG);
        let lost = self.of_lost_builds.contains(&image.id);
        let id = image.id.clone();
        let other = |why| Holder::Other { image: id.clone(), why };
        // Seeded bug: foreign-image-taken-over
        if !lost && tag.is_none_or(|tag| *tag != fingerprint.to_string()) {
            return other(Hindrance::OfAnother);
        }
        match &image.state {
            ImageState::Available | ImageState::Pending => {
                Holder::Wanted { ready: image.state == ImageState::Available, image: id, lost }
            }
            state if state.is_disabled() => Holder::Disabled { image: id },
            state => other(Hindrance::Unusable(state.to_string())),
        }
    }
}
