//! Connections to the members, one at a time, and the calls made over them.
//!
//! Endpoints are tried in the order given. One that cannot be reached is passed over for any
//! call; one that answers Unavailable is passed over for a read, and never for a write, which may
//! have happened. When all were tried the round begins anew, until the call's time is up.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_api::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use pb::cluster_client::ClusterClient;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::codegen::InterceptedService;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::args::Global;
use crate::failure::{Failure, code, complain, words};

/// Between two rounds over all endpoints.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection whose every call carries the token, if there is one.
pub(crate) type Wire = InterceptedService<Channel, Token>;

/// What a member knows the user by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as `--command-timeout` says.
    Command,
    /// This long.
    For(Duration),
    /// As long as it takes, once a member is reached.
    Endless,
}

/// The cluster, seen through some endpoints.
#[derive(Debug)]
pub(crate) struct Client {
    global: Global,
    endpoints: Vec<String>,
    user: Option<(String, String)>,
    /// Which endpoint is asked next.
    current: AtomicUsize,
    open: Mutex<HashMap<String, Wire>>,
}

/// Calls by name: may it be repeated, its service and method, its question and answer.
macro_rules! calls {
    ($($kind:ident $name:ident = $service:ident :: $method:ident ($ask:ident) -> $answer:ident;)*) => {
        impl Client {
            $(
                pub(crate) async fn $name(
                    &self,
                    patience: Patience,
                    question: pb::$ask,
                ) -> Result<pb::$answer, Status> {
                    self.call(Kind::$kind, patience, |wire| {
                        let question = question.clone();
                        Box::pin(async move {
                            let client = $service::new(wire);
                            client.max_decoding_message_size(usize::MAX).$method(question).await
                        })
                    })
                    .await
                }
            )*
        }
    };
}

calls! {
    Read range = KvClient::range(RangeRequest) -> RangeResponse;
    Write put = KvClient::put(PutRequest) -> PutResponse;
    Write delete = KvClient::delete_range(DeleteRangeRequest) -> DeleteRangeResponse;
    Write txn = KvClient::txn(TxnRequest) -> TxnResponse;
    Write compact = KvClient::compact(CompactionRequest) -> CompactionResponse;
    Write grant = LeaseClient::lease_grant(LeaseGrantRequest) -> LeaseGrantResponse;
    Write revoke = LeaseClient::lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse;
    Read time_to_live =
        LeaseClient::lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse;
    Read leases = LeaseClient::lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse;
    Read member_list = ClusterClient::member_list(MemberListRequest) -> MemberListResponse;
    Write member_add = ClusterClient::member_add(MemberAddRequest) -> MemberAddResponse;
    Write member_remove = ClusterClient::member_remove(MemberRemoveRequest) -> MemberRemoveResponse;
    Write member_update = ClusterClient::member_update(MemberUpdateRequest) -> MemberUpdateResponse;
    Write member_promote =
        ClusterClient::member_promote(MemberPromoteRequest) -> MemberPromoteResponse;
    Read alarms = MaintenanceClient::alarm(AlarmRequest) -> AlarmResponse;
    Write disarm = MaintenanceClient::alarm(AlarmRequest) -> AlarmResponse;
    Read status = MaintenanceClient::status(StatusRequest) -> StatusResponse;
    Read hash_kv = MaintenanceClient::hash_kv(HashKvRequest) -> HashKvResponse;
    Write defragment = MaintenanceClient::defragment(DefragmentRequest) -> DefragmentResponse;
    Write move_leader = MaintenanceClient::move_leader(MoveLeaderRequest) -> MoveLeaderResponse;
    Write auth_enable = AuthClient::auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    Write auth_disable = AuthClient::auth_disable(AuthDisableRequest) -> AuthDisableResponse;
    Read auth_status = AuthClient::auth_status(AuthStatusRequest) -> AuthStatusResponse;
    Write user_add = AuthClient::user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    Read user_get = AuthClient::user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    Read user_list = AuthClient::user_list(AuthUserListRequest) -> AuthUserListResponse;
    Write user_delete = AuthClient::user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    Write user_password = AuthClient::user_change_password(AuthUserChangePasswordRequest)
        -> AuthUserChangePasswordResponse;
    Write user_grant =
        AuthClient::user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    Write user_revoke =
        AuthClient::user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    Write role_add = AuthClient::role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    Read role_get = AuthClient::role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    Read role_list = AuthClient::role_list(AuthRoleListRequest) -> AuthRoleListResponse;
    Write role_delete = AuthClient::role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    Write role_grant = AuthClient::role_grant_permission(AuthRoleGrantPermissionRequest)
        -> AuthRoleGrantPermissionResponse;
    Write role_revoke = AuthClient::role_revoke_permission(AuthRoleRevokePermissionRequest)
        -> AuthRoleRevokePermissionResponse;
}

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl Client {
    /// A client of the endpoints given; nothing is connected yet.
    pub(crate) fn new(global: &Global, user: Option<(String, String)>) -> Result<Self, Failure> {
        if global.endpoints.is_empty() {
            let text = "etcdclient: no available endpoints";
            return Err(Failure::new(code::BAD_CONNECTION, text));
        }
        Ok(Self {
            global: global.clone(),
            endpoints: global.endpoints.clone(),
            user,
            current: AtomicUsize::new(0),
            open: Mutex::new(HashMap::new()),
        })
    }

    /// A client of one endpoint, with a connection of its own.
    pub(crate) fn only(&self, endpoint: &str) -> Self {
        Self {
            global: self.global.clone(),
            endpoints: vec![endpoint.to_owned()],
            user: self.user.clone(),
            current: AtomicUsize::new(0),
            open: Mutex::new(HashMap::new()),
        }
    }

    /// The endpoints, as they were given.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// A connection to the first endpoint that can be reached, for a stream.
    ///
    /// Waits for as long as the patience says; `Endless` waits for ever.
    pub(crate) async fn wire(&self, patience: Patience) -> Result<Wire, Status> {
        let until = match patience {
            Patience::Endless => None,
            _ => Some(self.deadline(patience)),
        };
        let mut tried = 0;
        loop {
            match self.dial(until).await {
                Ok(wire) => return Ok(wire),
                Err(status) => self.pass_over(&status, &mut tried, until).await?,
            }
        }
    }

    /// Connects to the endpoint whose turn it is, and tries no other; Unavailable says why not.
    pub(crate) async fn reach(&self) -> Result<(), Status> {
        self.dial(Some(self.deadline(Patience::Command))).await.map(drop)
    }

    /// Makes a call, at as many endpoints as it may.
    async fn call<T>(
        &self,
        kind: Kind,
        patience: Patience,
        call: impl Fn(Wire) -> Answer<T>,
    ) -> Result<T, Status> {
        let until = self.deadline(patience);
        let mut tried = 0;
        loop {
            let status = match self.dial(Some(until)).await {
                Err(status) => status,
                Ok(wire) => {
                    let answer = call(wire);
                    let answer = match patience {
                        Patience::Endless => answer.await,
                        _ => timeout_at(until, answer).await.unwrap_or_else(|_| Err(too_late())),
                    };
                    match answer {
                        Ok(answer) => return Ok(answer.into_inner()),
                        Err(status) if kind == Kind::Write => return Err(status),
                        Err(status) => status,
                    }
                }
            };
            self.pass_over(&status, &mut tried, Some(until)).await?;
        }
    }

    /// Turns to the next endpoint after an Unavailable; any other error is final.
    async fn pass_over(
        &self,
        status: &Status,
        tried: &mut usize,
        until: Option<Instant>,
    ) -> Result<(), Status> {
        if status.code() != Code::Unavailable {
            return Err(status.clone());
        }
        self.debug(|| words(status));
        self.current.fetch_add(1, Ordering::Relaxed);
        *tried += 1;
        if tried.is_multiple_of(self.endpoints.len()) {
            let next = Instant::now() + PAUSE;
            if until.is_some_and(|until| until < next) {
                if let Some(until) = until {
                    sleep_until(until).await;
                }
                // A person is told why; a script hears what etcdctl says.
                if io::stderr().is_terminal() {
                    complain(&format!("no answer: {}", status.message()));
                }
                return Err(too_late());
            }
            sleep_until(next).await;
        }
        Ok(())
    }

    fn deadline(&self, patience: Patience) -> Instant {
        Instant::now()
            + match patience {
                // What has no deadline once connected has one for connecting.
                Patience::Command | Patience::Endless => self.global.command_timeout,
                Patience::For(time) => time,
            }
    }

    /// Connects to the endpoint whose turn it is; Unavailable if that fails.
    async fn dial(&self, until: Option<Instant>) -> Result<Wire, Status> {
        let turn = self.current.load(Ordering::Relaxed) % self.endpoints.len();
        let endpoint = &self.endpoints[turn];
        let mut open = self.open.lock().await;
        if let Some(wire) = open.get(endpoint) {
            return Ok(wire.clone());
        }
        let connected = Instant::now() + self.global.dial_timeout;
        let by = until.map_or(connected, |until| until.min(connected));
        let channel = timeout_at(by, connect(endpoint, &self.global)).await;
        let channel = channel
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
            .map_err(|why| Status::unavailable(format!("{endpoint}: {why}")))?;
        let token = match &self.user {
            None => Token::default(),
            Some((name, password)) => {
                let login = log_in(channel.clone(), name, password);
                timeout_at(until.unwrap_or(connected), login)
                    .await
                    .unwrap_or_else(|_| Err(too_late()))?
            }
        };
        let wire = InterceptedService::new(channel, token);
        open.insert(endpoint.clone(), wire.clone());
        self.debug(|| format!("connected to {endpoint}"));
        Ok(wire)
    }

    /// Forgets the open connections, after a stream over one of them broke.
    pub(crate) async fn hang_up(&self) {
        self.open.lock().await.clear();
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    fn debug(&self, line: impl FnOnce() -> String) {
        if self.global.debug {
            complain(&line());
        }
    }
}

/// What Go's client says when time is up.
fn too_late() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

async fn connect(endpoint: &str, global: &Global) -> Result<Channel, String> {
    let url =
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    Endpoint::from_shared(url)
        .map_err(|error| error.to_string())?
        .http2_keep_alive_interval(global.keepalive_time.max(Duration::from_secs(1)))
        .keep_alive_timeout(global.keepalive_timeout)
        .connect()
        .await
        .map_err(|error| {
            let mut why: &dyn std::error::Error = &error;
            while let Some(below) = why.source() {
                why = below;
            }
            why.to_string()
        })
}

async fn log_in(channel: Channel, name: &str, password: &str) -> Result<Token, Status> {
    let question = pb::AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    match AuthClient::new(channel).authenticate(question).await {
        Ok(answer) => {
            let token = answer.into_inner().token.parse();
            Ok(Token(Some(token.map_err(|_| Status::internal("the token is no text"))?)))
        }
        // Where nobody is asked for a name, giving one does no harm.
        Err(status) if status.message() == "etcdserver: authentication is not enabled" => {
            Ok(Token::default())
        }
        Err(status) => Err(status),
    }
}

/// A client for watches.
pub(crate) fn watches(wire: Wire) -> WatchClient<Wire> {
    WatchClient::new(wire).max_decoding_message_size(usize::MAX)
}

/// A client for leases' keep-alive streams.
pub(crate) fn leases(wire: Wire) -> LeaseClient<Wire> {
    LeaseClient::new(wire)
}

/// A client for snapshots.
pub(crate) fn maintenance(wire: Wire) -> MaintenanceClient<Wire> {
    MaintenanceClient::new(wire).max_decoding_message_size(usize::MAX)
}
