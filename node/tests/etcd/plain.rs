//! A text without what may differ between two clusters that did the same.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is sound")
}

/// What is chance, and what stands for it.
static CHANCE: LazyLock<[(Regex, &str); 10]> = LazyLock::new(|| {
    [
        // Who answered, who leads, and in which term.
        (regex(r#"("member_id"|"MemberID" ?|"leader"|"Leader" ?): ?[1-9]\d*"#), "$1:<member>"),
        (regex(r#"("raft_term"|"raftTerm"|"RaftTerm" ?|"Term" ?): ?\d+"#), "$1:<term>"),
        // Sizes and positions of the log, which has other entries besides.
        (regex(r#"("(?:dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)"): ?\d+"#), "$1:<count>"),
        (regex(r#"("DBSize"|"RaftIndex"|"RaftAppliedIndex") : \d+"#), "$1 : <count>"),
        (regex(r#""TTL" : \d+"#), r#""TTL" : <time>"#),
        // Whether the client or the member counted the time first.
        (
            regex(
                "rpc error: code = (?:Unknown|DeadlineExceeded) desc = context deadline exceeded",
            ),
            "context deadline exceeded",
        ),
        // How long something took, or takes yet.
        (regex(r"took = [0-9.]+(?:ms|µs|s)"), "took = <time>"),
        (regex(r#""took":"[0-9.]+(?:ms|µs|s)""#), r#""took":"<time>""#),
        (regex(r#"remaining\(\d+s\)|"ttl":\d+"#), "remaining(<time>)"),
        (regex(r"\b3\.\d+\.\d+\b"), "<version>"),
    ]
});

/// 15 or 16 hexadecimal digits, or more decimal ones than anything else has here.
static ID: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:[0-9a-f]{15,16}|-?\d{16,20})\b"));

/// What `member add` prints for the new member's start.
static INITIAL_CLUSTER: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"ETCD_INITIAL_CLUSTER="([^"]*)""#));

/// The keys of a lease, which etcd has in a map: their order is chance.
static LEASED: LazyLock<Regex> = LazyLock::new(|| regex(r"attached keys\(\[([^\]]*)\]\)"));

/// Names for what differs.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: Vec<(String, String)>,
    ids: BTreeMap<u64, String>,
}

impl Names {
    /// Whatever holds this text says the name instead.
    pub(crate) fn text(&mut self, text: &str, name: String) {
        self.texts.push((text.to_owned(), name));
    }

    /// Whatever holds this id, in either notation, says the name instead.
    pub(crate) fn id(&mut self, id: u64, name: String) {
        self.ids.insert(id, name);
    }

    /// The text with names; ids not heard before get a number.
    pub(crate) fn plain(&mut self, text: &str) -> String {
        // The client's own log names addresses and times.
        let mut text: String = text
            .lines()
            .filter(|line| !line.starts_with(r#"{"level""#))
            .flat_map(|line| [line, "\n"])
            .collect();
        for (chance, name) in &*CHANCE {
            text = chance.replace_all(&text, *name).into_owned();
        }
        for (known, name) in &self.texts {
            text = text.replace(known, name);
        }
        let ids = &mut self.ids;
        let text = ID.replace_all(&text, |found: &Captures<'_>| {
            let found = &found[0];
            let id = id_of(found).expect("it matched");
            let next = ids.len() + 1;
            ids.entry(id).or_insert_with(|| format!("<id {next}>")).clone()
        });
        // Some ids are printed as wide as the longest.
        let text = text.replace("  <", " <");
        let text = LEASED.replace_all(&text, |found: &Captures<'_>| {
            let mut keys: Vec<_> = found[1].split(' ').collect();
            keys.sort_unstable();
            format!("attached keys([{}])", keys.join(" "))
        });
        // Its order is that of ids, which are chance for members that were added.
        INITIAL_CLUSTER
            .replace(&text, |found: &Captures<'_>| {
                let mut members: Vec<_> = found[1].split(',').collect();
                members.sort_unstable();
                format!("ETCD_INITIAL_CLUSTER=\"{}\"", members.join(","))
            })
            .into_owned()
    }
}

/// The first id in a text, as it stands there.
pub(crate) fn first_id(text: &str) -> Option<&str> {
    ID.find(text).map(|found| found.as_str())
}

/// The id a word is.
fn id_of(word: &str) -> Option<u64> {
    let hexadecimal = || u64::from_str_radix(word, 16).ok();
    // Sixteen digits without a letter are rarely decimal; what is printed so is longer.
    if word.len() <= 16 && !word.starts_with('-') {
        return hexadecimal();
    }
    word.parse::<u64>().ok().or_else(|| word.parse::<i64>().ok().map(i64::cast_unsigned))
}

/// The text with one name for all members, and one alarm for as many as have raised it.
pub(crate) fn anybody(text: &str) -> String {
    static MEMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"<m\d>"));
    static ALARMS: LazyLock<Regex> = LazyLock::new(|| regex("(?:NOSPACE )+"));
    let text = MEMBER.replace_all(text, "<member>");
    ALARMS.replace_all(&text, "NOSPACE ").into_owned()
}

/// The columns of `endpoint status -w table` that two clusters have in common, sorted.
pub(crate) fn status(table: &str) -> String {
    let mut rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            // Without version and size, and without term and the log's indexes.
            [&cells[1..3], &cells[5..7], &cells[10..11]].concat().join(" | ")
        })
        .collect();
    rows.sort();
    // Who leads is chance; that one does is not.
    let leaders = rows.iter().filter(|row| row.contains("true | false")).count();
    rows.iter_mut().for_each(|row| *row = row.replace("true | false", "false | false"));
    rows.push(format!("{leaders} leads"));
    rows.join("\n")
}
