//! Sizes as people write them: `0`, `4096`, `64M`, `1GiB`; each step is 1024.

/// Reads a size in bytes.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err("a size is a number, and K, M or G behind it: 64M".to_owned()),
    };
    let number: usize =
        digits.parse().map_err(|_| "a size begins with a number: 64M".to_owned())?;
    let size = number.checked_mul(1 << shift).filter(|size| isize::try_from(*size).is_ok());
    size.ok_or_else(|| "that is more than this machine can address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert_eq!(parse("2 GiB"), Ok(2 << 30));
        assert_eq!(parse("7kb"), Ok(7 << 10));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "M", "-1", "1.5G", "64Q", "99999999999999999999", "9999999999999G", "6é4"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
