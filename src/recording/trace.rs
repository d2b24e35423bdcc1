//! A recording as a trace for Chrome and Perfetto.
