//! System calls of Linux and Android that other Unix systems do not have.

pub(crate) mod measure;
pub(crate) mod object;
pub(crate) mod options;
