//! Significant children and auto-shutdown: EEP 56.

use cueline::prelude::*;
use cueline::{ChildState, ErrorKind};

use crate::support::{Case, Child, What, otp, until};

fn any(child: &Child, restart: Restart) -> Case {
    let sup = otp(Strategy::OneForOne).auto_shutdown(AutoShutdown::AnySignificant);
    let case = Case::new(sup.child(child.spec().restart(restart).significant()));
    case.counts_are([1, 1, 0, 1]);
    case
}

#[test]
fn otp_significant_transient() {
    let child = Child::new("c1");
    let case = any(&child, Restart::Transient);
    case.crash(&child); // a failure is no end
    case.counts_are([1, 1, 0, 1]);
    let watching = case.watch();
    case.tell("c1", What::Normal);
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

#[test]
fn otp_significant_temporary() {
    for what in [What::Normal, What::Shutdown, What::Panic] {
        let child = Child::new("c1");
        let case = any(&child, Restart::Temporary);
        let watching = case.watch();
        case.tell("c1", what);
        assert_eq!(case.ended(watching), Reason::Shutdown);
    }
}

/// Stopped by hand it has not ended of its own accord.
#[test]
fn otp_significant_stopped_by_hand() {
    let child = Child::new("c1");
    let case = any(&child, Restart::Transient);
    case.sup.stop("c1").wait().unwrap();
    assert_eq!(case.counts(), [1, 0, 0, 1]);
    assert_eq!(case.top.children().unwrap()[0].state, ChildState::Running);
}

#[test]
fn otp_significant_simple() {
    let sup = otp(Strategy::OneForOne).auto_shutdown(AutoShutdown::AllSignificant);
    let (c1, c2) = (Child::new("c1"), Child::new("c2"));
    let significant = |child: &Child| child.spec().restart(Restart::Transient).significant();
    let case = Case::new(sup.child(significant(&c1)).child(significant(&c2)));
    case.counts_are([2, 2, 0, 2]);
    case.tell("c1", What::Normal);
    case.counts_are([2, 1, 0, 2]);
    let watching = case.watch();
    case.tell("c2", What::Normal);
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

/// A bystander's end changes nothing, and who is stopped by a restart has not ended.
#[test]
fn otp_significant_bystander() {
    let sup = otp(Strategy::OneForAll).auto_shutdown(AutoShutdown::AllSignificant);
    let (c1, c2, by) = (Child::new("c1"), Child::new("c2"), Child::new("by"));
    let significant = |child: &Child| child.spec().restart(Restart::Transient).significant();
    let by_spec = by.spec().restart(Restart::Transient);
    let case = Case::new(sup.child(significant(&c1)).child(significant(&c2)).child(by_spec));
    case.counts_are([3, 3, 0, 3]);
    case.crash(&c1); // all are restarted
    case.counts_are([3, 3, 0, 3]);
    assert_eq!((c2.started(), by.started()), (2, 2));
    case.tell("by", What::Normal);
    case.counts_are([3, 2, 0, 3]);
    case.tell("c1", What::Normal);
    case.counts_are([3, 1, 0, 3]);
    let watching = case.watch();
    case.tell("c2", What::Normal);
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

/// The shutdown of a nested supervisor is a normal end of it for the one above.
#[test]
fn otp_significant_escalation() {
    for (restart, ends) in [(Restart::Permanent, false), (Restart::Transient, true)] {
        let child = Child::new("c1");
        let inner = Supervisor::new("inner")
            .auto_shutdown(AutoShutdown::AnySignificant)
            .child(child.spec().restart(Restart::Transient).significant())
            .restart(restart);
        let inner = if ends { inner.significant() } else { inner };
        let sup = otp(Strategy::OneForOne).auto_shutdown(AutoShutdown::AnySignificant).child(inner);
        let case = Case::new(sup);
        case.counts_are([1, 1, 1, 0]);
        let watching = case.watch();
        case.tell("c1", What::Normal);
        if ends {
            assert_eq!(case.ended(watching), Reason::Shutdown);
        } else {
            until("it is there again", || child.started() == 2);
            case.counts_are([1, 1, 1, 0]);
        }
    }
}

#[test]
fn otp_significant_upgrade_never_any_and_back() {
    let child = Child::new("c1");
    let plain = || child.spec().restart(Restart::Transient);
    let case = Case::new(otp(Strategy::OneForOne).child(plain()));
    case.counts_are([1, 1, 0, 1]);
    let any = || otp(Strategy::OneForOne).auto_shutdown(AutoShutdown::AnySignificant);
    case.sup.reconfigure(any().child(plain().significant())).unwrap();
    case.sup.reconfigure(otp(Strategy::OneForOne).child(plain())).unwrap();
    case.tell("c1", What::Normal);
    case.counts_are([1, 0, 0, 1]);
    case.sup.restart("c1").wait().unwrap();
    case.sup.reconfigure(any().child(plain().significant())).unwrap();
    let watching = case.watch();
    case.tell("c1", What::Normal);
    assert_eq!(case.ended(watching), Reason::Shutdown);
}

#[test]
fn otp_significant_specs_that_are_refused() {
    let child = Child::new("c1");
    let refused = |sup: Supervisor| {
        let error = Runtime::builder("otp").supervise(sup).start().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    };
    let transient = || child.spec().restart(Restart::Transient).significant();
    let never = refused(otp(Strategy::OneForOne).child(transient()));
    assert!(never.contains("never shuts down"), "{never}");
    let any = otp(Strategy::OneForOne).auto_shutdown(AutoShutdown::AnySignificant);
    let permanent = refused(any.child(child.spec().significant()));
    assert!(permanent.contains("permanent"), "{permanent}");
    let pool = Pool::new("pool", transient());
    let pool = refused(otp(Strategy::OneForOne).child(pool));
    assert!(pool.contains("pool"), "{pool}");
}

/// The end of a child that is not significant is nothing to its supervisor, forgotten or not.
#[test]
fn otp_significant_temporary_bystander() {
    for auto in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        let (c1, by) = (Child::new("c1"), Child::new("by"));
        let significant = c1.spec().restart(Restart::Transient).significant();
        let sup = otp(Strategy::OneForOne).auto_shutdown(auto).child(significant);
        let case = Case::new(sup.child(by.spec().restart(Restart::Temporary)));
        case.counts_are([2, 2, 0, 2]);
        case.tell("by", What::Normal);
        case.counts_are([1, 1, 0, 1]);
        assert_eq!(case.top.children().unwrap()[0].state, ChildState::Running);
    }
}

#[test]
fn otp_significant_child_is_not_added_where_nothing_shuts_down() {
    let case = Case::new(otp(Strategy::OneForOne));
    let significant = Child::new("c1").spec().restart(Restart::Transient).significant();
    assert_eq!(case.sup.add(significant).wait().unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(case.counts(), [0, 0, 0, 0]);
}
