//! A node: assembled, run, and shut down in order.
//!
//! ```text
//!   bind every port ─► open or begin the data ─► threads ─► peers ─► clients ─► publish
//!   stop: refuse clients ─► end the replica ─► drain apply, flush ─► seal the log ─► copy the keys
//! ```

mod copies;
mod outcasts;
mod second_bootstrap;
mod snapshots;

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use node_protocol::{ClusterId, Index, MemberId, Revision, Status, Term, TraceEvent};
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alone::{self, AloneError, CutOff};
use crate::api::{self, Dispatch, Face, LeaseIds, Limits};
use crate::apply::{self, Apply};
use crate::causes::with_causes;
use crate::clock::{Clock, sleep};
use crate::cluster::{InitialClusterError, Member, Membership, cluster_id};
use crate::compactor;
use crate::config::{Config, ETCD_VERSION, InitialState};
use crate::consensus::waiters::Waiters;
use crate::consensus::{Driver, Log, Settings};
use crate::control::{self, Controls};
use crate::corruption;
use crate::flush::{self, Flush};
use crate::handle::{Glance, Handle};
use crate::import::{self, ImportError};
use crate::inbox::{Input, asked_by_the_lab};
use crate::kv::{HashKv, Op, ReadError};
use crate::lease::Lessor;
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::recover::{self, Beginning, Ground, Opened, RecoverError};
use crate::replica::{self, Fatal, Replica};
use crate::storage::wal::Wal;
use crate::storage::{DataDirectory, Identity, Mark, State};
use crate::telemetry::{Speaker, Telemetry};
use crate::threads::{self, Alarm};
use crate::training::{Break, Planted};
use crate::transport::Packet;
use crate::transport::bulk::{self, Hasher, Receiver};
use crate::transport::handshake::{self, Dial};
use crate::transport::links::{LinkNews, TcpLinks};
use crate::transport::listener::{Inbox, Listener, Outcasts};
use crate::watch::WatchHub;
use copies::Copies;
use node_identity::urls::Url;
use outcasts::{CalledOff, refuse_while_others_live};
use snapshots::{Arrivals, Departures, Newest};

/// Inputs that may wait for the replica. When full, clients are told so and peers wait.
const INBOX: usize = 16 * 1024;

/// How long open requests may take to end at a stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port cannot be had.
    #[error(transparent)]
    Listen(#[from] api::ListenError),
    /// The data cannot be used.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// What `snapshot restore` has made cannot be taken over.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// It cannot go on alone.
    #[error(transparent)]
    Alone(#[from] AloneError),
    /// It is not alone.
    #[error(
        "--force-new-cluster is refused: member {} {} of this cluster answers at {url}. With it \
         alive there would be two clusters under one id. End it and take its data directory away, \
         or leave this flag and restore a snapshot, which begins a new cluster",
        member.id, member.name
    )]
    StillAlive {
        /// Who answered.
        member: Box<Member>,
        /// Where.
        url: String,
    },
    /// The first members are not as they must be.
    #[error(transparent)]
    InitialCluster(#[from] InitialClusterError),
    /// Nobody of the running cluster could be asked.
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the \
         given URLs ({why}); is a member of --initial-cluster running?"
    )]
    NoCluster {
        /// What the last one said.
        why: String,
    },
    /// The running cluster does not know this member.
    #[error(
        "unmatched member while checking PeerURLs: no member of the running cluster has the peer \
         URLs {urls:?}; add it first with `etcdctl member add`"
    )]
    NotAdded {
        /// This member's peer URLs.
        urls: Vec<String>,
    },
    /// It is a member that has run already, and its disk is empty.
    #[error(
        "member {id} has already been bootstrapped: {} of this cluster knows it, and the data \
         directory is empty. What it had promised was on the disk that it lost, so it cannot be \
         the same member any more: remove it with `etcdctl member remove {id}`, add it again with \
         `etcdctl member add`, and start it with --initial-cluster-state existing",
        peer.name
    )]
    AlreadyBootstrapped {
        /// The member.
        id: MemberId,
        /// Who knows it.
        peer: Box<Member>,
    },
    /// `--initial-cluster` names more or fewer members than there are.
    #[error(
        "member count is unequal: --initial-cluster names {named} members, the running cluster has \
         {running}"
    )]
    UnequalCount {
        /// Named.
        named: usize,
        /// Running.
        running: usize,
    },
    /// Its own keys cannot be read.
    #[error("failed to read the keys: {0}")]
    Unreadable(String),
    /// Its keys are not those of its peers.
    #[error(
        "checkInitialHashKV failed: {member} found data inconsistency with peers ({}); remove this \
         member from the cluster, empty its data directory and add it as a new member",
        list(peers)
    )]
    Inconsistent {
        /// This member.
        member: MemberId,
        /// Those that have others.
        peers: Vec<MemberId>,
    },
    /// Consensus could not go on.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// raft-rs refused what is on the disk.
    #[error("failed to start consensus: {0}")]
    Raft(#[from] raft::Error),
    /// The system refused a thread or a socket.
    #[error("failed to {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It ended without saying how.
    #[error("the replica thread ended without a word")]
    Vanished,
}

/// A running node.
pub struct Server {
    name: String,
    handle: Handle,
    telemetry: Telemetry,
    inbox: flume::Sender<Input>,
    tasks: TaskTracker,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
    ended: oneshot::Receiver<Result<Wal, Fatal>>,
    clock: Arc<dyn Clock>,
    copies: Copies,
}

/// The ports of a node, bound before anything is written.
struct Ports {
    clients: Vec<StdListener>,
    peers: Vec<StdListener>,
    metrics: Vec<StdListener>,
    telemetry: Vec<(StdListener, String)>,
}

impl Ports {
    fn bind(config: &Config) -> Result<Self, ServerError> {
        let all = |urls: &[Url], flag| {
            urls.iter().map(|url| api::bind(url, flag)).collect::<Result<Vec<_>, _>>()
        };
        let telemetry = all(&config.listen_telemetry_urls, "listen-telemetry-urls")?;
        let hosts = config.listen_telemetry_urls.iter().map(host_of);
        Ok(Self {
            clients: all(&config.listen_client_urls, "listen-client-urls")?,
            peers: all(&config.listen_peer_urls, "listen-peer-urls")?,
            metrics: all(&config.listen_metrics_urls, "listen-metrics-urls")?,
            telemetry: telemetry.into_iter().zip(hosts).collect(),
        })
    }
}

fn host_of(url: &Url) -> String {
    format!("{}:{}", url.host(), url.port())
}

impl Server {
    /// Starts a node as configured. What it needs of the disk and the network it has on return;
    /// the cluster may still have no leader.
    pub async fn start(
        mut config: Config,
        planted: Planted,
        ground: Ground,
    ) -> Result<Self, ServerError> {
        if planted.has(Break::TokenIgnored) {
            config.initial_cluster_token.clear();
        }
        let controls = config.lab_control.is_some().then(|| ground.controls.clone());
        let clock = control::clock(controls.as_ref());
        let ports = Ports::bind(&config)?;
        let (opened, cut_off) = open(&config, &*clock, ground).await?;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let mut assembly = Assembly::new(&config, planted, opened, clock.clone(), &tasks, &stop)?;
        if config.initial_corrupt_check {
            assembly.compare_with_peers(&config).await?;
        }
        let alarm = assembly.alarm.clone();
        let (ended, wait) = oneshot::channel();
        let (threads, replica_runtime) = assembly.start_threads(ended, controls)?;
        let Assembly {
            handle, telemetry, inbox, metrics, identity, state, flush, boot, hub, ..
        } = assembly;

        let receiver: Arc<dyn Receiver> =
            Arc::new(Arrivals { state: state.clone(), replica: inbox.clone() });
        let hasher = Hashes { handle: handle.clone(), alarm: alarm.clone() };
        let hasher: Arc<dyn Hasher> = Arc::new(hasher);
        let outcasts: Arc<dyn Outcasts> = Arc::new(CalledOff { cut_off, alarm: alarm.clone() });
        for socket in ports.peers {
            let listener = Listener {
                identity: identity.clone(),
                inbox: ReplicaInbox(inbox.clone()),
                snapshots: receiver.clone(),
                hasher: hasher.clone(),
                outcasts: outcasts.clone(),
                reads_on: replica_runtime.clone(),
                metrics: metrics.clone(),
                tasks: tasks.clone(),
                stop: stop.clone(),
                refused: Mutex::default(),
            };
            let socket = TcpListener::from_std(socket).map_err(system("listen to peers"))?;
            tasks.spawn(listener.run(socket));
        }

        let copies =
            Copies::new(state.clone(), &config.data_dir, config.snapshot_count, alarm.clone());
        let face = Arc::new(Face {
            handle: handle.clone(),
            watches: hub,
            state: state.clone(),
            flush,
            metrics: metrics.clone(),
            clock: clock.clone(),
            limits: Limits::from(&config),
            token: config.initial_cluster_token.clone(),
            lease_ids: LeaseIds::new(identity.member, boot, clock.wall_millis()),
            stop: stop.clone(),
            broken: Arc::new(move |error| alarm.raise(with_causes(error))),
        });
        let (guard, guard_stop) = (face.clone(), stop.clone());
        tasks.spawn(async move { guard_stop.run_until_cancelled(guard.guard_quota()).await });
        if let Some(retention) = config.auto_compaction {
            let (compactor, compactor_stop) =
                (compactor::run(handle.clone(), retention), stop.clone());
            tasks.spawn(async move { compactor_stop.run_until_cancelled(compactor).await });
        }
        let pages = crate::admin::pages(face.clone());
        for socket in ports.metrics {
            let socket = TcpListener::from_std(socket).map_err(system("listen for metrics"))?;
            let pages = hyper_util::service::TowerToHyperService::new(pages.clone());
            tasks.spawn(api::serve(socket, pages, metrics.clone(), stop.clone(), DRAIN));
        }
        let dispatch = Dispatch::new(&face, pages);
        for socket in ports.clients {
            let socket = TcpListener::from_std(socket).map_err(system("listen to clients"))?;
            let served = api::serve(socket, dispatch.clone(), metrics.clone(), stop.clone(), DRAIN);
            tasks.spawn(served);
        }
        for (socket, host) in ports.telemetry {
            let port = socket.local_addr().map_err(system("listen to readers"))?.port();
            let socket = TcpListener::from_std(socket).map_err(system("listen to readers"))?;
            let hosts = [host, format!("127.0.0.1:{port}"), format!("localhost:{port}")];
            let router =
                crate::admin::telemetry(telemetry.clone(), hosts, stop.clone(), tasks.clone());
            let router = hyper_util::service::TowerToHyperService::new(router);
            let served = api::serve(socket, router, metrics.clone(), stop.clone(), DRAIN);
            tasks.spawn(served);
        }
        let (keeping, copies_stop) = (copies.clone().keep(handle.clone()), stop.clone());
        tasks.spawn(async move { copies_stop.run_until_cancelled(keeping).await });
        // etcd's own words: harnesses wait for them.
        tracing::info!(member = %identity.member, cluster = %identity.cluster,
            "ready to serve client requests");
        let publishing =
            publish(handle.clone(), identity.member, config.name.clone(), config.client_urls());
        let publish_stop = stop.clone();
        tasks.spawn(async move { publish_stop.run_until_cancelled(publishing).await });
        Ok(Self {
            name: config.name,
            handle,
            telemetry,
            inbox,
            tasks,
            stop,
            threads,
            ended: wait,
            clock,
            copies,
        })
    }

    /// What a face holds; for tests that drive a node in their own process.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs until `asked` is ready or the node cannot go on, then ends in order.
    pub async fn run(mut self, asked: impl Future<Output = ()>) -> Result<(), ServerError> {
        tokio::select! {
            () = asked => {
                tracing::info!(name = self.name, "stops");
                self.end().await
            }
            ended = &mut self.ended => {
                let result = match ended {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(fatal)) => Err(ServerError::from(fatal)),
                    Err(_) => Err(ServerError::Vanished),
                };
                if let Err(error) = &result {
                    let why = with_causes(error);
                    self.telemetry.trace(TraceEvent::Fatal { why }, self.clock.now_micros());
                }
                self.stop.cancel();
                self.tasks.close();
                // Readers hear the reason; nobody else is owed anything.
                tokio::time::timeout(Duration::from_millis(300), self.tasks.wait()).await.ok();
                result
            }
        }
    }

    /// Ends in order: everything applied is durable in the state, the log is sealed.
    async fn end(self) -> Result<(), ServerError> {
        self.stop.cancel();
        self.tasks.close();
        // Requests that wait for an answer are refused by the replica's end, so it must not wait
        // for them.
        self.inbox.send_async(Input::Stop).await.ok();
        let ended = self.ended.await.map_err(|_| ServerError::Vanished)?;
        tokio::time::timeout(DRAIN, self.tasks.wait()).await.ok();
        drop(self.inbox);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                // A thread that panicked has said so.
                thread.join().ok();
            }
        });
        joined.await.map_err(|_| ServerError::Vanished)?;
        ended?.close().map_err(Fatal::from)?;
        self.copies.write().await;
        Ok(())
    }
}

fn list(members: &[MemberId]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ServerError {
    move |source| ServerError::System { what, source }
}

/// Opens the data directory, or fills a new one.
async fn open(
    config: &Config,
    clock: &dyn Clock,
    ground: Ground,
) -> Result<(Opened, CutOff), ServerError> {
    let Ground { disk, options, controls: _ } = ground;
    let directory = DataDirectory::lock(&*disk, &config.data_dir).map_err(RecoverError::from)?;
    import::take_over(&disk, &config.data_dir, &directory, options)?;
    let was_used = recover::is_used(&disk, &directory, options)?;
    if !was_used {
        let (identity, beginning) = begin(config).await?;
        tracing::info!(member = %identity.member_id, cluster = %identity.cluster_id,
            "begins with an empty data directory");
        recover::begin(&disk, &directory, identity, &beginning, options)?;
    }
    let mut opened = recover::open(&disk, &directory, clock.wall_millis(), options)?;
    let cut_off = if config.force_new_cluster && was_used {
        refuse_while_others_live(config, &opened).await?;
        alone::cut_others_off(&mut opened, directory.member_dir())?
    } else {
        CutOff::read(directory.member_dir())?.but(&opened.recovered.membership)
    };
    // The lock is held as long as the process lives.
    std::mem::forget(directory);
    warn_of_other_flags(config, opened.metadata.cluster_id);
    Ok((opened, cut_off))
}

/// Flags that describe another cluster than the one on the disk are ignored, as by etcd, but not
/// in silence.
fn warn_of_other_flags(config: &Config, stored: ClusterId) {
    let Ok(members) = config.first_members() else { return };
    let typed = cluster_id(members.iter().map(|member| member.id));
    // One member alone is what the flags say when nobody typed them.
    if config.initial_cluster_state == InitialState::New && members.len() > 1 && typed != stored {
        tracing::warn!(
            data_dir = %config.data_dir.display(), %stored, %typed,
            "the data directory belongs to another cluster than --initial-cluster and \
             --initial-cluster-token describe; these flags are ignored. To start a new cluster \
             give an empty --data-dir"
        );
    }
}

async fn begin(config: &Config) -> Result<(Identity, Beginning), ServerError> {
    let first = config.first_members()?;
    match config.initial_cluster_state {
        InitialState::New => {
            let cluster_id = cluster_id(first.iter().map(|member| member.id));
            let own = first.iter().find(|member| member.name == config.name);
            let member_id = own.expect("the configuration checked it").id;
            second_bootstrap::refuse(config, &first, (cluster_id, member_id)).await?;
            let members = Membership::bootstrap(first);
            Ok((Identity { cluster_id, member_id }, Beginning::New { members }))
        }
        InitialState::Existing => {
            let mut urls: Vec<String> = config
                .initial_advertise_peer_urls
                .iter()
                .map(|url| url.as_str().to_owned())
                .collect();
            urls.sort();
            let (cluster_id, members) = ask_members(config, &first, &urls).await?;
            let running = members.members().count();
            if running != first.len() {
                return Err(ServerError::UnequalCount { named: first.len(), running });
            }
            let Some(own) = members.members().find(|member| member.peer_urls == urls) else {
                return Err(ServerError::NotAdded { urls });
            };
            let member_id = own.id;
            Ok((Identity { cluster_id, member_id }, Beginning::Join { members }))
        }
    }
}

async fn ask_members(
    config: &Config,
    first: &[crate::cluster::Member],
    own: &[String],
) -> Result<(ClusterId, Membership), ServerError> {
    let mut why = "no other member is named".to_owned();
    let mut behind = None;
    for member in first.iter().filter(|member| member.peer_urls != own) {
        let dial = dial(config, &member.peer_urls);
        match bulk::fetch_members(&dial).await {
            Ok(answer) if answer.1.members().any(|m| m.peer_urls == own) => return Ok(answer),
            // It may not have applied the addition yet; another one has.
            Ok(answer) => behind = Some(answer),
            Err(error) => why = format!("{}: {error}", member.peer_urls.join(",")),
        }
    }
    behind.ok_or(ServerError::NoCluster { why })
}

fn dial(config: &Config, urls: &[String]) -> Dial {
    Dial {
        urls: urls.iter().filter_map(|url| Url::parse(url).ok()).collect(),
        proxy: proxy(config),
    }
}

fn proxy(config: &Config) -> Option<String> {
    config.peer_proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host, proxy.port))
}

/// The parts of a node, put together but not yet running.
struct Assembly {
    handle: Handle,
    telemetry: Telemetry,
    inbox: flume::Sender<Input>,
    metrics: Arc<Metrics>,
    identity: handshake::Identity,
    state: Arc<State>,
    flush: flume::WeakSender<flush::FlushItem>,
    boot: u64,
    hub: Arc<WatchHub>,
    alarm: Alarm,
    threads: Option<Threads>,
}

struct Threads {
    replica: Replica,
    inbox: flume::Receiver<Input>,
    apply: Apply,
    items: flume::Receiver<apply::Item>,
    flush: Flush,
    flush_items: flume::Receiver<flush::FlushItem>,
    alarm: Alarm,
    clock: Arc<dyn Clock>,
    tick_micros: u64,
}

impl Assembly {
    fn new(
        config: &Config,
        planted: Planted,
        opened: Opened,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, ServerError> {
        let Opened { metadata, wal, log, state, recovered, fresh } = opened;
        let (member, cluster) = (metadata.member_id, metadata.cluster_id);
        let applied = (recovered.applied, recovered.applied_term);
        let started =
            TraceEvent::Started { boot: metadata.boot, last: wal.last_index(), applied: applied.0 };
        let lessor = Arc::new(Mutex::new(Lessor::new(recovered.store.lease_terms())));
        let hub = WatchHub::new(recovered.store.revision());
        let restored = recovered.store.restored();
        let store = Arc::new(RwLock::new(recovered.store));
        let membership = Arc::new(RwLock::new(recovered.membership));
        let metrics = Arc::new(Metrics::new(member, cluster));
        let progress = Arc::new(Progress::default());
        progress.set_flushed(applied.0);
        let glance = Arc::new(Glance::new(member, cluster));
        let waiters = Waiters::new(member, metadata.boot);
        let speaker = Speaker {
            member,
            name: config.name.clone(),
            cluster,
            etcd_version: ETCD_VERSION.to_owned(),
            restored,
        };
        let telemetry = Telemetry::new(speaker, Status::default_at(clock.now_micros()));
        telemetry.trace(started, clock.now_micros());
        let (inbox, inputs) = flume::bounded(INBOX);
        let (items_in, items) = flume::bounded(apply::ITEMS);
        let (flush_in, flush_items) = flume::bounded(flush::ITEMS);
        let to_flush = flush_in.downgrade();

        let point = log.mark.unwrap_or(Mark { index: Index(0), term: Term(0) });
        let raft_log = Log::new(
            (point.index, point.term),
            log.entries,
            log.hard_state.unwrap_or_default(),
            recovered.conf_state.clone(),
            applied.0,
            Arc::new(Newest(state.clone())),
        );
        let settings = Settings {
            member,
            election_ticks: config.election_ticks,
            heartbeat_ticks: config.heartbeat_ticks,
            pre_vote: config.pre_vote,
            check_quorum: !planted.has(Break::CheckQuorumOff),
            message_bytes: crate::consensus::driver::MESSAGE_BYTES,
            seed: metadata.boot,
        };
        let driver = Driver::new(settings, raft_log, applied.0)?;

        let identity = handshake::Identity { member, cluster, membership: membership.clone() };
        let news_inbox = inbox.clone();
        let news = move |news: LinkNews| {
            // When the inbox is full the link's state is told again at its next change.
            news_inbox.try_send(Input::Link(news)).ok();
        };
        let links = TcpLinks::new(
            identity.clone(),
            proxy(config),
            tasks.clone(),
            stop.clone(),
            Arc::new(news),
            metrics.clone(),
        );
        let alarm = Alarm { progress: progress.clone(), replica: inbox.clone() };
        let snapshots = Departures {
            state: state.clone(),
            alarm: alarm.clone(),
            identity: identity.clone(),
            proxy: proxy(config),
            replica: inbox.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
            runtime: Runtime::current(),
            telemetry: telemetry.clone(),
            clock: clock.clone(),
        };
        let replica = Replica::new(replica::Parts {
            driver,
            wal,
            links: Box::new(links),
            snapshots: Box::new(snapshots),
            waiters: waiters.clone(),
            apply: items_in,
            progress: progress.clone(),
            glance: glance.clone(),
            telemetry: telemetry.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            lessor: lessor.clone(),
            store: store.clone(),
            membership: membership.clone(),
            member,
            tick_micros: u32::try_from(config.tick.as_micros()).unwrap_or(u32::MAX),
            election_ticks: config.election_ticks,
            heartbeat_ticks: config.heartbeat_ticks,
            snapshot_count: config.snapshot_count,
            catchup_entries: config.snapshot_catchup_entries,
            strict_reconfig_check: config.strict_reconfig_check,
            fresh,
            planted,
        });
        let flush = Flush::new(flush::Parts {
            state: state.clone(),
            store: store.clone(),
            membership: membership.clone(),
            lessor: lessor.clone(),
            hub: hub.clone(),
            progress: progress.clone(),
            glance: glance.clone(),
            metrics: metrics.clone(),
            replica: inbox.clone(),
            planted,
        });
        let apply = Apply::new(
            apply::Parts {
                store: store.clone(),
                membership: membership.clone(),
                lessor,
                hub: hub.clone(),
                waiters: waiters.clone(),
                progress: progress.clone(),
                glance: glance.clone(),
                replica: inbox.clone(),
                flush: flush_in,
                clock: clock.clone(),
                planted,
            },
            applied,
        );
        let handle = Handle {
            inbox: inbox.clone(),
            waiters,
            store,
            membership,
            glance,
            status: telemetry.status(),
            request_timeout: config.request_timeout(),
            clock: clock.clone(),
            planted,
        };
        let threads = Threads {
            replica,
            inbox: inputs,
            apply,
            items,
            flush,
            flush_items,
            alarm: alarm.clone(),
            clock,
            tick_micros: u64::try_from(config.tick.as_micros()).unwrap_or(u64::MAX),
        };
        let (boot, threads) = (metadata.boot, Some(threads));
        Ok(Self {
            handle,
            telemetry,
            inbox,
            metrics,
            identity,
            state,
            flush: to_flush,
            boot,
            hub,
            alarm,
            threads,
        })
    }

    /// Ends the start if a member that runs has other keys.
    async fn compare_with_peers(&self, config: &Config) -> Result<(), ServerError> {
        let own = self.handle.store().hash_kv(Revision(0));
        let own = own.map_err(|error| ServerError::Unreadable(with_causes(&error)))?;
        let dial = |urls: &[String]| dial(config, urls);
        let peers = corruption::differing(&self.identity, own, dial).await;
        if peers.is_empty() {
            return Ok(());
        }
        Err(ServerError::Inconsistent { member: self.identity.member, peers })
    }

    fn start_threads(
        &mut self,
        ended: oneshot::Sender<Result<Wal, Fatal>>,
        controls: Option<Controls>,
    ) -> Result<(Vec<JoinHandle<()>>, Runtime), ServerError> {
        let threads = self.threads.take().expect("threads are started once");
        let Threads { replica, inbox, apply, items, flush, flush_items, alarm, clock, tick_micros } =
            threads;
        let ticks = controls.as_ref().map(|controls| controls.ticks.clone()).unwrap_or_default();
        if let Some(controls) = controls {
            controls.attach(tick_micros, asked_by_the_lab(self.inbox.clone()));
        }
        let start = || {
            let flush = threads::flush(flush, flush_items, clock.clone(), alarm.clone())?;
            let apply = threads::apply(apply, items, alarm)?;
            let (replica, runtime) =
                threads::replica(replica, inbox, clock, (tick_micros, ticks), move |result| {
                    // Nobody listens any more if the start failed half way.
                    ended.send(result).ok();
                })?;
            Ok((vec![flush, apply, replica], runtime))
        };
        start().map_err(system("start a thread"))
    }
}

/// Tells the cluster this member's name and where clients find it, until it is heard.
async fn publish(handle: Handle, member: MemberId, name: String, client_urls: Vec<String>) {
    loop {
        let same = handle.members().iter().any(|known| {
            known.id == member && known.name == name && known.client_urls == client_urls
        });
        if same {
            return;
        }
        let (name, client_urls) = (name.clone(), client_urls.clone());
        let op = Op::Publish { member, name, client_urls, peer_urls: Vec::new() };
        match handle.publish(op).await {
            Ok(()) => {
                tracing::info!("published the member's name and client URLs to the cluster");
                return;
            }
            Err(error) => tracing::debug!(%error, "not published yet"),
        }
        sleep(&*handle.clock, Duration::from_millis(100)).await;
    }
}

/// Hashes of this member's keys for peers that compare.
struct Hashes {
    handle: Handle,
    alarm: Alarm,
}

impl Hasher for Hashes {
    fn hash(&self, revision: Revision) -> Result<HashKv, String> {
        let hashed = self.handle.store().hash_kv(revision);
        hashed.map_err(|error| {
            if let ReadError::Rows(rows) = &error {
                self.alarm.raise(with_causes(rows));
            }
            with_causes(&error)
        })
    }
}

/// Packets of peers into the replica's inbox.
#[derive(Clone)]
struct ReplicaInbox(flume::Sender<Input>);

impl Inbox for ReplicaInbox {
    async fn packet(&self, from: MemberId, packet: Packet) -> bool {
        self.0.send_async(Input::Packet { from, packet }).await.is_ok()
    }

    async fn caller(&self, from: MemberId, connected: bool) -> bool {
        self.0.send_async(Input::Caller { from, connected }).await.is_ok()
    }
}
