//! What a token looks like: `griot_` + base62 of 32 random bytes + base62 of their CRC-32.
//!
//! The prefix lets secret scanners find a leaked one, the CRC lets them (and us) drop a mistyped
//! one without any look-up. Pure but for the random bytes. Says nothing of what a token may do.
//!
//! Source: trust.md section 15.

use zeroize::Zeroizing;

const PREFIX: &str = "griot_";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is the first power of 62 above 2^256.
const SECRET_DIGITS: usize = 43;
/// 62^6 is the first above 2^32.
const CHECK_DIGITS: usize = 6;

/// Draws a new token from the operating system.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn draw() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0_u8; 32]);
    getrandom::fill(secret.as_mut_slice())?;
    Ok(Zeroizing::new(write(&secret)))
}

/// The text of a secret.
#[must_use]
pub fn write(secret: &[u8; 32]) -> String {
    let check = checksum(secret).to_be_bytes();
    format!("{PREFIX}{}{}", base62(secret, SECRET_DIGITS), base62(&check, CHECK_DIGITS))
}

/// The secret of a token, if it is written as one.
#[must_use]
pub fn read(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let body = text.strip_prefix(PREFIX)?;
    if body.len() != SECRET_DIGITS + CHECK_DIGITS || !body.is_ascii() {
        return None;
    }
    let (secret, check) = body.split_at(SECRET_DIGITS);
    let secret = Zeroizing::new(from_base62::<32>(secret)?);
    let check = from_base62::<4>(check)?;
    (u32::from_be_bytes(check) == checksum(&secret)).then_some(secret)
}

fn checksum(secret: &[u8; 32]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(secret);
    crc.sum()
}

/// Big-endian bytes as `width` digits: repeated division by 62.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = Zeroizing::new(bytes.to_vec());
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in number.iter_mut() {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = DIGITS[usize::try_from(rest).unwrap_or(0)];
    }
    digits.into_iter().map(char::from).collect()
}

/// The inverse; `None` for another character or a number that does not fit.
fn from_base62<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut number = [0_u8; N];
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        let mut carry = u32::try_from(value).ok()?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 62 + carry;
            *byte = u8::try_from(value & 255).ok()?;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}
