//! Tables: what is typed, and what comes of it.

use std::{path::PathBuf, time::Duration};

use super::*;
use node_identity::urls::join;

fn read(line: &str, environment: &[(&str, &str)]) -> Result<Asked, ConfigError> {
    let words = line.split_whitespace().map(str::to_owned);
    Config::read(words, environment.iter().copied())
}

fn run(line: &str, environment: &[(&str, &str)]) -> Config {
    match read(line, environment) {
        Ok(Asked::Run(config)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

fn refuse(line: &str) -> (u8, String) {
    let error = read(line, &[]).expect_err(line);
    (error.exit_code, error.message.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn nothing_typed_is_a_cluster_of_one_with_etcds_defaults() {
    let config = run("", &[]);
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(join(&config.listen_client_urls), "http://localhost:2379");
    assert_eq!(join(&config.advertise_client_urls), "http://localhost:2379");
    assert_eq!(join(&config.listen_peer_urls), "http://localhost:2380");
    assert_eq!(config.initial_cluster, "default=http://localhost:2380");
    assert_eq!(config.initial_cluster_state, InitialState::New);
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert_eq!(config.tick, Duration::from_millis(10));
    assert_eq!((config.heartbeat_ticks, config.election_ticks), (10, 100));
    assert_eq!((config.snapshot_count, config.snapshot_catchup_entries), (100_000, 5_000));
    assert_eq!((config.quota_backend_bytes, config.auto_compaction), (2 << 30, None));
    assert_eq!((config.max_request_bytes, config.max_txn_ops), (1_572_864, 128));
    assert!(config.pre_vote && config.strict_reconfig_check && !config.force_new_cluster);
    assert_eq!(config.request_timeout(), Duration::from_secs(7));
    assert_eq!(config.min_lease_ttl_seconds(), 2);
    assert!(config.listen_telemetry_urls.is_empty() && config.peer_proxy.is_none());
    assert!(config.warnings.is_empty());
    let [member] = &config.first_members().expect("is well formed")[..] else {
        panic!("one member");
    };
    assert_eq!(member.id.to_string(), "8e9e05c52164694d");
}

#[test]
fn flags_may_be_written_in_gos_ways_and_the_last_one_counts() {
    for line in ["--name m1", "-name m1", "--name=m1", "-name=m1", "--name m0 --name m1"] {
        assert_eq!(run(line, &[]).name, "m1", "{line}");
    }
    for (line, expected) in [
        ("", true),
        ("--pre-vote", true),
        ("-pre-vote=false", false),
        ("--pre-vote=F --name m1", false),
        ("--pre-vote --name m1", true),
    ] {
        assert_eq!(run(line, &[]).pre_vote, expected, "{line}");
    }
}

#[test]
fn a_flag_wins_over_its_variable() {
    let environment =
        [("ETCD_NAME", "from-env"), ("ETCD_DATA_DIR", "d"), ("ETCD_PRE_VOTE", "false")];
    let config = run("--name m1", &environment);
    assert_eq!((config.name.as_str(), config.data_dir), ("m1", PathBuf::from("d")));
    assert!(!config.pre_vote);
    assert_eq!(run("", &environment).name, "from-env");
    assert_eq!(
        run("", &[("ETCD_NAME", ""), ("ETCD_VERIFY", "all"), ("HOME", "x")]).name,
        "default"
    );
    assert_eq!(
        run("", &[("ETCD_NONSENSE", "1")]).warnings,
        ["unrecognized environment variable ETCD_NONSENSE"]
    );
}

#[test]
fn timers_become_ticks() {
    for (heartbeat, election, tick_micros, heartbeat_ticks, election_ticks) in [
        (100, 1000, 10_000, 10, 100),
        (50, 300, 5_000, 10, 60),
        (5, 25, 1_000, 5, 25),
        (1, 5, 1_000, 1, 5),
        (10_000, 50_000, 1_000_000, 10, 50),
    ] {
        let line = format!("--heartbeat-interval {heartbeat} --election-timeout {election}");
        let config = run(&line, &[]);
        let seen = (config.tick.as_micros(), config.heartbeat_ticks, config.election_ticks);
        assert_eq!(seen, (tick_micros, heartbeat_ticks, election_ticks), "{line}");
    }
    assert_eq!(run("--election-timeout 5000", &[]).min_lease_ttl_seconds(), 8);
}

#[test]
fn what_cannot_be_meant_is_refused_with_etcds_words() {
    for (line, exit_code, message) in [
        ("--nope", 2, "flag provided but not defined: -nope"),
        ("--name", 2, "flag needs an argument: -name"),
        (
            "--initial-cluster-state maybe",
            2,
            "invalid value \"maybe\" for flag -initial-cluster-state: expected \"new\" or \"existing\"",
        ),
        (
            "--listen-client-urls http://127.0.0.1:1",
            1,
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--election-timeout 200",
            1,
            "--election-timeout[200ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            "--election-timeout 60000",
            1,
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        ("--heartbeat-interval 0", 1, "--heartbeat-interval must be >0 (set to 0ms)"),
        (
            "--heartbeat-interval soon",
            2,
            "invalid value \"soon\" for flag -heartbeat-interval: expected a whole number from 0 on",
        ),
        (
            "--listen-peer-urls ftp://127.0.0.1:1",
            2,
            "invalid value \"ftp://127.0.0.1:1\" for flag -listen-peer-urls: \
             URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1",
        ),
        (
            "--listen-peer-urls http://127.0.0.1:99999",
            2,
            "invalid value \"http://127.0.0.1:99999\" for flag -listen-peer-urls: \
             URL port must be a number from 0 to 65535: http://127.0.0.1:99999",
        ),
        (
            "--listen-peer-urls http://example.com:2380",
            1,
            "--listen-peer-urls: expected IP in URL for binding (http://example.com:2380)",
        ),
        (
            "--initial-advertise-peer-urls http://:2380",
            1,
            "--initial-advertise-peer-urls: unexpected empty host (http://:2380)",
        ),
        (
            "--pre-vote=maybe",
            2,
            "invalid value \"maybe\" for flag -pre-vote: expected true or false",
        ),
        (
            "--peer-proxy http://h:1",
            2,
            "invalid value \"http://h:1\" for flag -peer-proxy: expected socks5://host:port",
        ),
        (
            "--log-level loud",
            2,
            "invalid value \"loud\" for flag -log-level: expected debug, info, warn or error",
        ),
    ] {
        assert_eq!(refuse(line), (exit_code, message.to_owned()), "{line}");
    }
    assert!(refuse("--pre-vote false").1.starts_with("'false' is not a valid flag"));
    assert!(refuse("stray").1.starts_with("'stray' is not a valid flag"));
    assert!(refuse("--listen-telemetry-urls http://0.0.0.0:1").1.contains("loopback only"));
    assert!(refuse("--cert-file c.pem").1.contains("plaintext only"));
}

#[test]
fn times_are_written_as_go_writes_them() {
    let flag = "experimental-watch-progress-notify-interval";
    for (text, millis) in [
        ("10m", 600_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("250ms", 250),
        ("10m0s", 600_000),
    ] {
        let config = run(&format!("--{flag} {text}"), &[]);
        assert_eq!(config.watch_progress_interval, Duration::from_millis(millis), "{text}");
    }
    for text in ["5", "s", "5d", "5s5", "0s", "1..5s", "-5s"] {
        let why = "expected a time such as 5s, 1m30s or 250ms";
        let line = format!("--{flag}={text}");
        let expected = format!("invalid value \"{text}\" for flag -{flag}: {why}");
        assert_eq!(refuse(&line), (2, expected));
    }
}

#[test]
fn auto_compaction_keeps_a_time_or_a_number() {
    let minutes = |minutes: u64| Some(Retention::Period(Duration::from_secs(60 * minutes)));
    for (mode, keep, expected) in [
        ("periodic", "0", None),
        ("periodic", "0s", None),
        ("revision", "0", None),
        ("periodic", "2", minutes(120)),
        ("periodic", "30m", minutes(30)),
        ("revision", "1000", Some(Retention::Revisions(1000))),
    ] {
        let line = format!("--auto-compaction-mode {mode} --auto-compaction-retention {keep}");
        assert_eq!(run(&line, &[]).auto_compaction, expected, "{line}");
    }
    for line in [
        "--auto-compaction-mode=revision --auto-compaction-retention=5m",
        "--auto-compaction-mode=never --auto-compaction-retention=5m",
        "--auto-compaction-retention=often",
    ] {
        assert_eq!(refuse(line).0, 2, "{line}");
    }
}

#[test]
fn discovery_is_refused_for_a_static_list() {
    for name in ["discovery", "discovery-srv", "discovery-token", "discovery-endpoints"] {
        let (exit_code, message) = refuse(&format!("--{name} https://discovery.example/x"));
        assert_eq!(exit_code, 1);
        assert!(message.contains(name) && message.contains("--initial-cluster "), "{message}");
    }
}

#[test]
fn a_quota_may_be_none() {
    for (text, bytes) in [("0", 2 << 30), ("16777216", 16 << 20), ("-1", u64::MAX)] {
        let config = run(&format!("--quota-backend-bytes={text}"), &[]);
        assert_eq!(config.quota_backend_bytes, bytes);
    }
    assert_eq!(refuse("--quota-backend-bytes=much").0, 2);
}

#[test]
fn etcds_other_flags_are_taken_with_a_warning() {
    let config = run("--enable-v2 --logger zap -metrics=extensive --auto-tls=false --name m1", &[]);
    assert_eq!(config.name, "m1");
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
}

#[test]
fn plaintext_beyond_this_machine_is_warned_of() {
    let config = run("--listen-peer-urls http://0.0.0.0:2380", &[]);
    assert!(config.warnings[0].contains("trusted network only"), "{:?}", config.warnings);
}

#[test]
fn the_labs_flags_are_understood() {
    let config = run(
        "--peer-proxy socks5://127.0.0.1:9050 --exit-on-stdin-eof \
         --listen-telemetry-urls http://127.0.0.1:7001",
        &[],
    );
    assert_eq!(config.peer_proxy, Some(PeerProxy { host: "127.0.0.1".into(), port: 9050 }));
    assert!(config.exit_on_stdin_eof);
    assert_eq!(join(&config.listen_telemetry_urls), "http://127.0.0.1:7001");
}

#[test]
fn help_and_version_are_printed() {
    for (line, expected) in [
        ("--help", "--listen-client-urls"),
        ("-h", "Clustering"),
        ("--version", "etcd Version: 3.5"),
        ("--help", "raft-node defrag --data-dir"),
        ("defrag --help", "while no member runs"),
    ] {
        match read(line, &[]) {
            Ok(Asked::Print(text)) => assert!(text.contains(expected), "{text}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_data_directory_is_defragmented_by_its_name() {
    let directory = |line: &str, environment: &[(&str, &str)]| match read(line, environment) {
        Ok(Asked::Defragment(directory)) => directory,
        other => panic!("{line}: {other:?}"),
    };
    for line in ["--data-dir m1.etcd", "--data-dir=m1.etcd", "-data-dir m1.etcd"] {
        let line = format!("defrag {line}");
        assert_eq!(directory(&line, &[("ETCD_DATA_DIR", "m2.etcd")]), PathBuf::from("m1.etcd"));
    }
    assert_eq!(directory("defrag", &[("ETCD_DATA_DIR", "m2.etcd")]), PathBuf::from("m2.etcd"));
    for (line, expected) in [
        ("defrag", "required flag(s) \"data-dir\" not set"),
        ("defrag --data-dir=", "required flag(s) \"data-dir\" not set"),
        ("defrag --data-dir", "flag needs an argument: -data-dir"),
        ("defrag m1.etcd", "not 'm1.etcd'"),
        ("defrag --data-dir m1.etcd --name m1", "not '--name'"),
    ] {
        let (exit_code, message) = refuse(line);
        assert_eq!(exit_code, 1, "{line}");
        assert!(message.contains(expected), "{line}: {message}");
    }
}
