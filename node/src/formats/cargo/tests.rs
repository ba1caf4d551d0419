//! The extractor, index lines and the packer, as facts. Every archive is made here.
