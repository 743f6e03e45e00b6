//! One failpoint: what is ordered for it stands in an environment variable, `NAME=ACTION[@N]`,
//! several separated by `;`.
//!
//! `abort` ends the process as a crash does, `error` lets the effect fail once, `stop` freezes the
//! whole process as SIGSTOP does; by default when the place is reached for the first time, with
//! `@3` for the third. What happens is said on standard error, so that a test knows that its order
//! was carried out. This file needs nothing but the standard library: a test compiles it as a
//! release build does, and shows that nothing is left.

use std::fmt;

/// The environment variable with the orders.
pub const VARIABLE: &str = "RECONCILER_FAILPOINTS";

/// An error that was ordered.
#[derive(Debug)]
pub struct Injected(String);

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failpoint {}", self.0)
    }
}

impl std::error::Error for Injected {}

/// Says that the place is reached, and does what is ordered for it.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_name: &str) -> Result<(), Injected> {
    Ok(())
}

/// Says that the place is reached, and does what is ordered for it.
#[cfg(debug_assertions)]
pub fn reach(name: &str) -> Result<(), Injected> {
    use std::io::Write as _;

    let Some(action) = ordered::now(name) else {
        return Ok(());
    };
    // If nobody hears it, the test that waits for it says so.
    let _ = writeln!(std::io::stderr(), "failpoint {name}: {action}");
    match action.as_str() {
        "abort" => std::process::abort(),
        "stop" => ordered::stop(),
        _ => return Err(Injected(name.to_owned())),
    }
    Ok(())
}

#[cfg(debug_assertions)]
mod ordered {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    static REACHED: Mutex<Option<HashMap<String, u32>>> = Mutex::new(None);

    /// What is to happen here, this time.
    pub(super) fn now(name: &str) -> Option<String> {
        let orders = std::env::var(super::VARIABLE).ok()?;
        let order = orders
            .split(';')
            .filter_map(|order| order.trim().split_once('='))
            .find(|(place, _)| *place == name)?
            .1;
        let (action, nth) = order.split_once('@').unwrap_or((order, "1"));
        let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let count = reached.get_or_insert_default().entry(name.to_owned()).or_default();
        *count += 1;
        (count.to_string() == nth).then(|| action.to_owned())
    }

    /// Freezes this process until somebody continues it.
    pub(super) fn stop() {
        let own = std::process::id().to_string();
        // Without `kill` nothing is frozen, and the test that waits for it says so.
        let _ = std::process::Command::new("kill").args(["-STOP", &own]).status();
    }
}
