//! A kept log as people read it.

use super::output::{Line, line};

/// One line of a kept log as text; none if it says nothing to people.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<String> {
    match line(bytes) {
        Line::Ui(_, said) => Some(said),
        Line::Plain(text) => Some(text),
        Line::Artifact(images) => {
            let images: Vec<_> = images
                .iter()
                .map(|(region, id)| format!("{region}:{id}"))
                .collect();
            Some(format!("artifact: {}", images.join(", ")))
        }
        Line::Other => None,
    }
}
