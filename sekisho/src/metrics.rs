//! Prometheus metrics, made from a status snapshot at each scrape.
//!
//! Owns names, help and label sets ([`table`]), their way through the crate's registry, and the exporter thread.
//! Counts nothing itself: a scrape and `sekisho status` tell the same story because they read the same snapshot.

mod exporter;
mod reference;
mod table;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto;
use prometheus::{Registry, TextEncoder};

pub use exporter::{Exporter, ExporterError};
pub use reference::reference_markdown;

use crate::status::{LatencyHistogram, StatusSnapshot};
use table::{Kind, METRICS, Sample, Scrape};

/// All metrics of one process. Keeps what lies between two scrapes: the workers' busy share.
pub struct Metrics {
    registry: Registry,
    current: Arc<Mutex<Scrape>>,
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// If a name, a label or a help text is not valid; a test shows that none is.
    pub fn new() -> Result<Self, prometheus::Error> {
        let current = Arc::new(Mutex::new(Scrape::default()));
        let registry = Registry::new();
        registry.register(Box::new(SnapshotCollector::new(Arc::clone(&current))?))?;
        Ok(Self { registry, current })
    }

    /// The text form of a snapshot, as Prometheus reads it.
    ///
    /// # Errors
    /// If the encoder refuses; a test shows that it does not.
    pub fn render(&self, status: StatusSnapshot) -> Result<String, prometheus::Error> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).advance(status);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Turns the current snapshot into metric families.
struct SnapshotCollector {
    descriptions: Vec<Desc>,
    current: Arc<Mutex<Scrape>>,
}

impl SnapshotCollector {
    fn new(current: Arc<Mutex<Scrape>>) -> Result<Self, prometheus::Error> {
        let description = |metric: &table::Metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, Default::default())
        };
        Ok(Self {
            descriptions: METRICS.iter().map(description).collect::<Result<_, _>>()?,
            current,
        })
    }
}

impl Collector for SnapshotCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        METRICS
            .iter()
            .map(|metric| family(metric, &current))
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}

fn family(metric: &table::Metric, scrape: &Scrape) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    let (kind, samples) = match metric.kind {
        Kind::Counter(samples) => (proto::MetricType::COUNTER, counters(metric, samples(scrape))),
        Kind::Gauge(samples) => (proto::MetricType::GAUGE, gauges(metric, samples(scrape))),
        Kind::Histogram(histogram) => (
            proto::MetricType::HISTOGRAM,
            histogram(scrape).map(histogram_metric).into_iter().collect(),
        ),
    };
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

fn counters(metric: &table::Metric, samples: Vec<Sample<'_>>) -> Vec<proto::Metric> {
    let turn = |sample: Sample<'_>| {
        let mut counter = proto::Counter::default();
        counter.set_value(sample.value);
        let mut turned = proto::Metric::from_label(labels(metric, &sample));
        turned.set_counter(counter);
        turned
    };
    samples.into_iter().map(turn).collect()
}

fn gauges(metric: &table::Metric, samples: Vec<Sample<'_>>) -> Vec<proto::Metric> {
    let turn = |sample: Sample<'_>| {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(sample.value);
        let mut turned = proto::Metric::from_label(labels(metric, &sample));
        turned.set_gauge(gauge);
        turned
    };
    samples.into_iter().map(turn).collect()
}

fn labels(metric: &table::Metric, sample: &Sample<'_>) -> Vec<proto::LabelPair> {
    debug_assert_eq!(metric.labels.len(), sample.labels.len(), "{}", metric.name);
    let pair = |(name, value): (&&str, &std::borrow::Cow<'_, str>)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value(value.to_string());
        pair
    };
    metric.labels.iter().zip(&sample.labels).map(pair).collect()
}

fn histogram_metric(histogram: &LatencyHistogram) -> proto::Metric {
    let mut below = 0;
    let bucket = |(bound, count): (&f64, &u64)| {
        below += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    let buckets = histogram.upper_bounds.iter().zip(&histogram.counts).map(bucket).collect();
    let mut turned = proto::Histogram::default();
    turned.set_bucket(buckets);
    turned.set_sample_count(histogram.count());
    turned.set_sample_sum(histogram.sum_seconds);
    let mut metric = proto::Metric::default();
    metric.set_histogram(turned);
    metric
}

#[cfg(test)]
mod tests;
