//! Tests of the management API, in process, on a store in memory.
