//! `raft-ctl` and the stock `etcdctl`, each on a fresh etcd: the same output, errors and codes.
//!
//! `node-oracle` says where `etcd` and `etcdctl` are taken from. The reference is 3.5; lines that 3.4 answers otherwise are left out where it is 3.4 that is installed.
//!
//! What may differ is taken out of the text before it is compared: ids of leases and of members
//! added, times, and what a row says. Left out are the log lines of Go's client.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use node_oracle::Programs;

/// How long an etcd may take to answer its first write.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of what a line says must be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// All of it.
    All,
    /// All but numbers, and the widths they give a table.
    Words,
    /// All of it, in any order: members are listed by ids that are made of the time.
    Shuffled,
    /// The exit code: the rest is a help text, or names the program.
    Code,
    /// All of it, and 3.4 does otherwise.
    Since35,
}
use Same::{All, Code, Shuffled, Since35, Words};

/// A command line, what it reads, and what must be the same.
type Row = (&'static str, &'static str, Same);

/// `LEASE` is the last lease granted, `DIR` a folder, `GONE` an address where nobody listens.
const ROWS: &[Row] = &[
    // Keys.
    ("put a 1", "", All),
    ("put a 2 --prev-kv", "", All),
    ("put a 3 --prev-kv -w json", "", All),
    ("put a 4 --prev-kv -w fields", "", All),
    ("put b", "from stdin\n", All),
    ("put -- -dash -value", "", All),
    ("put 'two words' 'x <&> y'", "", All),
    ("put a", "", All),
    ("put", "", All),
    ("put a 1 -w table", "", All),
    ("put a 1 -w xml", "", All),
    ("put a --ignore-value --prev-kv", "", All),
    ("put a x --ignore-value", "", All),
    ("put nobody --ignore-value", "", All),
    ("put a 5 --ignore-lease", "", All),
    ("put a 1 --lease zz", "", All),
    ("put a 1 --lease 99", "", All),
    ("put '' x", "", All),
    ("get a", "", All),
    ("get a -w json", "", All),
    ("get a -w fields", "", All),
    ("get a -w table", "", All),
    ("get a --hex", "", All),
    ("get a --hex -w json", "", All),
    ("get 'two words' -w fields", "", All),
    ("get a --print-value-only", "", All),
    ("get a --print-value-only -w json", "", All),
    ("get --prefix ''", "", All),
    ("get --prefix '' --limit=2 -w json", "", All),
    ("get --prefix '' --sort-by=modify --order=descend", "", All),
    ("get --prefix '' --sort-by=value --order=ascend --keys-only", "", All),
    ("get --prefix '' --keys-only -w json", "", All),
    ("get a --count-only -w fields --prefix", "", Since35),
    ("get a --count-only", "", Since35),
    ("get a c", "", All),
    ("get --from-key b", "", All),
    ("get --from-key ''", "", All),
    ("get a --rev=3 -w json", "", All),
    ("get a --rev=999", "", All),
    ("get a --consistency=s", "", All),
    ("get a --consistency=x", "", All),
    ("get a --order=x", "", All),
    ("get a --sort-by=x", "", All),
    ("get", "", All),
    ("get ''", "", All),
    ("get a b --prefix", "", All),
    ("get a --prefix --from-key", "", All),
    ("get nobody", "", All),
    ("get nobody -w json", "", All),
    ("get nobody -w fields", "", All),
    ("get a --bogus", "", Code),
    ("get a --limit=x", "", Code),
    ("get a --command-timeout=x", "", Code),
    ("get a --prefix=false --hex=true", "", All),
    ("bogus", "", Code),
    // Transactions.
    ("txn", "value(\"a\") = \"5\"\n\nput c 1\nget a\ndel b\n\nget nobody\n\n", All),
    ("txn -i", "value(\"a\") = \"6\"\n\nput c 1\n\nget a\nget c\n\n", All),
    ("txn -w json", "\nput c 2 --prev-kv\nget c\ndel nobody\nget c --keys-only\n\n\n", Since35),
    ("txn -w json", "mod(\"a\") < \"1\"\n\n\nget a --prefix --limit=1\n\n", Since35),
    ("txn -w fields", "\nput c 3\nget c --prefix\ndel -- -dash --prev-kv\n\n\n", Since35),
    ("txn -w table", "\nput c 2\n\n\n", All),
    ("txn", "ver(\"a\") > \"0\"\ncreate(\"a\") > \"0\"\nmod(\"a\") != \"0\"\n\n\n\n", All),
    ("txn", "\nput \"a\\n\" '2 3'\nget \"a\\n\"\n\n\n", Since35),
    ("txn", "value(\"a\") = \"1\"\n", All),
    ("txn", "value(a) = \"1\"\n\n\n\n", All),
    ("txn", "value(\"a\") = 1\n\n\n\n", All),
    ("txn", "value \"a\" = 1\n\n\n\n", All),
    ("txn", "foo(\"a\") = \"1\"\n\n\n\n", All),
    ("txn", "mod(\"a\") = \"x\"\n\n\n\n", All),
    ("txn", "mod(\"a\")!=\"0\"\n\n\n\n", All),
    ("txn", "\nput\n\n\n", All),
    ("txn", "\nfoo a b\n\n\n", All),
    ("txn", "\nget --prefix a b\n\n\n", All),
    ("txn", "\nput a 2\nput a 3\n\n\n", All),
    ("txn", "\nput a 2\nput b 3 --lease 12\n\n\n", All),
    ("txn x", "", All),
    // Deletes and compaction.
    ("del nobody", "", All),
    ("del c --prev-kv", "", All),
    ("put c 1", "", All),
    ("del c -w json --prev-kv", "", All),
    ("del c -w fields", "", All),
    ("put d/1 1", "", All),
    ("put d/2 2", "", All),
    ("del d/1 d/2", "", Since35),
    ("del d/1 d/9 --range", "", Since35),
    ("del --prefix d/ -w fields --prev-kv", "", All),
    ("del", "", All),
    ("del a b c", "", All),
    ("del a b --prefix", "", All),
    ("del a --prefix --from-key", "", All),
    ("del ''", "", All),
    ("compaction 4", "", All),
    ("compaction 4", "", All),
    ("compaction 9999", "", All),
    ("compaction 5 --physical", "", All),
    ("compaction x", "", All),
    ("compaction", "", All),
    ("get a --rev=2", "", All),
    ("watch a --rev=2", "", All),
    ("watch a --rev=2 -w json", "", All),
    ("watch a --rev=2 -w fields", "", All),
    ("watch", "", All),
    ("watch a --", "", All),
    ("watch a b --prefix", "", All),
    ("watch -i", "", Since35),
    ("watch -i", "bogus\nwatch\n\n", Since35),
    ("watch a --rev=6 -- sh -c 'exit 3'", "", All),
    // Leases.
    ("lease grant 100", "", All),
    ("put leased v --lease LEASE", "", All),
    ("get leased -w json", "", All),
    ("lease timetolive LEASE", "", All),
    ("lease timetolive LEASE --keys", "", All),
    ("lease timetolive LEASE --keys -w json", "", All),
    ("lease timetolive LEASE -w json", "", All),
    ("lease timetolive LEASE --keys -w fields", "", All),
    ("lease timetolive 77", "", All),
    ("lease timetolive 77 -w json", "", All),
    ("lease timetolive zz", "", All),
    ("lease timetolive", "", All),
    ("lease list", "", All),
    ("lease list -w json", "", All),
    ("lease list -w fields", "", All),
    ("lease keep-alive --once LEASE", "", All),
    ("lease keep-alive --once LEASE -w json", "", All),
    ("lease keep-alive --once LEASE -w fields", "", All),
    ("lease keep-alive --once 77", "", All),
    ("lease keep-alive 77", "", All),
    ("lease revoke LEASE", "", All),
    ("get leased", "", All),
    ("lease revoke LEASE", "", All),
    ("lease revoke", "", All),
    ("lease grant 200 -w json", "", All),
    ("lease grant 200 -w fields", "", All),
    ("lease grant 200 -w table", "", All),
    ("lease grant 0", "", All),
    ("lease grant x", "", All),
    ("lease grant", "", All),
    ("lease grant 9000000001", "", All),
    // The cluster.
    ("member list", "", All),
    ("member list -w json", "", All),
    ("member list -w json --hex", "", Since35),
    ("member list -w fields", "", All),
    ("member list -w table", "", All),
    ("member add", "", All),
    ("member add x", "", All),
    ("member add x http://127.0.0.1:9", "", All),
    ("member add x --peer-urls=zz", "", All),
    ("member remove", "", All),
    ("member remove zz", "", All),
    ("member remove 77", "", All),
    ("member promote 77", "", All),
    ("member update 77", "", All),
    ("member update 77 --peer-urls=http://127.0.0.1:9", "", All),
    ("endpoint health", "", Since35),
    ("endpoint health -w json", "", All),
    ("endpoint health -w fields", "", Words),
    ("endpoint health -w table", "", Words),
    ("endpoint health --cluster", "", Since35),
    ("endpoint status", "", Words),
    ("endpoint status -w json", "", Words),
    ("endpoint status -w fields", "", Words),
    ("endpoint status -w table", "", Words),
    ("endpoint hashkv", "", Words),
    ("endpoint hashkv -w json", "", Words),
    ("endpoint hashkv -w fields", "", Words),
    ("endpoint hashkv -w table", "", Words),
    ("alarm list", "", All),
    ("alarm list -w json", "", All),
    ("alarm disarm", "", All),
    ("defrag", "", All),
    ("defrag --cluster", "", All),
    ("make-mirror", "", All),
    ("make-mirror x y", "", All),
    ("make-mirror --dest-prefix=p --no-dest-prefix GONE", "", All),
    ("make-mirror --bogus GONE", "", Code),
    ("move-leader 1234", "", All),
    ("move-leader zz", "", All),
    ("move-leader", "", All),
    ("snapshot save DIR/snapshot", "", All),
    ("snapshot save DIR/nowhere/snapshot", "", All),
    ("snapshot save", "", All),
    ("snapshot status DIR/snapshot -w json", "", Words),
    ("snapshot status DIR/snapshot -w fields", "", Words),
    ("snapshot status DIR/nowhere", "", All),
    ("snapshot status", "", All),
    ("snapshot status a b", "", All),
    ("snapshot restore", "", All),
    ("snapshot restore a b", "", All),
    ("snapshot restore DIR/nowhere --data-dir DIR/r0", "", All),
    ("snapshot restore DIR/snapshot --data-dir DIR/r1", "", Code),
    ("snapshot restore DIR/snapshot --data-dir DIR/r1", "", Since35),
    ("snapshot restore DIR/snapshot --data-dir DIR/r2 --wal-dir DIR/r1", "", Since35),
    ("snapshot restore DIR/snapshot --data-dir DIR/r2 --name m9", "", All),
    (
        "snapshot restore DIR/snapshot --data-dir DIR/r2 --initial-cluster default=http://a:1",
        "",
        Code,
    ),
    ("snapshot restore DIR/snapshot --data-dir DIR/r2 --initial-cluster x", "", Code),
    (
        "snapshot restore DIR/snapshot --data-dir DIR/r2 --initial-cluster m1=http://a:1,m1=http://a:1 --name m1",
        "",
        Code,
    ),
    (
        "snapshot restore DIR/snapshot --data-dir DIR/r2 --initial-advertise-peer-urls http://b:2",
        "",
        Code,
    ),
    ("snapshot restore DIR/snapshot --data-dir DIR/r2 --initial-advertise-peer-urls b", "", All),
    ("lock", "", All),
    ("lock l -- echo hi", "", All),
    ("lock l -- sh -c 'exit 3'", "", Since35),
    ("lock l -- no-such-program", "", All),
    ("elect", "", All),
    ("elect x", "", All),
    ("elect x y -l", "", All),
    // Nobody there.
    ("get a --endpoints=GONE --command-timeout=1s", "", All),
    ("put a 1 --endpoints=GONE --command-timeout=1s", "", All),
    ("lease grant 5 --endpoints=GONE --command-timeout=1s", "", All),
    ("member list --endpoints=GONE --command-timeout=1s", "", All),
    ("endpoint health --endpoints=GONE --command-timeout=1s", "", All),
    ("endpoint status --endpoints=GONE --command-timeout=1s", "", All),
    ("endpoint hashkv --endpoints=GONE --command-timeout=1s", "", All),
    ("defrag --endpoints=GONE --command-timeout=1s", "", All),
    ("get a --endpoints=GONE,HERE", "", All),
    ("snapshot save DIR/x --endpoints=GONE,HERE", "", All),
    // Users and roles.
    ("user add alice:secret", "", All),
    ("user add alice:secret", "", All),
    ("user add bob --new-user-password=secret -w json", "", All),
    ("user add carol --interactive=false", "secret\n", All),
    ("user add :x", "", All),
    ("user add", "", All),
    ("user list", "", All),
    ("user list -w json", "", All),
    ("user list -w fields", "", All),
    ("user passwd carol --interactive=false", "again\n", All),
    ("role add readers", "", All),
    ("role add readers", "", All),
    ("role grant-permission readers read k", "", All),
    ("role grant-permission readers readwrite d/ --prefix", "", All),
    ("role grant-permission readers write x y", "", All),
    ("role grant-permission readers read z --from-key", "", All),
    ("role grant-permission readers bogus z", "", All),
    ("role grant-permission readers read", "", All),
    ("role get readers", "", All),
    ("role get readers -w json", "", All),
    ("role get readers -w fields", "", All),
    ("role get nobody", "", All),
    ("role list", "", All),
    ("role list -w json", "", All),
    ("role list -w fields", "", All),
    ("role revoke-permission readers k", "", All),
    ("role revoke-permission readers d/ --prefix", "", All),
    ("role revoke-permission readers z --from-key", "", All),
    ("role revoke-permission readers k", "", All),
    ("user grant-role alice readers", "", All),
    ("user grant-role alice nobody", "", All),
    ("user get alice", "", All),
    ("user get alice --detail", "", All),
    ("user get alice -w json", "", All),
    ("user get alice -w fields", "", All),
    ("user revoke-role alice readers", "", All),
    ("user delete bob", "", All),
    ("user delete nobody", "", All),
    ("role delete readers", "", All),
    ("auth status", "", Since35),
    ("auth status -w json", "", Since35),
    ("auth status -w fields", "", Since35),
    ("auth enable", "", All),
    ("user add root:pw", "", All),
    ("auth enable", "", All),
    ("get a", "", All),
    ("get a --user=root:pw", "", All),
    ("get a --user=root --password=pw", "", All),
    ("get a --user=alice:secret", "", All),
    ("get a --user=root:bad", "", All),
    ("get a --user=nobody:pw", "", All),
    ("endpoint health --user=root:bad", "", Since35),
    ("endpoint status --user=root:bad", "", All),
    ("lock l --user=root:pw -- echo locked", "", All),
    ("auth disable --user=root:pw", "", All),
    ("get a --user=root:pw", "", All),
    // Last, because a member that never starts takes the quorum.
    ("member add l --learner --peer-urls=http://127.0.0.1:7", "", Shuffled),
    ("member list", "", Shuffled),
    ("member list -w json", "", Shuffled),
];

/// Lines that go on until they are ended: how many lines of output are awaited.
const ENDLESS: &[(&str, &str, usize)] = &[
    ("watch --prefix '' --rev=6", "", 24),
    ("watch a --rev=6 --prev-kv -w json", "", 1),
    ("watch --prefix '' --rev=6 --prev-kv -w fields", "", 30),
    ("watch a --rev=6 -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY'", "", 4),
    ("watch -i", "watch a --rev=6\n", 3),
    ("elect chief me", "", 2),
    ("lease keep-alive LEASE", "", 1),
];

/// One etcd; it ends with it.
struct Server {
    process: Child,
    client: String,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What a command said.
struct Heard {
    what: String,
    said: String,
}

/// A program and the server it asks.
struct Run<'a> {
    program: &'a Path,
    server: &'a Server,
    gone: String,
    /// The last lease granted.
    lease: String,
    /// Ids that are the same on both servers.
    known: Vec<String>,
}

impl Run<'_> {
    fn command(&self, line: &str) -> Command {
        let dir = self.server.folder.path().display().to_string();
        let line = line
            .replace("LEASE", &self.lease)
            .replace("GONE", &self.gone)
            .replace("HERE", &self.server.client)
            .replace("DIR", &dir);
        let mut command = Command::new(self.program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCDCTL_")) {
            command.env_remove(name);
        }
        if !line.contains("--endpoints") {
            command.args(["--endpoints", &self.server.client]);
        }
        command.env("ETCDCTL_API", "3").args(words(&line));
        command
    }

    /// Output, errors and exit code of a line.
    fn hear(&mut self, line: &str, input: &str) -> (String, String, Option<i32>) {
        let mut process = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = process.stdin.take().expect("piped");
        // Not everybody reads.
        stdin.write_all(input.as_bytes()).ok();
        drop(stdin);
        let output = process.wait_with_output().expect("the program ends");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if let Some(granted) =
            out.strip_prefix("lease ").and_then(|rest| rest.split_once(" granted"))
        {
            self.lease = granted.0.to_owned();
        }
        let err = err.lines().filter(|line| !line.starts_with("{\"level\""));
        let err = err.map(|line| format!("{line}\n")).collect();
        (out, err, output.status.code())
    }

    /// The first lines of a command that does not end.
    fn endless(&self, line: &str, input: &str, lines: usize) -> String {
        let mut process = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // Held, so that the input does not end.
        let mut stdin = process.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        let output = process.stdout.take().expect("piped");
        // One line waits to be taken; the reader ends with the program.
        let (heard, hear) = sync_channel(1);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if heard.send(line).is_err() {
                    break;
                }
            }
        });
        let since = Instant::now();
        let mut said = String::new();
        for _ in 0..lines {
            match hear.recv_timeout(PATIENCE.saturating_sub(since.elapsed())) {
                Ok(line) => said += &format!("{}\n", String::from_utf8_lossy(&line)),
                Err(_) => {
                    said += "(and no more)\n";
                    break;
                }
            }
        }
        drop(hear);
        process.kill().expect("it runs until it is ended");
        process.wait().expect("it has ended");
        reader.join().expect("it has read");
        said
    }

    /// A text without what may differ.
    fn plain(&self, text: &str, same: Same) -> String {
        let text = text
            .replace(&self.server.folder.path().display().to_string(), "<dir>")
            .replace(&self.gone, "<gone>");
        let mut plain = String::new();
        let mut word = String::new();
        for letter in text.chars().chain(['\0']) {
            if letter.is_alphanumeric() || letter == '.' {
                word.push(letter);
                continue;
            }
            plain.push_str(&self.plain_word(&word, &plain));
            word.clear();
            plain.push(boxes(letter));
        }
        plain.pop();
        if same == Words {
            plain = plain
                .lines()
                .map(|line| {
                    let line = line.replace(|letter: char| letter.is_ascii_digit(), "#");
                    let mut line = line.replace('-', "");
                    for twice in ["##", "  "] {
                        while line.contains(twice) {
                            line = line.replace(twice, &twice[..1]);
                        }
                    }
                    line + "\n"
                })
                .collect();
        }
        if same == Shuffled {
            let mut words: Vec<_> =
                plain.split([',', '\n', '"', '{', '}', '[', ']', ' ']).collect();
            words.retain(|word| !word.is_empty());
            words.sort_unstable();
            plain = words.join(" ") + "\n";
        }
        plain
    }

    fn plain_word(&self, word: &str, before: &str) -> String {
        let number =
            |word: &str| !word.is_empty() && word.chars().all(|letter| letter.is_ascii_digit());
        let hex = word.chars().all(|letter| letter.is_ascii_hexdigit());
        if self.known.iter().any(|known| known == word) {
            return word.to_owned();
        }
        if (hex && word.len() >= 12) || (number(word) && word.len() >= 16) {
            return "<id>".to_owned();
        }
        let duration = ["ms", "µs", "s"].iter().any(|unit| {
            word.strip_suffix(unit)
                .is_some_and(|number| number.contains('.') && number.parse::<f64>().is_ok())
        });
        // What is left of a lease.
        let left = (before.ends_with("remaining(") && word.ends_with('s'))
            || (number(word) && (before.ends_with("\"ttl\":") || before.ends_with("\"TTL\" : ")));
        if duration || left { "<time>".to_owned() } else { word.to_owned() }
    }
}

/// Some builds of etcdctl draw tables with lines instead of signs.
fn boxes(letter: char) -> char {
    match letter {
        '─' => '-',
        '│' => '|',
        '┌' | '┬' | '┐' | '├' | '┼' | '┤' | '└' | '┴' | '┘' => '+',
        letter => letter,
    }
}

/// Words between blanks; single quotes keep blanks, and may hold nothing.
fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => found.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    found.extend(word);
    found
}

impl Server {
    fn start(etcd: &Path, etcdctl: &Path, ports: &[u16]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (client, peer) =
            (format!("http://127.0.0.1:{}", ports[0]), format!("http://127.0.0.1:{}", ports[1]));
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let process = Command::new(etcd)
            .args(["--name", "m1", "--initial-cluster-token", "same"])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("m1={peer}")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        let server = Self { process, client: client.replace("http://", ""), folder };
        let since = Instant::now();
        loop {
            let answer = Command::new(etcdctl)
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &server.client, "member", "list"])
                .output()
                .expect("etcdctl starts");
            if String::from_utf8_lossy(&answer.stdout).contains("started, m1") {
                return server;
            }
            assert!(since.elapsed() < PATIENCE, "etcd is not ready after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn transcript(program: &Path, server: &Server, gone: &str, is35: bool) -> Vec<Heard> {
    let mut run =
        Run { program, server, gone: gone.to_owned(), lease: String::new(), known: Vec::new() };
    let (answer, _, _) = run.hear("get nobody -w json", "");
    run.known = answer
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|number| number.len() > 15)
        .flat_map(|number| {
            let id: u64 = number.parse().expect("an id");
            [number.to_owned(), format!("{id:x}")]
        })
        .collect();
    let mut heard = Vec::new();
    for (line, input, same) in ROWS {
        if *same == Since35 && !is35 {
            continue;
        }
        if *line == "user add alice:secret" && heard.iter().all(|heard: &Heard| heard.what != *line)
        {
            // Here all keys and the lease still are there.
            for (line, input, lines) in ENDLESS {
                let said = run.plain(&run.endless(line, input, *lines), All);
                heard.push(Heard { what: (*line).to_owned(), said });
            }
        }
        let (out, err, code) = run.hear(line, input);
        let said = match same {
            Code => format!("[{code:?}]"),
            _ => format!(
                "{}--- errors\n{}[{code:?}]",
                run.plain(&out, *same),
                run.plain(&err, *same)
            ),
        };
        heard.push(Heard { what: (*line).to_owned(), said });
    }
    heard
}

#[test]
fn both_say_the_same() {
    let Some(programs) = Programs::find() else { return };
    let Programs { etcd, etcdctl, .. } = &programs;
    let is35 = programs.is_since("3.5");
    // Free ports, each held until all are chosen; one stays without a listener.
    let held: Vec<_> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let ports: Vec<_> =
        held.iter().map(|socket| socket.local_addr().expect("it is bound").port()).collect();
    drop(held);
    let gone = format!("127.0.0.1:{}", ports[2]);
    // One after the other on the same ports: ids are made of them.
    let hear = |program: &Path| {
        let server = Server::start(etcd, etcdctl, &ports);
        transcript(program, &server, &gone, is35)
    };
    let theirs = hear(etcdctl);
    let ours = hear(Path::new(env!("CARGO_BIN_EXE_raft-ctl")));
    assert_eq!(ours.len(), theirs.len(), "both heard every line");
    let differing: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours.said != theirs.said)
        .map(|(ours, theirs)| {
            format!("{}\n=== etcdctl\n{}\n=== raft-ctl\n{}\n", ours.what, theirs.said, ours.said)
        })
        .collect();
    assert!(ours.len() > 200, "{} lines were compared", ours.len());
    assert!(
        differing.is_empty(),
        "{} of {} differ:\n{}",
        differing.len(),
        ours.len(),
        differing.join("\n")
    );
}
