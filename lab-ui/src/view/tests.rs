//! The panels as HTML, rendered on the host.

use std::rc::Rc;

use lab_protocol::{
    Command, CommandId, Link, LinkCondition, MemberNo, Said as Words, Standing, WorkloadSpec,
    terminal::{LineEnd, TerminalLine},
};
use node_protocol::Role;
use yew::prelude::*;

use super::{
    Deed, Deeds,
    break_panel::{BreakPanel, BreakProps, PartitionEditor, PartitionProps},
    clients::{Clients, ClientsProps},
    links::{Links, LinksProps},
    recovery::{Recovery, RecoveryProps},
    right::{Counters, CountersProps, StoryItem, StoryItemProps},
    states::NoSession,
    tape_bar::{TapeBar, TapeBarProps},
    terminal::{Terminal, TerminalProps},
    top::{Top, TopProps},
};
use crate::{
    model::{
        Connection,
        recovery::{ClusterCard, FileCard, LostCard, RecoverySummary, SeatCard, SeatLook},
        summary::{Condition, LinkSummary, MemberSummary, ResultSummary, Told},
    },
    scene::Theme,
};

/// Renders a component; nothing in these waits for anything outside of them.
fn render<C>(props: fn() -> C::Properties) -> String
where
    C: BaseComponent,
{
    let renderer = yew::ServerRenderer::<C>::with_props(props).hydratable(false);
    let mut rendering = Box::pin(renderer.render());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::time::Instant::now() < deadline {
        if let std::task::Poll::Ready(html) = rendering.as_mut().poll(&mut context) {
            return html;
        }
        std::thread::yield_now();
    }
    panic!("the component did not render");
}

fn member(n: u8, condition: Condition) -> MemberSummary {
    MemberSummary {
        no: MemberNo(n),
        condition,
        standing: Standing::Voter,
        role: Some((Role::Follower, 7)),
        id: None,
        rows: vec![("Role", "follower, term 7".into())],
        label: format!("m{n}: follower, term 7; up, pid 4"),
        isolated: false,
    }
}

fn break_props(closed: Option<&'static str>) -> BreakProps {
    let members = vec![
        member(1, Condition::Up),
        member(2, Condition::Down { wiped: false }),
        member(3, Condition::Up),
    ];
    BreakProps {
        members: Rc::new(members),
        selected: Some(MemberNo(1)),
        closed,
        faults: true,
        editing: false,
        deeds: Deeds::Break,
        refused: String::new(),
        on_action: Callback::noop(),
    }
}

#[test]
fn a_button_that_cannot_be_pressed_says_why() {
    let html = render::<BreakPanel>(|| break_props(None));
    assert!(html.contains("Restart: it runs. Wipe disk: crash it first."), "{html}");
    let disabled = html.matches("aria-disabled=\"true\"").count();
    assert_eq!(disabled, 2, "restart and wipe: {html}");
    assert!(html.contains("aria-checked=\"true\" tabindex=\"0\" data-member=\"m1\""), "{html}");
}

#[test]
fn in_a_recording_nothing_can_be_broken() {
    let html = render::<BreakPanel>(|| break_props(Some("this is a recording")));
    assert!(html.contains("This is a recording."), "{html}");
    assert_eq!(html.matches("aria-disabled=\"true\"").count(), 8, "{html}");
}

#[test]
fn deeds_are_what_the_process_allows() {
    let up = member(1, Condition::Up);
    let paused = member(1, Condition::Paused);
    let down = member(1, Condition::Down { wiped: false });
    let wiped = member(1, Condition::Down { wiped: true });
    let one = MemberNo(1);
    for (deed, of, command) in [
        (Deed::Crash, &up, Some(Command::Crash { member: one })),
        (Deed::Crash, &paused, Some(Command::Crash { member: one })),
        (Deed::Crash, &down, None),
        (Deed::Pause, &up, Some(Command::Pause { member: one })),
        (Deed::Pause, &paused, Some(Command::Resume { member: one })),
        (Deed::Restart, &up, None),
        (Deed::Restart, &wiped, Some(Command::Restart { member: one })),
        (Deed::Wipe, &up, None),
        (Deed::Wipe, &down, Some(Command::Wipe { member: one })),
        (Deed::Wipe, &wiped, None),
    ] {
        let found = deed.command(Some(of)).ok().flatten();
        assert_eq!(found, command, "{deed:?} of {:?}", of.condition);
    }
    assert_eq!(Deed::Pause.name(Some(&paused)), "Resume");
}

#[test]
fn the_members_change_as_the_configuration_allows() {
    let voter = member(1, Condition::Up);
    let leads = MemberSummary { role: Some((Role::Leader, 7)), ..voter.clone() };
    let learner = MemberSummary { standing: Standing::Learner, ..voter.clone() };
    let paused = member(1, Condition::Paused);
    let removed = MemberSummary {
        standing: Standing::Removed,
        ..member(1, Condition::Down { wiped: false })
    };
    let one = MemberNo(1);
    let add = |learner| Ok(Some(Command::AddMember { learner }));
    let promote = Ok(Some(Command::PromoteMember { member: one }));
    let transfer = Ok(Some(Command::TransferLeadership { to: one }));
    let remove = Ok(Some(Command::RemoveMember { member: one }));
    for (deed, of, command) in [
        (Deed::AddLearner, None, add(true)),
        (Deed::AddMember, Some(&removed), add(false)),
        (Deed::Promote, None, Err("no member is selected")),
        (Deed::Promote, Some(&learner), promote),
        (Deed::Promote, Some(&voter), Err("it has a vote")),
        (Deed::Transfer, Some(&voter), transfer),
        (Deed::Transfer, Some(&leads), Err("it leads")),
        (Deed::Transfer, Some(&learner), Err("a learner cannot lead")),
        (Deed::Transfer, Some(&paused), Err("it is paused")),
        (Deed::Remove, Some(&leads), remove.clone()),
        (Deed::Remove, Some(&paused), remove),
        (Deed::Remove, Some(&removed), Err("it was removed, for ever")),
        (Deed::Restart, Some(&removed), Err("it was removed, for ever")),
        (Deed::Wipe, Some(&removed), Ok(Some(Command::Wipe { member: one }))),
    ] {
        assert_eq!(deed.command(of), command, "{deed:?} of {of:?}");
    }
    let keys: std::collections::BTreeSet<_> = Deed::all().map(Deed::key).collect();
    assert_eq!(keys.len(), Deed::all().count(), "each has a key of its own");
}

#[test]
fn a_refused_change_is_said_in_the_words_of_the_member() {
    let html = render::<BreakPanel>(|| BreakProps {
        deeds: Deeds::Members,
        refused: "m2 says: etcdserver: too many learner members in cluster".into(),
        ..break_props(None)
    });
    let said = "Not done: m2 says: etcdserver: too many learner members in cluster.";
    assert!(html.contains(said), "{html}");
    assert!(html.contains("Promote: it has a vote."), "{html}");
    assert!(html.contains("aria-keyshortcuts=\"L\""), "{html}");
}

#[test]
fn the_editor_of_partitions_begins_with_the_leader_alone() {
    let html = render::<PartitionEditor>(|| PartitionProps {
        members: (1..=3).map(MemberNo).collect(),
        leader: Some(MemberNo(3)),
        closed: None,
        on_action: Callback::noop(),
    });
    assert!(html.contains("Side B keeps a majority."), "{html}");
    assert!(html.contains("aria-pressed=\"true\" aria-label=\"m3 on side A\""), "{html}");
}

#[test]
fn results_say_ok_failed_and_unknown_in_words() {
    let html = render::<Clients>(|| {
        let told = [Told::Ok, Told::Failed, Told::Unknown];
        let results = (1..).zip(told).map(|(op, told)| ResultSummary {
            op,
            what: "put greeting hello".into(),
            member: MemberNo(1),
            told,
            detail: "2.1 ms".into(),
        });
        ClientsProps {
            members: vec![MemberNo(1)],
            workload: WorkloadSpec::default(),
            results: Rc::new(results.collect()),
            closed: None,
            on_action: Callback::noop(),
        }
    });
    for word in [">ok<", ">failed<", ">unknown<", ">running<", ">50/s<"] {
        assert!(html.contains(word), "{word} in {html}");
    }
}

#[test]
fn every_link_has_a_button_that_says_what_it_does() {
    let html = render::<Links>(|| {
        let link = |from, to, condition| LinkSummary {
            link: Link { from: MemberNo(from), to: MemberNo(to) },
            condition,
            sent: 5,
            lost: 1,
        };
        LinksProps {
            members: vec![MemberNo(1), MemberNo(2)],
            links: Rc::new(vec![link(1, 2, LinkCondition::Open), link(2, 1, LinkCondition::Cut)]),
            closed: None,
            on_action: Callback::noop(),
        }
    });
    assert!(html.contains("aria-label=\"m1 to m2: open, press to cut it\""), "{html}");
    assert!(html.contains("aria-label=\"m2 to m1: cut, press to heal it\""), "{html}");
    assert!(html.contains("1 of 2 cut"), "{html}");
}

#[test]
fn the_bar_under_the_tape_says_how_far_it_looks_back() {
    let html = render::<TapeBar>(|| TapeBarProps {
        label: "Tape".into(),
        now_deciseconds: 600,
        back_micros: 12_000_000,
        oldest_micros: 60_000_000,
        held: true,
        span_seconds: 30,
        connection: Connection::Live,
        live: true,
        on_action: Callback::noop(),
    });
    assert!(html.contains("12 s before now; the ring stays live"), "{html}");
    assert!(html.contains("Back to now") && html.contains(">48.0 s<"), "{html}");
}

#[test]
fn the_top_bar_tells_live_from_replay_and_from_silence() {
    fn top(connection: Connection, may_command: bool) -> TopProps {
        TopProps {
            drill: None,
            run: "r".into(),
            cluster: Some(0xcdf8_1819_4e3a_0001),
            connection,
            may_command,
            theme: Theme::Light,
            drawer: false,
            terminal: false,
            on_action: Callback::noop(),
        }
    }
    assert!(render::<Top>(|| top(Connection::Live, true)).contains("</i>Live<"));
    assert!(render::<Top>(|| top(Connection::Live, false)).contains("</i>Replay<"));
    assert!(render::<Top>(|| top(Connection::Lost, true)).contains("</i>Reconnecting<"));
    assert!(render::<Top>(|| top(Connection::Live, true)).contains("cluster cdf8 1819 4e3a"));
}

#[test]
fn a_line_of_the_story_has_its_time_and_its_names() {
    let html = render::<StoryItem>(|| StoryItemProps {
        class: "fault-line",
        at: 18_204_000,
        text: "You crashed m3, the leader of term 7.".into(),
    });
    assert!(html.contains("<time>18.20</time>"), "{html}");
    assert!(html.contains("<b>m3</b>") && html.contains("tag term0\">term 7</span>"), "{html}");
}

#[test]
fn two_leaders_of_one_term_are_said_in_the_colour_of_harm() {
    let html = render::<Counters>(|| CountersProps { writes: (912, 0, 0), leaders: 2 });
    assert!(html.contains("class=\"fault\">2<"), "{html}");
    assert!(!html.contains("unknown"), "{html}");
}

#[test]
fn without_a_session_the_page_says_what_to_open() {
    let html = render::<NoSession>(|| ());
    assert!(html.contains("Open the link that the lab printed"), "{html}");
}

#[test]
fn a_line_of_the_terminal_says_what_came_of_it() {
    let html = render::<Terminal>(|| {
        let said = |code| {
            let (out, errors) = ("a\n1\n".into(), "<no>\n".into());
            Some(LineEnd::Said(Words { id: CommandId(1), out, errors, code }))
        };
        let refused = Some(LineEnd::Refused("there is no `bash` here".into()));
        let ends = [None, said(0), said(3), refused, Some(LineEnd::Done)];
        let line = |(id, end)| TerminalLine {
            id: CommandId(id),
            at_micros: 1,
            line: "raft-ctl get a".into(),
            end,
        };
        TerminalProps {
            lines: Rc::new((1..).zip(ends).map(line).collect()),
            names: Rc::new(Vec::new()),
            closed: None,
            on_action: Callback::noop(),
        }
    });
    for expected in [
        "under way",
        "<pre>a\n1</pre>",
        ">exit 0<",
        "&lt;no&gt;",
        ">exit 3<",
        "not done: there is no `bash` here",
        ">started<",
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
}

#[test]
fn the_terminal_is_a_log_and_tells_its_names() {
    let html = render::<Terminal>(|| TerminalProps {
        lines: Rc::new(Vec::new()),
        names: Rc::new(vec![("$M1".into(), "127.0.0.1:2379".into())]),
        closed: Some("this is a recording"),
        on_action: Callback::noop(),
    });
    assert!(html.contains("role=\"log\""), "{html}");
    assert!(html.contains("<dt>$M1</dt><dd>127.0.0.1:2379</dd>"), "{html}");
    assert!(html.contains("placeholder=\"this is a recording\""), "{html}");
}

#[test]
fn the_three_cards_of_a_recovery_say_who_is_who() {
    let html = render::<Recovery>(|| {
        let seat = SeatCard {
            no: MemberNo(2),
            id: Some(0xfd42_0000_0000_0000),
            what: "disk destroyed".into(),
            detail: "process gone".into(),
            look: SeatLook::Destroyed,
            term: 0,
        };
        let file = FileCard {
            name: "a.db".into(),
            hash: "9c330b85".into(),
            integrity: ("verified".into(), "holds"),
            rows: vec![("Revision", "1 204".into())],
            restore: Err("m1 still runs: stop or crash it first".into()),
            lost: LostCard {
                title: "Acknowledged, and not in this snapshot: 46 writes".into(),
                any: true,
                rows: vec![("1 205".into(), "k/0172".into(), "acked 41.3 s".into())],
                more: 45,
                holder: Some(("m1 still holds them.".into(), " Did you look?".into())),
            },
        };
        RecoveryProps {
            recovery: Rc::new(RecoverySummary {
                old: Some(ClusterCard { id: 0xcdf8_1819_0000_0000, members: vec![seat] }),
                new: None,
                files: vec![file],
                fogged: false,
            }),
            closed: None,
            on_action: Callback::noop(),
        }
    });
    for expected in ["cdf8 1819", "fd42", "disk destroyed", ">verified<", "Not begun."] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
    assert!(html.contains("and 45 before them"), "{html}");
    assert!(html.contains("<b>m1</b> still holds them.</b> Did you look?"), "{html}");
    assert!(html.contains("Restore: m1 still runs: stop or crash it first."), "{html}");
    assert_eq!(html.matches("aria-disabled=\"true\"").count(), 1, "{html}");
}
