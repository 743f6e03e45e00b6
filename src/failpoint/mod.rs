//! Failpoints: named places, before and after every outside effect, at which a test makes the
//! program die, fail or stand still.
//!
//! They are compiled into builds with debug assertions only; a release build has none of it,
//! whatever its environment says. Inventory, images and builder get theirs by being wrapped here,
//! so that the code that acts shows nothing of it; the supervisor, which has no ports, calls
//! [`reach`] itself. `points` says how one is ordered.

#[cfg(debug_assertions)]
mod builder;
#[cfg(debug_assertions)]
mod catalog;
#[cfg(debug_assertions)]
mod inventory;
mod points;
#[cfg(feature = "aws")]
mod ports;

pub use points::{Injected, VARIABLE, reach};
#[cfg(feature = "aws")]
pub use ports::{
    around_builder, around_image_maker, around_image_remover, around_images, around_inventory,
};

/// What a build's own environment needs for the failpoints of its supervisor.
#[must_use]
pub fn passed_on() -> Option<(String, String)> {
    if cfg!(debug_assertions) {
        let ordered = std::env::var(VARIABLE).ok()?;
        Some((VARIABLE.to_owned(), ordered))
    } else {
        None
    }
}

/// Does one outside effect with a failpoint on either side of it: an error before it keeps it from
/// happening, one after it loses its answer.
#[cfg(debug_assertions)]
async fn around<T, E>(
    name: &str,
    effect: impl Future<Output = Result<T, E>> + Send,
    error: impl Fn(String) -> E + Sync,
) -> Result<T, E> {
    reach(&format!("{name}:before")).map_err(|injected| error(injected.to_string()))?;
    let answer = effect.await?;
    reach(&format!("{name}:after")).map_err(|injected| error(injected.to_string()))?;
    Ok(answer)
}
