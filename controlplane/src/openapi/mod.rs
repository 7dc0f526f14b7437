//! placeholder
pub(crate) fn document() -> bytes::Bytes { bytes::Bytes::new() }
