//! More that can be broken: disks, clocks, processes and links, each for a time or until it is
//! lifted; and what is broken so now.

use std::rc::Rc;

use lab_protocol::{
    Command, Damage, Fault, Kinds, Link, LinkCondition, Mangling, MemberFile, MemberNo,
};
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use super::Action;

/// What the part shows.
#[derive(Clone, PartialEq, Properties)]
pub struct FaultsProps {
    /// The members.
    pub members: Vec<MemberNo>,
    /// The member that is meant.
    pub selected: Option<MemberNo>,
    /// The faults that act, oldest first.
    pub active: Rc<Vec<Fault>>,
    /// Why no command is accepted, or nothing.
    pub closed: Option<&'static str>,
    /// What a person wants.
    pub on_action: Callback<Action>,
}

/// A fault that can be chosen: its name, what its amount is called (empty: it has none), and the
/// usual one.
struct Choice {
    name: &'static str,
    amount: &'static str,
    usual: u32,
    make: Make,
}

enum Make {
    Member(fn(MemberNo, u32) -> Command),
    Link(fn(Link, u32) -> Command),
}

fn inject(fault: Fault) -> Command {
    Command::Inject { fault }
}

fn set(link: Link, condition: LinkCondition) -> Command {
    Command::SetLink { link, condition }
}

fn damage(member: MemberNo, file: MemberFile, damage: Damage) -> Command {
    Command::DamageMember { member, file, damage }
}

fn mangle(link: Link, how: Mangling, percent: u32) -> Command {
    let percent = u8::try_from(percent).unwrap_or(100);
    set(link, LinkCondition::Mangled { how, percent, only: Kinds::Any })
}

/// Every one, members' before links'.
const CHOICES: [Choice; 28] = [
    Choice {
        name: "Slow fsync",
        amount: "ms longer",
        usual: 100,
        make: Make::Member(|member, millis| inject(Fault::SlowSync { member, millis })),
    },
    Choice {
        name: "Stuck fsync",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| inject(Fault::StuckSync { member })),
    },
    Choice {
        name: "Failing fsync",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| inject(Fault::FailingSync { member })),
    },
    Choice {
        name: "Full disk",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| inject(Fault::FullDisk { member })),
    },
    Choice {
        name: "Read-only disk",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| inject(Fault::ReadOnlyDisk { member })),
    },
    Choice {
        name: "Starved process",
        amount: "% of the time",
        usual: 20,
        make: Make::Member(|member, percent| {
            inject(Fault::Starved { member, percent: u8::try_from(percent).unwrap_or(0) })
        }),
    },
    Choice {
        name: "Restarting",
        amount: "ms each turn",
        usual: 1_500,
        make: Make::Member(|member, millis| {
            inject(Fault::Restarting { member, up_millis: millis, down_millis: millis })
        }),
    },
    Choice {
        name: "Drifting clock",
        amount: "% of its rate",
        usual: 50,
        make: Make::Member(|member, percent| {
            inject(Fault::DriftingClock { member, permille: percent.saturating_mul(10) })
        }),
    },
    Choice {
        name: "Frozen clock",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| inject(Fault::FrozenClock { member })),
    },
    Choice {
        name: "Grant ticks",
        amount: "ticks",
        usual: 1,
        make: Make::Member(|member, ticks| Command::GrantTicks { member, ticks }),
    },
    Choice {
        name: "Campaign now",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| Command::Campaign { member }),
    },
    Choice {
        name: "Jump of the wall clock",
        amount: "s ahead",
        usual: 3_600,
        make: Make::Member(|member, seconds| Command::JumpClock {
            member,
            millis: i64::from(seconds) * 1_000,
        }),
    },
    Choice {
        name: "Stop in order",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| Command::Stop { member }),
    },
    Choice {
        name: "Flip bits of its log",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| damage(member, MemberFile::Log, Damage::BitFlip)),
    },
    Choice {
        name: "Cut off its log's end",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| damage(member, MemberFile::Log, Damage::Truncate)),
    },
    Choice {
        name: "Flip bits of its state",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| damage(member, MemberFile::State, Damage::BitFlip)),
    },
    Choice {
        name: "Cut off its state's end",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| damage(member, MemberFile::State, Damage::Truncate)),
    },
    Choice {
        name: "Flip bits of its snapshot",
        amount: "",
        usual: 0,
        make: Make::Member(|member, _| damage(member, MemberFile::Snapshot, Damage::BitFlip)),
    },
    Choice {
        name: "Flapping link",
        amount: "ms each turn",
        usual: 400,
        make: Make::Link(|link, millis| {
            inject(Fault::Flapping { link, up_millis: millis, down_millis: millis })
        }),
    },
    Choice {
        name: "Hold messages",
        amount: "",
        usual: 0,
        make: Make::Link(|link, _| set(link, LinkCondition::Held)),
    },
    Choice {
        name: "Delay messages",
        amount: "ms",
        usual: 100,
        make: Make::Link(|link, millis| Command::Delay { link, millis, jitter_millis: millis / 4 }),
    },
    Choice {
        name: "Throttle",
        amount: "bytes a second",
        usual: 2_000,
        make: Make::Link(|link, bytes_per_second| {
            set(link, LinkCondition::Throttled { bytes_per_second })
        }),
    },
    Choice {
        name: "Refuse connections",
        amount: "",
        usual: 0,
        make: Make::Link(|link, _| set(link, LinkCondition::Refused)),
    },
    Choice {
        name: "Reset connections",
        amount: "",
        usual: 0,
        make: Make::Link(|link, _| Command::ResetLink { link }),
    },
    Choice {
        name: "Half open",
        amount: "",
        usual: 0,
        make: Make::Link(|link, _| set(link, LinkCondition::HalfOpen)),
    },
    Choice {
        name: "Drop messages",
        amount: "%",
        usual: 30,
        make: Make::Link(|link, percent| mangle(link, Mangling::Drop, percent)),
    },
    Choice {
        name: "Repeat messages",
        amount: "%",
        usual: 30,
        make: Make::Link(|link, percent| mangle(link, Mangling::Duplicate, percent)),
    },
    Choice {
        name: "Mix up messages",
        amount: "%",
        usual: 30,
        make: Make::Link(|link, percent| mangle(link, Mangling::Reorder, percent)),
    },
];

/// What a choice asks for, and for how long, if not until it is lifted.
fn command(choice: &Choice, from: MemberNo, to: MemberNo, amount: u32, seconds: u32) -> Command {
    let command = match choice.make {
        Make::Member(make) => make(from, amount),
        Make::Link(make) => make(Link { from, to }, amount),
    };
    // What is done once does not last.
    let lasts = matches!(
        command,
        Command::Inject { .. }
            | Command::SetLink { .. }
            | Command::Delay { .. }
            | Command::Stop { .. }
    );
    match seconds {
        seconds if seconds > 0 && lasts => {
            Command::For { millis: u64::from(seconds) * 1_000, command: Box::new(command) }
        }
        _ => command,
    }
}

/// The part: a choice to make, and what acts.
#[component]
pub fn Faults(props: &FaultsProps) -> Html {
    let FaultsProps { members, selected, active, closed, on_action } = props;
    let chosen = use_state(|| 0_usize);
    let (to, amount, seconds) = (use_node_ref(), use_node_ref(), use_node_ref());
    let choice = &CHOICES[*chosen];
    let from = selected.unwrap_or(MemberNo(1));
    let is_of_link = matches!(choice.make, Make::Link(_));
    let choose = {
        let chosen = chosen.clone();
        move |event: Event| {
            let select = event.target_dyn_into::<HtmlSelectElement>();
            let place = select.and_then(|select| usize::try_from(select.selected_index()).ok());
            chosen.set(place.unwrap_or(0).min(CHOICES.len() - 1));
        }
    };
    let go = {
        let (to, amount, seconds) = (to.clone(), amount.clone(), seconds.clone());
        let (act, chosen, closed) = (on_action.clone(), *chosen, closed.is_some());
        move |_: MouseEvent| {
            if closed {
                return;
            }
            let choice = &CHOICES[chosen];
            let number = |field: &NodeRef, usual: u32| {
                let field = field.cast::<HtmlInputElement>();
                field.and_then(|field| field.value().parse().ok()).unwrap_or(usual)
            };
            let to = to.cast::<HtmlSelectElement>().and_then(|to| to.value().parse().ok());
            let (amount, seconds) = (number(&amount, choice.usual), number(&seconds, 0));
            let to = to.unwrap_or(MemberNo::CLIENTS);
            act.emit(Action::Ask(command(choice, from, to, amount, seconds)));
        }
    };
    let options = CHOICES.iter().enumerate().map(|(place, choice)| {
        html! { <option selected={place == *chosen}>{choice.name}</option> }
    });
    let others = members.iter().filter(|member| **member != from).enumerate();
    let others = others.map(|(place, member)| {
        html! {
            <option value={member.to_string()} selected={place == 0}>
                {format!("{from} to {member}")}
            </option>
        }
    });
    let lines = active.iter().map(|&fault| {
        let lift = on_action.reform(move |_: MouseEvent| Action::Ask(Command::Lift { fault }));
        html! {
            <li>{fault.to_string()}
                <button type="button" class="button" onclick={lift}
                    aria-label={format!("Lift: {fault}")} data-lift={fault.kind()}>{"Lift"}</button>
            </li>
        }
    });
    let count = match active.len() {
        0 => String::new(),
        count => format!(": {count} act"),
    };
    html! {
        <details class="more-faults">
            <summary>{"Disks, clocks, messages"}<b>{count}</b></summary>
            <ul class="acting" aria-label="Faults that act">{for lines}</ul>
            <div class="one">
                <select aria-label="Fault" onchange={choose} data-choice="fault">{for options}</select>
                if is_of_link {
                    <select aria-label="Link" ref={to}>{for others}</select>
                } else {
                    <span class="sub">{format!("at {from}")}</span>
                }
            </div>
            <div class="amounts">
                if !choice.amount.is_empty() {
                    <label>
                        <input type="number" min="0" class="field" ref={amount} key={*chosen}
                            value={choice.usual.to_string()} data-choice="amount" />
                        {format!(" {}", choice.amount)}
                    </label>
                }
                <label>
                    <input type="number" min="0" max="3600" class="field" ref={seconds} value="0"
                        data-choice="seconds" />
                    {" s (0: until lifted)"}
                </label>
            </div>
            <button type="button" class="button" onclick={go} data-choice="go"
                aria-disabled={closed.is_some().to_string()}>{"Inject"}</button>
        </details>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_asked_for_as_it_was_made() {
        let (m1, m2) = (MemberNo(1), MemberNo(2));
        let named = |name: &str| CHOICES.iter().find(|choice| choice.name == name).expect("there");
        let slow = inject(Fault::SlowSync { member: m1, millis: 7 });
        assert_eq!(command(named("Slow fsync"), m1, m2, 7, 0), slow);
        let lasting = Command::For { millis: 3_000, command: Box::new(slow) };
        assert_eq!(command(named("Slow fsync"), m1, m2, 7, 3), lasting);
        let link = Link { from: m1, to: m2 };
        let held = set(link, LinkCondition::Held);
        assert_eq!(command(named("Hold messages"), m1, m2, 0, 0), held);
        // What is done once does not last.
        let reset = Command::ResetLink { link };
        assert_eq!(command(named("Reset connections"), m1, m2, 0, 9), reset);
    }
}
