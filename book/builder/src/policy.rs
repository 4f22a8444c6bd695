//! Makes the built pages fit a content security policy without inline scripts and styles.
//!
//! The lab serves the book with `script-src 'self'; style-src 'self'; img-src 'self' data:`.
//! mdBook writes small scripts into each page; here each becomes a file of its own, named by its
//! content, and is loaded at the same place, so the order in which scripts run stays the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::sources::files_below;

/// mdBook's one inline style; the class is in `raftlab.css`.
const STYLE: (&str, &str) = (r#"style="clear: both""#, r#"class="moved-style""#);

/// Rewrites every page below `output`; returns all pages with their text.
pub(crate) fn apply(output: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut scripts = BTreeMap::new();
    let mut pages = BTreeMap::new();
    for path in files_below(output, "html")? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let inside = path.strip_prefix(output).unwrap_or(&path);
        let up = "../".repeat(inside.components().count().saturating_sub(1));
        let text = move_scripts(&text.replace(STYLE.0, STYLE.1), &up, &mut scripts)
            .with_context(|| format!("move the scripts of {}", path.display()))?;
        refuse_inline(&text).with_context(|| format!("serve {}", path.display()))?;
        fs::write(&path, &text).with_context(|| format!("write {}", path.display()))?;
        pages.insert(path, text);
    }
    for (name, script) in scripts {
        let path = output.join(name);
        fs::write(&path, script).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(pages)
}

/// Moves each inline script of a page into `scripts` and loads it from `up` instead.
fn move_scripts(text: &str, up: &str, scripts: &mut BTreeMap<String, String>) -> Result<String> {
    const OPEN: &str = "<script>";
    const CLOSE: &str = "</script>";
    let mut moved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((script, after)) = after.split_once(CLOSE) else {
            bail!("find the end of a script");
        };
        let name = format!("script-{:016x}.js", fingerprint(script));
        moved.push_str(before);
        moved.push_str(&format!(r#"<script src="{up}{name}">{CLOSE}"#));
        scripts.insert(name, script.to_owned());
        rest = after;
    }
    moved.push_str(rest);
    Ok(moved)
}

/// FNV-1a: names files by their content, nothing more.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Fails for what the policy would block.
fn refuse_inline(text: &str) -> Result<()> {
    for blocked in ["<style", " style=\"", " onclick=", " onload=", " onerror=", "javascript:"] {
        if let Some(at) = text.find(blocked) {
            let near: String = text[at..].chars().take(60).collect();
            bail!("find no inline style or handler: `{near}` would be blocked");
        }
    }
    for (attribute, tag) in
        [("src=\"http", "loaded"), ("<link rel=\"stylesheet\" href=\"http", "styled")]
    {
        if text.contains(attribute) {
            bail!("find nothing that is {tag} from elsewhere: a page has `{attribute}…`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_become_files_in_the_same_order() {
        let mut scripts = BTreeMap::new();
        let page =
            r#"<script>a()</script><p>x</p><script src="b.js"></script><script>c()</script>"#;
        let moved = move_scripts(page, "../", &mut scripts).expect("moved");
        assert_eq!(scripts.values().map(String::as_str).collect::<Vec<_>>().len(), 2);
        let order: Vec<_> = moved.match_indices("src=\"../script-").map(|(at, _)| at).collect();
        assert_eq!(order.len(), 2);
        assert!(order[0] < moved.find("b.js").expect("kept") && order[1] > order[0]);
        assert!(!moved.contains("<script>"));
        assert!(move_scripts("<script>", "", &mut scripts).is_err());
    }

    #[test]
    fn what_the_policy_blocks_is_refused() {
        assert!(refuse_inline("<p>plain</p>").is_ok());
        for page in ["<p style=\"x\">", "<a onclick=x>", "<img src=\"https://a.example/b.png\">"] {
            assert!(refuse_inline(page).is_err(), "{page}");
        }
    }
}
