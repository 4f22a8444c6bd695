//! The program by its arguments, without a browser.

use std::process::Command;

#[test]
fn a_check_that_is_not_there_is_refused_with_those_that_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_lab-ui-e2e"))
        .arg("elections")
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("find the check `elections`; there are leader, seats,"), "{said}");
}
