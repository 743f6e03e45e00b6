//! Where a farm's images are made: a region of an emulated AWS.
//!
//! An emulator costs seconds to start, so that most farms that want nothing special share one:
//! twelve regions are twelve farms that know nothing of each other. What is said of an emulator as a
//! whole (that it stands still, that its images stay pending) needs one that nobody else uses.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};

use super::emulator::Emulator;

/// Regions that the emulator and Packer know.
const NAMES: [&str; 12] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "ap-south-1",
    "sa-east-1",
    "ca-central-1",
];

/// A region of an emulator, and the address by which the program reaches it.
pub(crate) struct Region {
    pub(crate) emulator: Arc<Emulator>,
    pub(crate) name: &'static str,
    pub(crate) endpoint: String,
    /// Whether others use other regions of the emulator.
    is_shared: bool,
}

impl Region {
    /// The first region of an emulator that nobody else uses.
    pub(crate) fn of_its_own() -> Self {
        Self { is_shared: false, ..Self::of(Arc::new(Emulator::start()), NAMES[0]) }
    }

    /// The next free region of an emulator that others use as well.
    pub(crate) fn shared() -> Self {
        static FREE: Mutex<(Weak<Emulator>, usize)> = Mutex::new((Weak::new(), 0));
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let emulator = match free.0.upgrade() {
            Some(emulator) if free.1 < NAMES.len() => emulator,
            _ => {
                let emulator = Arc::new(Emulator::start());
                *free = (Arc::downgrade(&emulator), 0);
                emulator
            }
        };
        let name = NAMES[free.1];
        free.1 += 1;
        Self::of(emulator, name)
    }

    /// A region of an emulator whose other regions others use.
    pub(crate) fn of(emulator: Arc<Emulator>, name: &'static str) -> Self {
        let endpoint = emulator.endpoint();
        Self { emulator, name, endpoint, is_shared: true }
    }

    /// The same region, reached by another address.
    pub(crate) fn behind(self, endpoint: String) -> Self {
        Self { endpoint, ..self }
    }

    /// Asks the emulator about what is the farm's: its region, or all of an emulator of its own.
    pub(crate) fn ask(&self, page: &str) -> Value {
        self.emulator.control_get(&self.page(page))
    }

    /// Tells the emulator something about what is the farm's.
    pub(crate) fn tell(&self, page: &str, value: &Value) -> Value {
        self.emulator.control_post(&self.page(page), value)
    }

    /// Makes an image that no build of the farm made, and gives its id: `name`, and what else is to
    /// be said of it.
    pub(crate) fn make_image(&self, image: &Value) -> String {
        let mut image = image.clone();
        if image.get("region").is_none() {
            image["region"] = json!(self.name);
        }
        let made = self.emulator.control_post("/_control/base-image", &image);
        made["id"].as_str().unwrap().to_owned()
    }

    fn page(&self, page: &str) -> String {
        let region = if self.is_shared { format!("?region={}", self.name) } else { String::new() };
        format!("/_control/{page}{region}")
    }
}
