//! The JSON Schema of the configuration, generated from the types.

use crate::config::raw::RawConfig;

/// The schema as text, as it stands in `config/reconciler.schema.json`.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(RawConfig);
    let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/reconciler.schema.json");
        if std::env::var_os("RECONCILER_UPDATE_GENERATED").is_some() {
            std::fs::write(path, schema()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == schema(),
            "config/reconciler.schema.json is old: run `make generate`"
        );
    }
}
