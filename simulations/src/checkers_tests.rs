//! Each checker bites.
