//! Processors change batches on their way, on the bytes.
