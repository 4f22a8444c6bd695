//! Finds the browser for the page's tests, and installs it on Debian as root.

use anyhow::Result;

use crate::command::{is_installed, provide};
use crate::tally::NotHere;

/// Names under which Chromium is known, the first that is there is taken.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// The browser's program, as a name on the search path.
pub(crate) fn find() -> Result<&'static str> {
    let there = || NAMES.into_iter().find(|name| is_installed(name));
    if let Some(name) = there() {
        return Ok(name);
    }
    provide("chromium", "chromium");
    there().ok_or_else(|| {
        let why = "find Chromium: install Chromium or Chrome so that one of `chromium`, \
                   `chromium-browser`, `google-chrome-stable`, `google-chrome` is on the search \
                   path (on Debian and Ubuntu: sudo apt-get install chromium)";
        NotHere(why.to_owned()).into()
    })
}
