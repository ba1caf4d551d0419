//! Systems that a project is installed on, as a person names them: `linux-x86_64`.
//!
//! A lockfile is for all systems; who prefetches for some need not carry the files of the others.
//! What a format's files say of systems, the format compares ([`super::lockfile::Lockfile`]). What
//! is not understood counts as for this system: too much is better than too little.

/// A system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Its name, for people.
    pub name: &'static str,
    /// The system, as in `std::env::consts::OS`.
    pub os: &'static str,
    /// The processor, as in `std::env::consts::ARCH`.
    pub cpu: &'static str,
}

impl Platform {
    const fn new(name: &'static str, os: &'static str, cpu: &'static str) -> Self {
        Self { name, os, cpu }
    }

    /// By its name, or by another word for its processor.
    ///
    /// # Errors
    /// A sentence with the names that are known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let (os, cpu) = lower.split_once('-').unwrap_or((&lower, ""));
        let os = if os == "darwin" { "macos" } else { os };
        let cpu = match cpu {
            "amd64" | "x64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        let found = KNOWN.iter().find(|known| known.os == os && known.cpu == cpu);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            format!("{text:?} is no platform that is known here: {}", names.join(", "))
        })
    }
}

/// Those that clients name.
const KNOWN: [Platform; 9] = [
    Platform::new("linux-x86_64", "linux", "x86_64"),
    Platform::new("linux-aarch64", "linux", "aarch64"),
    Platform::new("linux-armv7l", "linux", "armv7l"),
    Platform::new("linux-ppc64le", "linux", "ppc64le"),
    Platform::new("linux-s390x", "linux", "s390x"),
    Platform::new("macos-x86_64", "macos", "x86_64"),
    Platform::new("macos-arm64", "macos", "aarch64"),
    Platform::new("windows-x86_64", "windows", "x86_64"),
    Platform::new("windows-arm64", "windows", "aarch64"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_known_by_each_of_its_names() {
        for (text, name) in [
            ("linux-x86_64", "linux-x86_64"),
            ("Linux-AMD64", "linux-x86_64"),
            ("darwin-arm64", "macos-arm64"),
            ("macos-aarch64", "macos-arm64"),
            ("windows-x64", "windows-x86_64"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().name, name);
        }
        for text in ["", "linux", "amiga-m68k", "linux-"] {
            assert!(Platform::parse(text).unwrap_err().contains("windows-arm64"), "{text}");
        }
    }
}
