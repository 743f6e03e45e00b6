//! Values as the text that Prometheus reads: `OpenMetrics`, written by its own client library.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as ClientUnit};

use crate::metrics::samples::{LabelValues, Sample, Samples};
use crate::metrics::table::{Kind, Metric, Unit};

/// What a client is told that the text is.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of a scrape.
pub(super) fn text(samples: Samples) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(samples.into_families())));
    let mut text = String::new();
    // A string takes whatever is written into it.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Families(Vec<(&'static Metric, Vec<(LabelValues, Sample)>)>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (metric, samples) in &self.0 {
            let unit = metric.unit.map(|unit| match unit {
                Unit::Seconds => ClientUnit::Seconds,
                Unit::Bytes => ClientUnit::Bytes,
            });
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram { .. } => MetricType::Histogram,
            };
            let mut family =
                encoder.encode_descriptor(metric.stem(), metric.help, unit.as_ref(), kind)?;
            for (values, sample) in samples {
                let names = metric.labels.iter().copied();
                let labels: Vec<_> = names.zip(values.iter().map(String::as_str)).collect();
                let mut one = family.encode_family(&labels)?;
                match sample {
                    Sample::Gauge(value) => one.encode_gauge(value)?,
                    Sample::Counter(value) => {
                        one.encode_counter::<NoLabelSet, u64, f64>(value, None)?;
                    }
                    Sample::Histogram(all) => {
                        one.encode_histogram::<NoLabelSet>(all.sum, all.count, &all.buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::samples::Distribution;
    use crate::metrics::table;

    #[test]
    fn a_scrape_is_openmetrics_text_with_names_of_every_kind_escaped() {
        let mut samples = Samples::default();
        samples.gauge(table::LEASE_HELD, &["a\"b\\c", "line\nfeed"], 1.0);
        samples.add(table::UPDATES, vec!["r".into(), "f".into()], Sample::Counter(3));
        samples.gauge(table::LAST_PASS, &[], 1.5);
        let mut took = Distribution::new(&[0.5, 1.0]);
        took.observe(0.75);
        samples.add(table::PASS_DURATION, vec![], Sample::Histogram(took));
        let text = text(samples);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        # TYPE reconciler_lease_held gauge
        reconciler_lease_held{repository="a\"b\\c",folder="line\nfeed"} 1.0
        # TYPE reconciler_last_pass_timestamp_seconds gauge
        reconciler_last_pass_timestamp_seconds 1.5
        # TYPE reconciler_updates counter
        reconciler_updates_total{repository="r",folder="f"} 3
        # TYPE reconciler_pass_duration_seconds histogram
        # UNIT reconciler_pass_duration_seconds seconds
        reconciler_pass_duration_seconds_sum 0.75
        reconciler_pass_duration_seconds_count 1
        reconciler_pass_duration_seconds_bucket{le="0.5"} 0
        reconciler_pass_duration_seconds_bucket{le="1.0"} 1
        reconciler_pass_duration_seconds_bucket{le="+Inf"} 1
        # EOF
        "#);
    }
}
