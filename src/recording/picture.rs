//! A recording as a picture of the frames' lives.
