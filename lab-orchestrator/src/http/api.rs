//! REST: the state, the events, commands, members' output, and signing in.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use lab_protocol::{By, Command, LabState, LinkState, MemberNo};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::serve::Door;
use crate::handle::SubmitError;

/// Events in one answer.
const MAX_EVENTS: usize = 10_000;

type Lab = State<Arc<Door>>;

/// What a browser sends to get its cookie.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: String,
}

/// `GET /api/session`: whether this browser is signed in; the guard has seen to it.
pub(super) async fn session() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// `POST /api/session {"token": "…"}`: the cookie for the token.
pub(super) async fn sign_in(State(door): Lab, body: Bytes) -> Response {
    let Ok(SignIn { token }) = serde_json::from_slice(&body) else {
        return wrong(StatusCode::BAD_REQUEST, "send {\"token\": \"…\"}");
    };
    if !door.session.opens(&token) {
        let why = "that is not this run's token; open the URL that raft-lab printed last";
        return wrong(StatusCode::UNAUTHORIZED, why);
    }
    let cookie = [(header::SET_COOKIE, door.session.set_cookie())];
    (StatusCode::NO_CONTENT, cookie).into_response()
}

/// The state as JSON: like [`LabState`], with the links as a list.
#[derive(Serialize)]
struct StateView<'a> {
    seq: u64,
    at_micros: u64,
    now_micros: u64,
    run: &'a str,
    seed: u64,
    engine: &'a str,
    token: &'a str,
    leader: Option<MemberNo>,
    members: &'a std::collections::BTreeMap<MemberNo, lab_protocol::MemberState>,
    configuration: &'a lab_protocol::Configuration,
    links: Vec<&'a LinkState>,
    workload: &'a Option<lab_protocol::WorkloadSpec>,
}

/// `GET /api/state`.
pub(super) async fn state(State(door): Lab) -> Response {
    let state = door.face.journal.state();
    let LabState {
        seq,
        at_micros,
        run,
        seed,
        engine,
        token,
        members,
        configuration,
        links,
        workload,
        ..
    } = &state;
    let view = StateView {
        seq: *seq,
        at_micros: *at_micros,
        now_micros: door.face.journal.clock().now_micros(),
        run,
        seed: *seed,
        engine,
        token,
        leader: state.leader(),
        members,
        configuration,
        links: links.values().collect(),
        workload,
    };
    Json(view).into_response()
}

/// Which events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Those behind this number.
    #[serde(default)]
    after: u64,
}

/// `GET /api/events?after=N`: one event a line, at most ten thousand; ask again for more.
pub(super) async fn events(State(door): Lab, Query(Which { after }): Query<Which>) -> Response {
    match door.face.journal.events_after(after, MAX_EVENTS) {
        Ok(events) => {
            let mut lines = String::new();
            for event in events {
                let line = serde_json::to_string(&*event).expect("every event is JSON");
                lines.push_str(&line);
                lines.push('\n');
            }
            ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
        }
        Err(error) => wrong(StatusCode::GONE, &error.to_string()),
    }
}

/// `POST /api/command`: a [`Command`] as JSON; answers when it has been carried out.
pub(super) async fn command(State(door): Lab, body: Bytes) -> Response {
    let command: Command = match serde_json::from_slice(&body) {
        Ok(command) => command,
        Err(error) => {
            return wrong(StatusCode::BAD_REQUEST, &format!("not a command: {error}"));
        }
    };
    let Some(lab) = &door.face.lab else {
        return wrong(StatusCode::CONFLICT, "this is a recording; nothing can be done to it");
    };
    match lab.submit(By::Call, command).await {
        Ok(id) => Json(json!({ "id": id, "done": true })).into_response(),
        Err(SubmitError::Refused { id, why }) => {
            (StatusCode::CONFLICT, Json(json!({ "id": id, "refused": why }))).into_response()
        }
        Err(error @ SubmitError::Ended) => {
            wrong(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
    }
}

/// `GET /api/members/m1/output`: what its processes printed lately.
pub(super) async fn output(State(door): Lab, Path(member): Path<String>) -> Response {
    let member: MemberNo = match member.parse() {
        Ok(member) => member,
        Err(why) => return wrong(StatusCode::NOT_FOUND, &why),
    };
    let output = door.face.lab.as_ref().and_then(|lab| lab.output(member));
    match output {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        None => wrong(StatusCode::NOT_FOUND, &format!("there is no output of {member} here")),
    }
}

/// Any other path under `/api/`.
pub(super) async fn unknown() -> Response {
    wrong(
        StatusCode::NOT_FOUND,
        "there are /api/session, state, events, command, members/{member}/output and socket",
    )
}

fn wrong(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
