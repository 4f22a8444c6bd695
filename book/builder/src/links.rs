//! Checks that every link inside the book leads somewhere: the file is there, and so is the place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, bail};

/// Checks the links of all pages; the error names each that is broken.
///
/// Links to other sites are left alone: whether they answer today is not ours to promise. Links
/// that start with `/` lead to the lab that serves the book.
pub(crate) fn check(output: &Path, pages: &BTreeMap<PathBuf, String>) -> Result<()> {
    let places: BTreeMap<&Path, BTreeSet<&str>> =
        pages.iter().map(|(path, text)| (path.as_path(), attributes(text, "id"))).collect();
    let mut broken = Vec::new();
    for (page, text) in pages {
        let links = attributes(text, "href").into_iter().chain(attributes(text, "src"));
        for link in links.filter(|link| is_inside(link)) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { resolve(page, file) };
            let known = places.get(target.as_path());
            let holds = target.is_file()
                && (place.is_empty() || known.is_none_or(|known| known.contains(place)));
            if !holds {
                let page = page.strip_prefix(output).unwrap_or(page);
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("follow {} links of the book:\n  {}", broken.len(), broken.join("\n  "))
}

/// Whether a link stays inside the book.
fn is_inside(link: &str) -> bool {
    let scheme = link.split(['/', '#', '?']).next().unwrap_or_default().contains(':');
    !(link.is_empty() || scheme || link.starts_with('/'))
}

/// The file a relative link leads to.
fn resolve(page: &Path, file: &str) -> PathBuf {
    let mut target = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                target.pop();
            }
            Component::Normal(name) => target.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    target
}

/// The values of one attribute in a page.
fn attributes<'a>(text: &'a str, name: &str) -> BTreeSet<&'a str> {
    let opening = format!(" {name}=\"");
    text.split(opening.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_apart() {
        for (link, inside) in [
            ("a.html", true),
            ("../b/c.html#d", true),
            ("#here", true),
            ("https://example.org/x", false),
            ("mailto:a@example.org", false),
            ("data:,", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_inside(link), inside, "{link}");
        }
        assert_eq!(resolve(Path::new("/o/a/b.html"), "../c.html"), Path::new("/o/c.html"));
    }

    #[test]
    fn a_missing_page_and_a_missing_place_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("a.html");
        let text = r##"<h1 id="top">x</h1><a href="#top">ok</a><a href="#no">no</a><a href="b.html">no</a>"##;
        std::fs::write(&page, text).expect("written");
        let pages = BTreeMap::from([(page, text.to_owned())]);
        let error = check(folder.path(), &pages).expect_err("two are broken").to_string();
        assert!(error.contains("#no") && error.contains("b.html") && !error.contains("#top"));
    }
}
