//! Which form of a document a client takes: `Accept-Encoding` with its q-values.
//!
//! Without the header, or with an empty one, a client gets the bytes as they are: old clients and
//! shell scripts cannot undo anything. What is not named is not accepted, but for `identity`, which
//! comes last then and is refused by `identity;q=0` or `*;q=0` alone. Broken words are refusals.
//!
//! Source: RFC 9110 section 12.5.3.

use axum::http::{HeaderMap, header};

/// How the bytes of an answer are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// The word of `identity` that was not named: after all that were.
const UNNAMED_IDENTITY: u16 = 1;
/// Of q = 0.001, so that there is room below.
const THOUSANDTH: u16 = 2;

/// Weights; 0 is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    identity: u16,
    gzip: u16,
    zstd: u16,
}

impl Accepted {
    /// Of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::ACCEPT_ENCODING).iter().map(|line| line.to_str());
        let (mut identity, mut gzip, mut zstd, mut others) = (None, None, None, None);
        while let Some(Ok(line)) = lines.next() {
            for item in line.split(',') {
                let (name, weight) = read(item);
                let place = match name {
                    name if name.eq_ignore_ascii_case("gzip") => &mut gzip,
                    name if name.eq_ignore_ascii_case("x-gzip") => &mut gzip,
                    name if name.eq_ignore_ascii_case("zstd") => &mut zstd,
                    name if name.eq_ignore_ascii_case("identity") => &mut identity,
                    "*" => &mut others,
                    _ => continue,
                };
                // Said twice, the kinder word counts.
                *place = (*place).max(Some(weight));
            }
        }
        Self {
            identity: identity.or(others).unwrap_or(UNNAMED_IDENTITY),
            gzip: gzip.or(others).unwrap_or(0),
            zstd: zstd.or(others).unwrap_or(0),
        }
    }

    /// 0 is refused.
    pub(super) const fn weight(&self, coding: Coding) -> u16 {
        match coding {
            Coding::Identity => self.identity,
            Coding::Gzip => self.gzip,
            Coding::Zstd => self.zstd,
        }
    }

    /// The best of these, given with their sizes: what is wanted most, then the smallest.
    pub(super) fn best(&self, forms: impl Iterator<Item = (Coding, u64)>) -> Option<Coding> {
        let taken = forms.filter(|(coding, _)| self.weight(*coding) > 0);
        let order = |(coding, size): &(Coding, u64)| (u16::MAX - self.weight(*coding), *size);
        taken.min_by_key(order).map(|(coding, _)| coding)
    }
}

/// `name;q=0.5`.
fn read(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, q.map_or(1000 * THOUSANDTH, quality))
}

/// At most three digits behind the point.
fn quality(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = match whole {
        "0" if digits => format!("{rest:0<3}").parse().unwrap_or(0),
        "1" if digits && rest.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    };
    thousandths * THOUSANDTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_wish_is_understood() {
        use Coding::{Gzip, Identity, Zstd};
        let forms = [(Identity, 100), (Gzip, 30), (Zstd, 20)];
        for (asked, expected) in [
            (None, Some(Identity)),
            (Some(""), Some(Identity)),
            (Some("gzip"), Some(Gzip)),
            (Some("x-gzip"), Some(Gzip)),
            (Some("GZIP, deflate, br"), Some(Gzip)),
            (Some("gzip, deflate, br, zstd"), Some(Zstd)),
            (Some("zstd;q=0.5, gzip"), Some(Gzip)),
            (Some("zstd; q=0.501 ,gzip;q=0.5"), Some(Zstd)),
            (Some("identity, gzip;q=0.9"), Some(Identity)),
            (Some("deflate, br"), Some(Identity)),
            (Some("gzip;q=0"), Some(Identity)),
            (Some("*"), Some(Zstd)),
            (Some("*;q=0"), None),
            (Some("gzip;q=0.001"), Some(Gzip)),
            (Some("identity;q=0"), None),
            (Some("identity;q=0, gzip;q=0.1"), Some(Gzip)),
            (Some("*;q=0, identity"), Some(Identity)),
            (Some("zstd;q=0, *"), Some(Gzip)),
            (Some("gzip;q=1.5"), Some(Identity)),
            (Some("gzip;q=nonsense, zstd;q="), Some(Identity)),
            (Some("gzip;q=0.1234"), Some(Identity)),
            (Some(";;;,,,q=1"), Some(Identity)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(header::ACCEPT_ENCODING, asked.parse().unwrap());
            }
            let found = Accepted::of(&headers).best(forms.into_iter());
            assert_eq!(found, expected, "{asked:?}");
        }
    }

    #[test]
    fn several_lines_are_one_list_and_a_larger_form_is_not_preferred() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT_ENCODING, "identity".parse().unwrap());
        headers.append(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
        let accepted = Accepted::of(&headers);
        let best = |gzip| accepted.best([(Coding::Identity, 25), (Coding::Gzip, gzip)].into_iter());
        assert_eq!(best(40), Some(Coding::Identity));
        assert_eq!(best(20), Some(Coding::Gzip));
    }
}
