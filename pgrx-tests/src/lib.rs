//! Cluster harness and tests.
