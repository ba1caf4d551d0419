//! Writes the first inputs of every target: `cargo run --bin seeds FOLDER` makes FOLDER/TARGET/N.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    for (target, inputs) in bodies::seeds::all() {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        for (place, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{place:03}")), input)?;
        }
        println!("{}: {} inputs", folder.display(), inputs.len());
    }
    Ok(())
}
