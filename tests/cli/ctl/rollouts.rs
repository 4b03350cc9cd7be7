//! `ctl rollout`: another version from a shell.

use ringmaster::api::{ListPage, Rollout, RolloutState};

use super::{failure, json, run, start_with, text};

#[actix_web::test]
async fn rollout_that_is_waited_for_says_how_it_ended() {
    // Long enough for the rollout that is paused to be under way until then.
    let monitor = ["--rollout-monitor", "1s", "--start-timeout", "2s"];
    let balancer = start_with(&monitor).await;
    assert_eq!(
        text(&balancer, &["rollout", "status"]).await,
        "there has been no rollout\n"
    );
    let wait = ["rollout", "start", "--env", "COLOUR=blue", "--wait"];
    let said = text(&balancer, &wait).await;
    assert!(
        said.starts_with("rollout 1 is trial, 0 of 3 replicas"),
        "{said}"
    );
    assert!(
        said.ends_with("rollout 1 is done: env: COLOUR is new\n"),
        "{said}"
    );

    let broken = ["rollout", "start", "--command", "sleep 600", "--wait"];
    let output = run(&balancer, &broken).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("rollout 2 is rolled back: "), "{said}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("rollout 2 was not done"), "{error}");

    let rollouts: ListPage<Rollout> = json(&balancer, &["rollout", "status"]).await;
    let states: Vec<_> = rollouts.items.iter().map(|rollout| rollout.state).collect();
    assert_eq!(states, [RolloutState::Done, RolloutState::RolledBack]);
    // The last one that was done.
    let undone: Rollout = json(&balancer, &["rollout", "undo"]).await;
    assert_eq!(undone.changes, ["env: COLOUR is gone"]);
    let paused: Rollout = json(&balancer, &["rollout", "pause"]).await;
    assert_eq!((paused.id, paused.state), (3, RolloutState::Paused));
    let said = text(&balancer, &["rollout", "resume", "3"]).await;
    assert!(said.starts_with("rollout 3 is "), "{said}");
}

#[actix_web::test]
async fn canary_that_is_waited_for_is_compared_and_promoted() {
    let balancer = start_with(&["--rollout-monitor", "100ms"]).await;
    let canary = ["--env", "COLOUR=blue", "--canary", "10%", "--wait"];
    let said = text(&balancer, &[&["rollout", "start"][..], &canary].concat()).await;
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("rollout 1 is canary, 0 of 3 replicas"),
        "{said}"
    );
    let said = text(&balancer, &["rollout", "status"]).await;
    for part in [
        "10% of the keys go to the canary (canary-1 ready)",
        "error rate",
        "replicas ",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let promoted: Rollout = json(&balancer, &["rollout", "promote"]).await;
    assert_eq!((promoted.id, promoted.state), (1, RolloutState::Rolling));
}

#[actix_web::test]
async fn rollout_that_is_refused_says_why() {
    let balancer = start_with(&[]).await;
    for (args, said) in [
        (&["rollout", "start"][..], "this changes nothing"),
        (&["rollout", "start", "--image", "x"], "no containers"),
        (
            &["rollout", "start", "--unset-env", "NONE"],
            "no variable NONE",
        ),
        (
            &["rollout", "start", "--canary", "10%"],
            "this changes nothing",
        ),
        (&["rollout", "promote"], "there is no rollout"),
        (&["rollout", "pause"], "there is no rollout"),
        (&["rollout", "undo", "9"], "there is no rollout 9"),
    ] {
        let error = failure(&run(&balancer, args).await);
        assert!(error.contains(said), "{args:?}: {error}");
    }
    for share in ["0%", "101%", "10"] {
        let args = ["rollout", "start", "--env", "A=1", "--canary", share];
        let output = run(&balancer, &args).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("from 0.1% to 50%, such as 10%"), "{error}");
    }
}
