//! Many things that were read at once. One that cannot be read hides no other: it is told beside
//! them, by whom it concerns.

use std::ops::Deref;

use crate::ids::StepId;
use crate::inventory::InventoryError;

/// What could be read, and what is wrong with the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many<T> {
    /// Those that can be read, in the order of the call.
    pub sound: Vec<T>,
    /// The others.
    pub malformed: Vec<Malformed>,
}

/// One thing that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The step that it is about, where that can be read.
    pub step: Option<StepId>,
    /// Which record, attempt, event or beat.
    pub key: String,
    /// What is wrong with it.
    pub detail: String,
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self { sound: Vec::new(), malformed: Vec::new() }
    }
}

impl<T> Many<T> {
    /// Whether there was nothing at all, not even something that cannot be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sound.is_empty() && self.malformed.is_empty()
    }

    /// All of it, for whoever may not miss one; or what is wrong with the first that cannot be
    /// read.
    pub fn whole(self, place: &str) -> Result<Vec<T>, InventoryError> {
        match self.malformed.into_iter().next() {
            None => Ok(self.sound),
            Some(wrong) => Err(wrong.error(place)),
        }
    }

    /// What is wrong with something of a step; none if all of that can be read.
    #[must_use]
    pub fn malformed_of(&self, step: &StepId) -> Option<&Malformed> {
        self.malformed.iter().find(|wrong| wrong.step.as_ref() == Some(step))
    }

    /// Takes in one more.
    pub fn add(&mut self, one: Result<T, Malformed>) {
        match one {
            Ok(one) => self.sound.push(one),
            Err(wrong) => self.malformed.push(wrong),
        }
    }
}

impl Malformed {
    /// As the port tells of a single thing that was asked for.
    #[must_use]
    pub fn error(self, place: &str) -> InventoryError {
        InventoryError::Malformed { place: place.to_owned(), key: self.key, detail: self.detail }
    }
}

impl<T> FromIterator<Result<T, Malformed>> for Many<T> {
    fn from_iter<I: IntoIterator<Item = Result<T, Malformed>>>(all: I) -> Self {
        let mut many = Self::default();
        for one in all {
            many.add(one);
        }
        many
    }
}

impl<T> Deref for Many<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.sound
    }
}

impl<T> IntoIterator for Many<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.sound.into_iter()
    }
}

/// Equal to a list if that is all there was.
impl<T: PartialEq<U>, U, const N: usize> PartialEq<[U; N]> for Many<T> {
    fn eq(&self, other: &[U; N]) -> bool {
        self.malformed.is_empty() && self.sound.as_slice() == other.as_slice()
    }
}

impl<T: PartialEq<U>, U> PartialEq<Vec<U>> for Many<T> {
    fn eq(&self, other: &Vec<U>) -> bool {
        self.malformed.is_empty() && self.sound.as_slice() == other.as_slice()
    }
}

impl<T: PartialEq<U>, U> PartialEq<[U]> for Many<T> {
    fn eq(&self, other: &[U]) -> bool {
        self.malformed.is_empty() && self.sound.as_slice() == other
    }
}
