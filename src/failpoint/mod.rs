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

pub use points::{Injected, VARIABLE, reach};

use std::sync::Arc;

use reconciler_aws::ec2::Ec2Catalog;
use reconciler_core::build::job::ImageBuilder;
use reconciler_model::images::{ImageMaker, ImageReader, ImageWriter};
use reconciler_model::inventory::Inventory;

/// The same inventory, with a failpoint before and after each effect if any is ordered.
#[must_use]
pub fn around_inventory(inventory: Arc<dyn Inventory>) -> Arc<dyn Inventory> {
    #[cfg(debug_assertions)]
    if std::env::var_os(VARIABLE).is_some() {
        return Arc::new(inventory::Failing(inventory));
    }
    inventory
}

/// The two ports of these images, with a failpoint before and after each effect if any is ordered.
#[must_use]
pub fn around_images(catalog: Arc<Ec2Catalog>) -> (Arc<dyn ImageReader>, Arc<dyn ImageWriter>) {
    #[cfg(debug_assertions)]
    if std::env::var_os(VARIABLE).is_some() {
        let reader: Arc<dyn ImageReader> = catalog.clone();
        let writer: Arc<dyn ImageWriter> = catalog;
        return (Arc::new(catalog::Failing(reader)), Arc::new(catalog::Failing(writer)));
    }
    (catalog.clone(), catalog)
}

/// The same maker of images, with a failpoint before and after each effect if any is ordered.
#[must_use]
pub fn around_image_maker(maker: Arc<dyn ImageMaker>) -> Arc<dyn ImageMaker> {
    #[cfg(debug_assertions)]
    if std::env::var_os(VARIABLE).is_some() {
        return Arc::new(catalog::Failing(maker));
    }
    maker
}

/// The same builder, with a failpoint before and after each effect if any is ordered.
#[must_use]
pub fn around_builder(builder: Arc<dyn ImageBuilder>) -> Arc<dyn ImageBuilder> {
    #[cfg(debug_assertions)]
    if std::env::var_os(VARIABLE).is_some() {
        return Arc::new(builder::Failing(builder));
    }
    builder
}

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
