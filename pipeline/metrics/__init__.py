"""Counters, gauges and histograms of a run, in the format of Prometheus."""
