//! A text as a QR code on the terminal: for a camera, where a person would have to type.

use std::io::IsTerminal as _;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::output::Output;

/// Black letters on white.
const DARK_ON_LIGHT: &str = "\u{1b}[30;107m";
const PLAIN: &str = "\u{1b}[0m";
/// Modules of a side: a larger code fits no terminal.
const SIDE_MAX: usize = 117;

/// Shows a text where a terminal can: dark on light whatever its colours are, as many cameras read
/// nothing else. One that is too long is not shown.
pub(crate) fn show(output: Output, text: &str) {
    if !output.is_human() || !std::io::stderr().is_terminal() {
        return;
    }
    let Ok(code) = QrCode::new(text) else { return };
    if code.width() > SIDE_MAX {
        return;
    }
    for row in code.render::<Dense1x2>().build().lines() {
        output.say(format!("{DARK_ON_LIGHT}{row}{PLAIN}"));
    }
}
