//! Values of metrics at a moment, before they are text. Pure.

use std::collections::BTreeMap;

use crate::metrics::table::{ALL, Metric};

/// The values of a metric's labels, in the order of the table.
pub(super) type LabelValues = Vec<String>;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sample {
    /// Of a gauge.
    Gauge(f64),
    /// Of a counter.
    Counter(u64),
    /// Of a histogram.
    Histogram(Distribution),
}

/// How often values fell below each bound, and their sum.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Distribution {
    /// Each bound with how often a value was above the one before and not above this one.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) sum: f64,
    pub(super) count: u64,
}

impl Distribution {
    /// Without any value.
    pub(super) fn new(bounds: &[f64]) -> Self {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Self { buckets: bounds.map(|bound| (bound, 0)).collect(), sum: 0.0, count: 0 }
    }

    /// With one value more.
    pub(super) fn observe(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
        if let Some(bucket) = self.buckets.iter_mut().find(|(bound, _)| value <= *bound) {
            bucket.1 += 1;
        }
    }
}

/// All values of a scrape.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(BTreeMap<&'static str, Vec<(LabelValues, Sample)>>);

impl Samples {
    /// One value more.
    pub(super) fn add(&mut self, metric: &'static Metric, labels: LabelValues, sample: Sample) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "{}", metric.name);
        self.0.entry(metric.name).or_default().push((labels, sample));
    }

    /// The value of a gauge.
    pub(super) fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.add(metric, labels, Sample::Gauge(value));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Others as well.
    pub(super) fn append(&mut self, others: Self) {
        for (name, mut values) in others.0 {
            self.0.entry(name).or_default().append(&mut values);
        }
    }

    /// The metrics that have a value, in the order of the table, each with its values. No series is
    /// there twice, whatever is: a scrape with such is refused whole.
    pub(super) fn into_families(mut self) -> Vec<(&'static Metric, Vec<(LabelValues, Sample)>)> {
        let families = ALL.iter().filter_map(|metric| {
            let mut values = self.0.remove(metric.name)?;
            values.sort_by(|(a, _), (b, _)| a.cmp(b));
            values.dedup_by(|(a, _), (b, _)| a == b);
            Some((*metric, values))
        });
        families.collect()
    }
}

#[cfg(test)]
impl Samples {
    /// The values of a metric, with its labels' values joined by spaces.
    pub(super) fn of(&self, metric: &'static Metric) -> Vec<(String, f64)> {
        let values = self.0.get(metric.name).into_iter().flatten();
        let number = |sample: &Sample| match sample {
            Sample::Gauge(value) => *value,
            #[expect(clippy::cast_precision_loss, reason = "a test counts to small numbers")]
            Sample::Counter(value) => *value as f64,
            Sample::Histogram(distribution) => distribution.sum,
        };
        values.map(|(labels, sample)| (labels.join(" "), number(sample))).collect()
    }
}
