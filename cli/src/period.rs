//! Periods as people write them: `90s`, `15m`, `12h`, `7d`.

use std::time::Duration;

/// The longest period: ten years.
const SECONDS_MAX: u64 = 10 * 365 * 86_400;

/// Reads a period, at least a second.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("a period is a number, and s, m, h or d behind it: 12h".to_owned()),
    };
    let number: u64 =
        digits.parse().map_err(|_| "a period begins with a whole number: 12h".to_owned())?;
    let seconds = number.checked_mul(factor).filter(|seconds| *seconds <= SECONDS_MAX);
    match seconds {
        Some(0) => Err("a period is a second or longer: 1s".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("that is more than ten years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_as_people_write_them() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("15 min", 900), ("12h", 43_200)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("7d"), Ok(Duration::from_secs(604_800)));
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in
            ["", "d", "7", "0s", "-1d", "1.5h", "1w", "99999999999999999999d", "3651d", "6é"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
