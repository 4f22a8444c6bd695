//! The folder in which lines act, and the judge of every path in them.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// A folder that no path leads out of.
#[derive(Clone, Debug)]
pub struct Desk {
    root: PathBuf,
}

impl Desk {
    /// A desk in this folder, which exists and has no symbolic link in its path.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The place that a typed path means.
    ///
    /// # Errors
    /// For a person: a path that leads out of the desk, or through a symbolic link.
    pub fn place(&self, typed: &str) -> Result<PathBuf, String> {
        let outside = || format!("{typed}: only files on the desk can be used here");
        let typed_path = Path::new(typed);
        let inside = typed_path.strip_prefix(&self.root).unwrap_or(typed_path);
        let mut place = self.root.clone();
        for part in inside.components() {
            match part {
                Component::Normal(name) => place.push(name),
                Component::CurDir => {}
                Component::ParentDir if place != self.root => {
                    place.pop();
                }
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(outside());
                }
            }
            // What is not there yet is no link.
            if fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
                return Err(format!("{typed}: symbolic links are not followed here"));
            }
        }
        Ok(place)
    }

    /// A place as it would be typed.
    pub fn typed(&self, place: &Path) -> String {
        let inside = place.strip_prefix(&self.root).unwrap_or(place);
        if inside.as_os_str().is_empty() { ".".to_owned() } else { inside.display().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("it is there");
        let desk = Desk::new(root.clone());
        for (typed, expected) in [
            ("a", "a"),
            ("./a/b", "a/b"),
            ("a/../b", "b"),
            (".", "."),
            (&*root.join("a").display().to_string(), "a"),
        ] {
            let place = desk.place(typed).expect(typed);
            assert_eq!(desk.typed(&place), expected, "{typed}");
        }
        for typed in ["..", "../x", "a/../../x", "/etc/passwd", "/"] {
            assert!(desk.place(typed).is_err(), "{typed}");
        }
        std::os::unix::fs::symlink("/etc", root.join("out")).expect("a link");
        assert!(desk.place("out/passwd").is_err());
    }
}
