//! A line, read: which program, which words, which files. Pure, but for looking at links.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lab_protocol::MemberNo;

use super::{Builtin, Desk};

/// Names that stand for something in a line: `$M1` for the first member's address.
#[derive(Clone, Debug, Default)]
pub struct Names(pub BTreeMap<String, String>);

/// A program that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Ours, with the commands of the other two.
    RaftCtl,
    /// etcd's.
    Etcdctl,
    /// etcd's, for files; from 3.5 on.
    Etcdutl,
}

impl Tool {
    /// The name of the program.
    pub fn program(self) -> &'static str {
        match self {
            Self::RaftCtl => "raft-ctl",
            Self::Etcdctl => "etcdctl",
            Self::Etcdutl => "etcdutl",
        }
    }
}

/// A member to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Whose seat it takes, by its `--name`.
    pub member: MemberNo,
    /// Its directory on the desk.
    pub data_dir: PathBuf,
    /// Its flags as typed, but for `--name` and `--data-dir`; each begins with `--`, a value stands
    /// behind `=`.
    pub flags: Vec<String>,
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Run a program and show what it says.
    Tool {
        /// Which.
        tool: Tool,
        /// Its words.
        words: Vec<String>,
        /// Variables typed before it.
        variables: BTreeMap<String, String>,
    },
    /// Do something to files.
    Builtin(Builtin),
    /// Start a member.
    Node(NodeLine),
}

/// Commands that run further programs, ask a person, or never end.
const REFUSED: [(&str, &str); 6] = [
    ("lock", "it runs a program; use leases and transactions"),
    ("elect", "it waits for ever"),
    ("watch", "it waits for ever; the page shows what is written"),
    ("make-mirror", "it runs for ever"),
    ("backup", "it runs for ever; the lab takes backups itself"),
    ("completion", "it is for shells"),
];

/// Flags of the tools whose value is a path.
const PATHS: [&str; 6] = ["--data-dir", "--wal-dir", "--dir", "--cacert", "--cert", "--key"];

/// Flags of a member that the lab itself gives, and what they would undo.
const SEATED: [&str; 7] = [
    "--listen-telemetry-urls",
    "--peer-proxy",
    "--exit-on-stdin-eof",
    "--lab-control",
    "--config-file",
    "--logger",
    "--log-outputs",
];

/// Longest line that is read, in bytes.
const LONGEST: usize = 4096;

/// Reads a line; none if there is nothing in it.
///
/// # Errors
/// For a person: what cannot be done here, and what can.
pub fn read(line: &str, names: &Names, desk: &Desk) -> Result<Option<Typed>, String> {
    if line.len() > LONGEST {
        return Err(format!("a line has at most {LONGEST} bytes"));
    }
    // As lines stand in a guide: a prompt before, a backslash at a break, `&` behind a server.
    let line = line.replace("\\\n", " ");
    let line = line.trim();
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let mut words = shlex::split(line).ok_or("a quote or a backslash has no end")?;
    if words.last().is_some_and(|word| word == "&") {
        words.pop();
    }
    let shell = |word: &str| ["|", "||", "&&", ";", ">", ">>", "<", "&"].contains(&word);
    if let Some(word) = words.iter().find(|word| shell(word)) {
        return Err(format!("`{word}` is a shell's; here each line is one command"));
    }
    let mut words = words.iter().map(|word| names.put_in(word)).collect::<Result<Vec<_>, _>>()?;
    let mut variables = BTreeMap::new();
    while let Some((name, value)) = words.first().and_then(|word| variable(word)) {
        variables.insert(name, value);
        words.remove(0);
    }
    let Some((program, words)) = words.split_first() else {
        return Ok(None);
    };
    let tool = match program.as_str() {
        "raft-ctl" => Tool::RaftCtl,
        "etcdctl" => Tool::Etcdctl,
        "etcdutl" => Tool::Etcdutl,
        "raft-node" | "etcd" => return Ok(Some(Typed::Node(node(words, desk)?))),
        "cp" | "ls" | "rm" | "cat" | "cmp" => {
            return Ok(Some(Typed::Builtin(Builtin::read(program, words)?)));
        }
        other => {
            return Err(format!(
                "there is no `{other}` here: raft-ctl, etcdctl, etcdutl, raft-node, and cp ls rm cat cmp"
            ));
        }
    };
    let words = tool_words(words, desk)?;
    Ok(Some(Typed::Tool { tool, words, variables }))
}

impl Names {
    /// A word with every `$NAME` and `${NAME}` put in.
    ///
    /// # Errors
    /// For a person: there is no such name.
    pub fn put_in(&self, word: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = word;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let braced = rest.strip_prefix('{');
            let text = braced.unwrap_or(rest);
            let letter = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let name = &text[..text.find(letter).unwrap_or(text.len())];
            let value = self.0.get(name).ok_or_else(|| {
                let known: Vec<_> = self.0.keys().map(|name| format!("${name}")).collect();
                format!("there is no `${name}`; there are {}", known.join(" "))
            })?;
            out.push_str(value);
            rest = &text[name.len()..];
            if braced.is_some() {
                rest = rest.strip_prefix('}').ok_or_else(|| format!("`${{{name}` has no end"))?;
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// `ETCDCTL_API=3`: a variable of etcd's programs.
fn variable(word: &str) -> Option<(String, String)> {
    let (name, value) = word.split_once('=')?;
    let is_etcds = name.starts_with("ETCDCTL_") || name.starts_with("ETCD_");
    is_etcds.then(|| (name.to_owned(), value.to_owned()))
}

/// The words of a tool, its paths confined.
fn tool_words(words: &[String], desk: &Desk) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut plain = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word.as_str(), None),
        };
        if PATHS.contains(&flag) {
            let value = value.or_else(|| rest.next().map(String::as_str));
            let value = value.ok_or_else(|| format!("{flag} needs a path"))?;
            desk.place(value)?;
            out.push(format!("{flag}={value}"));
            continue;
        }
        if !word.starts_with('-') {
            plain.push(word.as_str());
        }
        out.push(word.clone());
    }
    for (command, why) in REFUSED {
        // Wherever it stands: a flag's value before it looks like a word.
        if plain.first() == Some(&command) || plain.get(1) == Some(&command) {
            return Err(format!("`{command}` is not run here: {why}"));
        }
    }
    if let Some(at) = plain.iter().position(|word| *word == "snapshot") {
        for path in plain.iter().skip(at + 2) {
            desk.place(path)?;
        }
    }
    Ok(out)
}

/// A member's line.
fn node(words: &[String], desk: &Desk) -> Result<NodeLine, String> {
    let mut given = Vec::new();
    let (mut name, mut data_dir) = (None, None);
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let text = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let text = text.ok_or_else(|| format!("`{word}` is no flag of raft-node"))?;
        let (flag, value) = match text.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            // A switch is followed by another flag, or by nothing.
            None => (text, rest.next_if(|next| !next.starts_with('-')).cloned()),
        };
        let flag = format!("--{flag}");
        if SEATED.contains(&flag.as_str()) {
            return Err(format!("{flag} is the lab's own; leave it out"));
        }
        match (flag.as_str(), value) {
            ("--name", value) => name = value,
            ("--data-dir", value) => data_dir = value,
            ("--wal-dir", _) => return Err("--wal-dir is not served by raft-node".into()),
            (_, Some(value)) => given.push(format!("{flag}={value}")),
            (_, None) => given.push(flag),
        }
    }
    let name = name.ok_or("say which member it is: --name m1")?;
    let number = name.strip_prefix('m').and_then(|number| number.parse::<u8>().ok());
    let member = number
        .filter(|number| (1..=9).contains(number))
        .map(MemberNo)
        .ok_or_else(|| format!("members are called m1 to m9 here, not {name}"))?;
    let data_dir = data_dir.unwrap_or_else(|| format!("{name}.etcd"));
    Ok(NodeLine { member, data_dir: desk.place(&data_dir)?, flags: given })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk() -> Desk {
        Desk::new(PathBuf::from("/nowhere/desk"))
    }

    fn names() -> Names {
        let names = [("M1", "127.0.0.1:2379"), ("ENDPOINT", "127.0.0.1:2379")];
        Names(names.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    fn typed(line: &str) -> Typed {
        read(line, &names(), &desk()).expect(line).expect("there is something in it")
    }

    fn words(line: &str) -> String {
        match typed(line) {
            Typed::Tool { words, .. } => words.join(" "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_lines_of_the_guide_are_read_as_they_stand() {
        let Typed::Tool { tool, words, variables } =
            typed("$ ETCDCTL_API=3 etcdctl --endpoints $ENDPOINT snapshot save snapshot.db")
        else {
            panic!("a tool")
        };
        assert_eq!(tool, Tool::Etcdctl);
        assert_eq!(words.join(" "), "--endpoints 127.0.0.1:2379 snapshot save snapshot.db");
        assert_eq!(variables.get("ETCDCTL_API").map(String::as_str), Some("3"));

        let restore = "ETCDCTL_API=3 etcdctl snapshot restore snapshot.db \\\n  --name m1 \\\n  \
                       --initial-cluster-token etcd-cluster-1";
        let Typed::Tool { words, .. } = typed(restore) else { panic!("a tool") };
        assert_eq!(words[..3].join(" "), "snapshot restore snapshot.db");

        let start = "etcd \\\n  --name m1 \\\n  --listen-client-urls http://$M1 \\\n  \
                     --listen-peer-urls http://127.0.0.1:2380 &";
        let Typed::Node(node) = typed(start) else { panic!("a member") };
        assert_eq!(node.member, MemberNo(1));
        assert_eq!(node.data_dir, PathBuf::from("/nowhere/desk/m1.etcd"));
        assert_eq!(node.flags[0], "--listen-client-urls=http://127.0.0.1:2379");

        let forced = typed("raft-node --force-new-cluster --name=m2 --data-dir old.etcd");
        let Typed::Node(node) = forced else { panic!("a member") };
        assert_eq!(
            (node.member, node.flags.join(" ")),
            (MemberNo(2), "--force-new-cluster".into())
        );
    }

    #[test]
    fn keys_may_look_like_paths_and_quotes_hold_words_together() {
        assert_eq!(words("raft-ctl put /registry/x 'a b'"), "put /registry/x a b");
        assert_eq!(words("raft-ctl get ${M1}x"), "get 127.0.0.1:2379x");
        assert!(read("", &names(), &desk()).expect("nothing").is_none());
    }

    #[test]
    fn what_cannot_be_done_here_is_said() {
        for (line, expected) in [
            ("bash -c ls", "there is no `bash` here"),
            ("raft-ctl get a | cat", "`|` is a shell's"),
            ("raft-ctl put 'a", "a quote or a backslash has no end"),
            ("raft-ctl lock l sh", "`lock` is not run here"),
            ("raft-ctl --hex watch a", "`watch` is not run here"),
            ("raft-ctl --endpoints $M7 get a", "there is no `$M7`; there are $ENDPOINT $M1"),
            ("raft-ctl snapshot save /tmp/x", "only files on the desk"),
            ("etcdutl snapshot restore x.db --data-dir ../y", "only files on the desk"),
            ("etcdutl snapshot restore x.db --data-dir=/y", "only files on the desk"),
            ("raft-node --data-dir x", "say which member it is"),
            ("raft-node --name other", "members are called m1 to m9 here"),
            ("raft-node --name m1 --peer-proxy socks5://x:1", "--peer-proxy is the lab's own"),
            ("raft-node --name m1 --data-dir /x", "only files on the desk"),
        ] {
            let error = read(line, &names(), &desk()).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
