//! Puts the failpoints around ports.

use std::sync::Arc;

#[cfg(debug_assertions)]
use crate::failpoint::{VARIABLE, builder, catalog, inventory};
use reconciler_aws::ec2::Ec2Catalog;
use reconciler_core::build::job::ImageBuilder;
use reconciler_model::images::{ImageMaker, ImageReader, ImageRemover, ImageWriter};
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

/// The same remover of images, with a failpoint before and after each effect if any is ordered.
#[must_use]
pub fn around_image_remover(remover: Arc<dyn ImageRemover>) -> Arc<dyn ImageRemover> {
    #[cfg(debug_assertions)]
    if std::env::var_os(VARIABLE).is_some() {
        return Arc::new(catalog::Failing(remover));
    }
    remover
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
