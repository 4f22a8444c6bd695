//! What a member's processes print: the newest MiB in memory, the last 32 MiB in files.
//!
//! Lines are made harmless before they are kept: no control sequences, no control or text
//! direction characters, at most 16 KiB each. A terminal or a page may show them as they are.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::clock::machine_micros;

/// Bytes of lines kept in memory for each member.
const RING_BYTES: usize = 1024 * 1024;

/// Longer lines are cut here.
pub(super) const LINE_BYTES: usize = 16 * 1024;

/// A file of output is put aside when it has this size.
const FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Files kept: the current one and those put aside before.
const FILES: u32 = 4;

/// Lines that wait for whoever listens. When full, further ones are left out and counted.
const LISTENED: usize = 4096;

/// A line as it was printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// When it was read, by the machine's monotonic clock, in microseconds.
    pub at_micros: u64,
    /// The line.
    pub text: String,
    /// Lines before it that were left out, because nobody took them in time.
    pub lost_before: u64,
}

/// The lines of one member, as they are printed.
pub type Lines = mpsc::Receiver<Printed>;

/// One member's output, over all its processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    file: Sink,
    listener: Option<Listener>,
}

#[derive(Debug)]
struct Listener {
    lines: mpsc::Sender<Printed>,
    lost: u64,
}

/// Where lines go besides memory.
#[derive(Debug)]
enum Sink {
    Nowhere,
    /// A file that is opened when the first line comes.
    Later(PathBuf),
    File(RotatingFile),
}

#[derive(Debug)]
struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Output {
    /// An output that is also written to the file at `path`, rotated as `path.1` … `path.3`.
    /// Without a path, or when the file cannot be written, memory alone keeps it.
    pub fn new(path: Option<PathBuf>) -> Self {
        let file = path.map_or(Sink::Nowhere, Sink::Later);
        let kept = Kept { lines: VecDeque::new(), bytes: 0, file, listener: None };
        Self { kept: Arc::new(Mutex::new(kept)) }
    }

    /// Every line from now on; whoever listened before hears no more.
    pub fn listen(&self) -> Lines {
        let (lines, listened) = mpsc::channel(LISTENED);
        self.kept.lock().listener = Some(Listener { lines, lost: 0 });
        listened
    }

    /// Keeps one line.
    pub(super) fn line(&self, raw: &[u8]) {
        let line = harmless(raw);
        let mut kept = self.kept.lock();
        if let Some(Listener { lines, lost }) = &mut kept.listener {
            let printed =
                Printed { at_micros: machine_micros(), text: line.clone(), lost_before: *lost };
            match lines.try_send(printed) {
                Ok(()) => *lost = 0,
                Err(_) => *lost += 1,
            }
        }
        if let Sink::Later(path) = &kept.file {
            kept.file = match RotatingFile::open(path.clone()) {
                Ok(file) => Sink::File(file),
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "output is not written to a file");
                    Sink::Nowhere
                }
            };
        }
        if let Sink::File(file) = &mut kept.file
            && let Err(error) = file.line(&line)
        {
            tracing::warn!(%error, "output is no longer written to its file");
            kept.file = Sink::Nowhere;
        }
        kept.bytes += line.len() + 1;
        kept.lines.push_back(line);
        while kept.bytes > RING_BYTES {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.len() + 1;
        }
    }

    /// Everything in memory, one line after the other.
    pub fn text(&self) -> String {
        let kept = self.kept.lock();
        let mut text = String::with_capacity(kept.bytes);
        for line in &kept.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// The last `count` lines.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let kept = self.kept.lock();
        kept.lines.iter().skip(kept.lines.len().saturating_sub(count)).cloned().collect()
    }
}

impl RotatingFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes })
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.bytes >= FILE_BYTES {
            self.rotate()?;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.file.write_all(&bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..FILES - 1).rev() {
            // The first rotations find nothing to move.
            fs::rename(aside(number), aside(number + 1)).ok();
        }
        fs::rename(&self.path, aside(1))?;
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

/// One line without anything that could act on a terminal or change the direction of text.
fn harmless(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(&raw[..raw.len().min(LINE_BYTES)]);
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => clean.push(char),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            char if char.is_control() => {}
            char => clean.push(char),
        }
    }
    clean
}

/// Skips the rest of an escape sequence: CSI up to its final letter, OSC up to its end, else one
/// character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for char in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&char) {
                    break;
                }
            }
        }
        Some(']') => {
            while let Some(char) = chars.next() {
                if char == '\u{7}' {
                    break;
                }
                if char == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_made_harmless() {
        for (raw, expected) in [
            (&b"plain text"[..], "plain text"),
            (b"\x1b[31mred\x1b[0m", "red"),
            (b"\x1b]0;title\x07after", "after"),
            (b"\x1b]8;;http://x\x1b\\link", "link"),
            (b"bell\x07 back\x08 null\0", "bell back null"),
            (b"tab\tstays", "tab\tstays"),
            ("left\u{202e}right".as_bytes(), "leftright"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"\x1b", ""),
            (b"\x1b[", ""),
        ] {
            assert_eq!(harmless(raw), expected, "{raw:?}");
        }
        assert_eq!(harmless(&vec![b'x'; 100_000]).len(), LINE_BYTES);
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let output = Output::new(None);
        for number in 0..200_000 {
            output.line(format!("line {number}").as_bytes());
        }
        assert!(output.text().len() <= RING_BYTES);
        assert_eq!(output.last_lines(2), ["line 199998", "line 199999"]);
    }

    #[test]
    fn files_are_rotated_and_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let output = Output::new(Some(dir.path().join("output.log")));
        let line = vec![b'x'; LINE_BYTES];
        for _ in 0..(6 * FILE_BYTES as usize / LINE_BYTES) {
            output.line(&line);
        }
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .expect("lists")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        assert_eq!(names, ["output.log", "output.log.1", "output.log.2", "output.log.3"]);
    }
}
