//! Builds the page: wasm, its JavaScript, the static files, and a brotli sibling of each.
//!
//! ```text
//!  lab-ui ── cargo, profile `page` ──► lab-ui.wasm ── wasm-bindgen, `slim` ────┐
//!  lab-ui/{index.html,style.css,boot.js,fonts/} ───────────────────────────────┤
//!                                                          lab-orchestrator/page, each with .br
//! ```
//!
//! Nothing is written whose content would be the same, so a warm run touches no file and the lab
//! is not built again. No tool need be installed: the generator is a library, held at the version
//! of `wasm-bindgen` that the page itself uses, because another version cannot read its output.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::command::{Plain, say};
use crate::places;
use crate::slim::slim;

/// The target of the page.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// What wasm and JavaScript together may weigh on the wire, in bytes.
pub(crate) const BUDGET_BYTES: usize = 250_000;

/// Brotli's highest quality: it costs seconds, once for each content.
const QUALITY: i32 = 11;

/// Brotli's window as a power of two: 4 MiB, more than any file of the page.
const WINDOW: i32 = 22;

/// Static files of the page, beside `fonts/`.
const STATIC: [&str; 3] = ["index.html", "style.css", "boot.js"];

/// What the page weighs.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// Name, bytes, bytes under brotli.
    files: Vec<(String, usize, usize)>,
}

impl Sizes {
    /// Bytes of wasm and JavaScript under brotli.
    pub(crate) fn code_bytes(&self) -> usize {
        self.files
            .iter()
            .filter(|(name, ..)| name.ends_with(".wasm") || name.ends_with(".js"))
            .map(|(.., compressed)| compressed)
            .sum()
    }

    /// Prints one line a file, and the sum the budget is about.
    pub(crate) fn print(&self) {
        for (name, plain, compressed) in &self.files {
            say(&format!("page: {name:<28} {plain:>9} bytes, {compressed:>8} under brotli"));
        }
        say(&format!(
            "page: wasm and JavaScript {} of {BUDGET_BYTES} bytes under brotli",
            self.code_bytes()
        ));
    }

    /// Fails when the code is heavier than the budget.
    pub(crate) fn within_budget(&self) -> Result<()> {
        let code_bytes = self.code_bytes();
        if code_bytes > BUDGET_BYTES {
            bail!(
                "keep the page within its budget: wasm and JavaScript are {code_bytes} bytes under \
                 brotli, {BUDGET_BYTES} are allowed; look for a new dependency or feature of lab-ui"
            );
        }
        Ok(())
    }
}

/// Adds the wasm target when the toolchain lacks it; only then is the network used.
pub(crate) fn provide_target() -> Result<()> {
    let sysroot = Plain::new("rustc", ["--print", "sysroot"]).quietly().read()?;
    let target = Path::new(sysroot.trim()).join("lib").join("rustlib").join(WASM).join("lib");
    if target.is_dir() {
        return Ok(());
    }
    Plain::new("rustup", ["target", "add", WASM])
        .run()
        .with_context(|| format!("add the target {WASM}, which the page is built for"))
}

/// Builds the page into `lab-orchestrator/page`.
pub(crate) fn build() -> Result<Sizes> {
    provide_target()?;
    Plain::cargo("build -p lab-ui --bin lab-ui --profile page --target")
        .with([WASM])
        .run()
        .context("build the page")?;
    let folder = places::page();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut wanted = Vec::new();
    let bound = bind(&places::target().join(WASM).join("page").join("lab-ui.wasm"))?;
    copy_all(&bound, &folder, &mut wanted)?;
    copy_static(&places::ui(), &folder, &mut wanted)?;
    wanted.sort();
    for name in &wanted {
        compress(&folder.join(name))?;
    }
    remove_others(&folder, &wanted)?;
    sizes(&folder, &wanted)
}

/// Turns cargo's wasm into `lab-ui.js`, `lab-ui_bg.wasm` and the small modules that dependencies
/// bring, in a folder of their own; nothing is done when it was this very wasm last time.
fn bind(built: &Path) -> Result<PathBuf> {
    let bytes = fs::read(built).with_context(|| format!("read {}", built.display()))?;
    let bound = places::target().join("xtask").join("bound");
    let kept = places::target().join("xtask").join("lab-ui.wasm");
    let there = ["lab-ui.js", "lab-ui_bg.wasm"].iter().all(|name| bound.join(name).is_file());
    if there && fs::read(&kept).is_ok_and(|earlier| earlier == bytes) {
        return Ok(bound);
    }
    say("page: wasm-bindgen (as a library)");
    if bound.is_dir() {
        fs::remove_dir_all(&bound).with_context(|| format!("empty {}", bound.display()))?;
    }
    fs::create_dir_all(&bound).with_context(|| format!("create {}", bound.display()))?;
    Bindgen::new()
        .input_bytes("lab-ui", bytes.clone())
        .web(true)
        .and_then(|bindgen| {
            bindgen
                .typescript(false)
                .remove_name_section(true)
                .remove_producers_section(true)
                // `boot.js` says where the wasm is.
                .omit_default_module_path(true)
                .generate(&bound)
        })
        .map_err(|error| anyhow!("{error:#}"))
        .context("run wasm-bindgen over the page")?;
    let (wasm, script) = (bound.join("lab-ui_bg.wasm"), bound.join("lab-ui.js"));
    let long = fs::read(&wasm).with_context(|| format!("read {}", wasm.display()))?;
    let text = fs::read_to_string(&script).with_context(|| format!("read {}", script.display()))?;
    let (short, text) = slim(&long, &text).context("shorten the names in the page")?;
    write_changed(&wasm, &short)?;
    write_changed(&script, text.as_bytes())?;
    write_changed(&kept, &bytes)?;
    Ok(bound)
}

/// Copies every file below a folder, and adds the names to `wanted`.
fn copy_all(source: &Path, folder: &Path, wanted: &mut Vec<PathBuf>) -> Result<()> {
    for path in files_below(source)? {
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let name = path.strip_prefix(source).unwrap_or(&path).to_owned();
        write_changed(&folder.join(&name), &bytes)?;
        wanted.push(name);
    }
    Ok(())
}

/// Every file below a folder, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies the static files and the fonts, and adds their names to `wanted`.
fn copy_static(ui: &Path, folder: &Path, wanted: &mut Vec<PathBuf>) -> Result<()> {
    for name in STATIC {
        let source = ui.join(name);
        let bytes = fs::read(&source)
            .with_context(|| format!("read {}, a part of the page", source.display()))?;
        write_changed(&folder.join(name), &bytes)?;
        wanted.push(PathBuf::from(name));
    }
    let mut fonts = Vec::new();
    copy_all(&ui.join("fonts"), &folder.join("fonts"), &mut fonts)?;
    wanted.extend(fonts.into_iter().map(|name| Path::new("fonts").join(name)));
    Ok(())
}

/// Writes a file unless it has this content already.
pub(crate) fn write_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|earlier| earlier == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    // Whoever reads the folder at this moment finds the old file or the new one, never half.
    let beside = with_suffix(path, ".new");
    fs::write(&beside, bytes).with_context(|| format!("write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("put {} in place", path.display()))
}

/// Keeps `path.br` the compressed form of `path`.
///
/// The sibling is current when it was written after the file: files are only written when their
/// content changes.
pub(crate) fn compress(path: &Path) -> Result<()> {
    let sibling = with_suffix(path, ".br");
    let written = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    if let (Ok(plain), Ok(compressed)) = (written(path), written(&sibling))
        && compressed >= plain
    {
        return Ok(());
    }
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut compressed = Vec::new();
    {
        let mut encoder =
            brotli::CompressorWriter::new(&mut compressed, 1 << 16, QUALITY as u32, WINDOW as u32);
        encoder.write_all(&bytes).with_context(|| format!("compress {}", path.display()))?;
    }
    fs::write(&sibling, compressed).with_context(|| format!("write {}", sibling.display()))
}

/// Removes what an earlier build left and this one does not have; the book stays.
fn remove_others(folder: &Path, wanted: &[PathBuf]) -> Result<()> {
    let keep: BTreeSet<PathBuf> = wanted
        .iter()
        .flat_map(|name| [folder.join(name), with_suffix(&folder.join(name), ".br")])
        .collect();
    let book = folder.join("book");
    for path in files_below(folder)? {
        if !keep.contains(&path) && !path.starts_with(&book) {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn sizes(folder: &Path, names: &[PathBuf]) -> Result<Sizes> {
    let bytes = |path: &Path| -> Result<usize> {
        let length =
            fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len();
        Ok(usize::try_from(length)?)
    };
    let mut files = Vec::new();
    for name in names {
        let path = folder.join(name);
        let pair = (bytes(&path)?, bytes(&with_suffix(&path, ".br"))?);
        files.push((name.display().to_string(), pair.0, pair.1));
    }
    Ok(Sizes { files })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_content_is_not_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.txt");
        write_changed(&file, b"one").expect("written");
        let before = fs::metadata(&file).expect("there").modified().expect("a time");
        write_changed(&file, b"one").expect("left alone");
        assert_eq!(fs::metadata(&file).expect("there").modified().expect("a time"), before);
        write_changed(&file, b"two").expect("written");
        assert_eq!(fs::read(&file).expect("there"), b"two");
    }

    #[test]
    fn the_sibling_holds_the_same_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.js");
        let text = "let quorum = 2;\n".repeat(200);
        write_changed(&file, text.as_bytes()).expect("written");
        compress(&file).expect("compressed");
        let sibling = fs::read(folder.path().join("a.js.br")).expect("there");
        assert!(sibling.len() < text.len() / 10);
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut sibling.as_slice(), &mut plain).expect("readable");
        assert_eq!(plain, text.as_bytes());
    }

    #[test]
    fn only_code_counts_towards_the_budget() {
        let files = vec![
            ("lab-ui_bg.wasm".to_owned(), 9, 200_000),
            ("lab-ui.js".to_owned(), 9, 50_000),
            ("fonts/mono.woff2".to_owned(), 9, 90_000),
        ];
        let sizes = Sizes { files };
        assert_eq!(sizes.code_bytes(), 250_000);
        assert!(sizes.within_budget().is_ok());
    }
}
