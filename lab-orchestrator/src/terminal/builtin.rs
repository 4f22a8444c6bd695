//! The five commands that need no program: `cp ls rm cat cmp`.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::Desk;

/// No more of a file is shown.
const SHOWN_BYTES: u64 = 64 << 10;

/// A command with its paths as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Copies a file, or with `-r` a folder.
    Cp {
        /// Folders too.
        recursive: bool,
        /// What.
        from: String,
        /// Where to; into it, if it is a folder.
        to: String,
    },
    /// Lists a folder.
    Ls {
        /// Which; the desk itself if none was typed.
        path: String,
    },
    /// Removes files, or with `-r` folders.
    Rm {
        /// Folders too.
        recursive: bool,
        /// Which.
        paths: Vec<String>,
    },
    /// Shows a file.
    Cat {
        /// Which.
        path: String,
    },
    /// Compares two files.
    Cmp {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
}

impl Builtin {
    /// Reads a command behind its name.
    ///
    /// # Errors
    /// For a person: how it is used.
    pub fn read(name: &str, words: &[String]) -> Result<Self, String> {
        let (flags, paths): (Vec<_>, Vec<_>) =
            words.iter().map(String::as_str).partition(|word| word.starts_with('-'));
        let mut recursive = false;
        for flag in flags {
            match (name, flag) {
                ("cp" | "rm", "-r" | "-R" | "-rf" | "-fr" | "-a") => recursive = true,
                ("rm", "-f") | ("ls", "-l" | "-a" | "-la" | "-al" | "-lh") => {}
                _ => return Err(format!("{name} knows no {flag} here")),
            }
        }
        match (name, &*paths) {
            ("cp", [from, to]) => {
                Ok(Self::Cp { recursive, from: (*from).into(), to: (*to).into() })
            }
            ("cp", _) => Err("write `cp FROM TO`, with -r for a folder".into()),
            ("ls", []) => Ok(Self::Ls { path: ".".into() }),
            ("ls", [path]) => Ok(Self::Ls { path: (*path).into() }),
            ("ls", _) => Err("write `ls`, or `ls FOLDER`".into()),
            ("rm", []) => Err("write `rm FILE`, with -r for a folder".into()),
            ("rm", paths) => {
                Ok(Self::Rm { recursive, paths: paths.iter().map(|p| (*p).into()).collect() })
            }
            ("cat", [path]) => Ok(Self::Cat { path: (*path).into() }),
            ("cat", _) => Err("write `cat FILE`".into()),
            (_, [one, other]) => Ok(Self::Cmp { one: (*one).into(), other: (*other).into() }),
            _ => Err("write `cmp FILE FILE`".into()),
        }
    }

    /// Does it; what is printed comes back.
    ///
    /// # Errors
    /// What went wrong, for a person.
    pub fn run(&self, desk: &Desk) -> Result<String, String> {
        let told = |typed: &str, error: &io::Error| {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            format!("{typed}: {text}")
        };
        match self {
            Self::Cp { recursive, from, to } => {
                let (source, mut target) = (desk.place(from)?, desk.place(to)?);
                if target.is_dir() {
                    target.push(source.file_name().ok_or("the desk is not copied into itself")?);
                }
                if target.starts_with(&source) {
                    return Err(format!("{from} cannot be copied into itself"));
                }
                match (source.is_dir(), recursive) {
                    (true, false) => Err(format!("{from} is a folder: add -r")),
                    (true, true) => copy(&source, &target).map_err(|e| told(from, &e)),
                    (false, _) => fs::copy(&source, &target).map(drop).map_err(|e| told(from, &e)),
                }?;
                Ok(String::new())
            }
            Self::Ls { path } => {
                let place = desk.place(path)?;
                if place.is_file() {
                    return Ok(format!("{path}\n"));
                }
                let entries = fs::read_dir(&place).map_err(|e| told(path, &e))?;
                let mut lines = Vec::new();
                for entry in entries {
                    let entry = entry.map_err(|e| told(path, &e))?;
                    let found = entry.metadata().map_err(|e| told(path, &e))?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    lines.push(match found.is_dir() {
                        true => format!("{:>12}  {name}/\n", ""),
                        false => format!("{:>12}  {name}\n", found.len()),
                    });
                }
                lines.sort_by(|a, b| a[14..].cmp(&b[14..]));
                Ok(lines.concat())
            }
            Self::Rm { recursive, paths } => {
                for path in paths {
                    let place = desk.place(path)?;
                    if place == desk.root() {
                        return Err("the desk itself stays".into());
                    }
                    let removed = match (place.is_dir(), recursive) {
                        (true, false) => return Err(format!("{path} is a folder: add -r")),
                        (true, true) => fs::remove_dir_all(&place),
                        (false, _) => fs::remove_file(&place),
                    };
                    removed.map_err(|e| told(path, &e))?;
                }
                Ok(String::new())
            }
            Self::Cat { path } => {
                let file = fs::File::open(desk.place(path)?).map_err(|e| told(path, &e))?;
                let mut bytes = Vec::new();
                file.take(SHOWN_BYTES).read_to_end(&mut bytes).map_err(|e| told(path, &e))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::Cmp { one, other } => {
                let read = |path: &String| fs::read(desk.place(path)?).map_err(|e| told(path, &e));
                let (first, second) = (read(one)?, read(other)?);
                match first.iter().zip(&second).position(|(a, b)| a != b) {
                    Some(at) => Err(format!("{one} {other} differ: byte {}", at + 1)),
                    None if first.len() != second.len() => {
                        let shorter = if first.len() < second.len() { one } else { other };
                        Err(format!("{shorter} ends first, and is equal up to there"))
                    }
                    None => Ok(String::new()),
                }
            }
        }
    }
}

/// Copies a folder; links in it are left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_copied_shown_compared_and_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let desk = Desk::new(fs::canonicalize(folder.path()).expect("it is there"));
        let run = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Builtin::read(&words[0], &words[1..])?.run(&desk)
        };
        fs::create_dir(desk.root().join("m1.etcd")).expect("made");
        fs::write(desk.root().join("m1.etcd/db"), "keys").expect("written");
        let check = |line: &str, expected: Result<&str, &str>| {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(run(line), expected, "{line}");
        };
        check("cp m1.etcd/db x.db", Ok(""));
        check("cat x.db", Ok("keys"));
        check("cmp x.db m1.etcd/db", Ok(""));
        check("cp m1.etcd m2.etcd", Err("m1.etcd is a folder: add -r"));
        check("cp -r m1.etcd m2.etcd", Ok(""));
        check("cp -r m1.etcd m1.etcd/in", Err("m1.etcd cannot be copied into itself"));
        check("ls", Ok("              m1.etcd/\n              m2.etcd/\n           4  x.db\n"));
        fs::write(desk.root().join("x.db"), "kexs").expect("written");
        check("cmp x.db m1.etcd/db", Err("x.db m1.etcd/db differ: byte 3"));
        check("rm m2.etcd", Err("m2.etcd is a folder: add -r"));
        check("rm -rf m2.etcd x.db", Ok(""));
        check("rm -r .", Err("the desk itself stays"));
        check("cat x.db", Err("x.db: No such file or directory"));
        check("cp /etc/passwd x", Err("/etc/passwd: only files on the desk can be used here"));
        check("ls -z", Err("ls knows no -z here"));
    }
}
