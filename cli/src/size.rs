//! Sizes and rates as people write them: `500MB`, `20GB`, `64MiB`, `1MB/s`.

/// Reads a size in bytes; a unit without an `i` counts in thousands.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let (digits, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err("write a size such as 500MB, 20GB or 64MiB".to_owned()),
    };
    let number: u64 =
        digits.parse().map_err(|_| "write a size such as 500MB, 20GB or 64MiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is more than any disk has".to_owned())
}

/// Reads bytes a second: a size, with or without `/s` behind it.
///
/// # Errors
/// As [`parse`].
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    parse(text.strip_suffix("/s").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("17"), Ok(17));
        assert_eq!(parse("7kb"), Ok(7_000));
        assert_eq!(parse("20GB"), Ok(20_000_000_000));
        assert_eq!(parse("64 MiB"), Ok(64 << 20));
        assert_eq!(rate("1MB/s"), Ok(1_000_000));
        assert_eq!(rate("1MB"), Ok(1_000_000));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for wrong in [
            "",
            "GB",
            "1.5GB",
            "-1",
            "64Q",
            "20 apples",
            "6é4",
            "99999999999TB",
            "99999999999999999999",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
