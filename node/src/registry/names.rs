//! The names of a format's packages, a page at a time.
//!
//! Does not say where a name comes from: one that a realm has published may be routed elsewhere.

use super::{Error, Principal, Registry};

impl Registry {
    /// At most `count` names that realms have published and `who` may read, in their order, from
    /// the first behind `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn names(
        &self,
        who: &Principal,
        format: &str,
        after: &str,
        count: usize,
    ) -> Result<Vec<String>, Error> {
        let shows = self.readable(who)?;
        Ok(self.inner.store.names_after((format, after), count, &shows)?)
    }
}
