//! What a dashboard is shown of workflows.

use cueline::prelude::*;

use crate::world::{World, does, obliging, work};

#[test]
fn begun_ended_waiting_and_how_long_steps_take() {
    let both = does(|begin, steps| async move {
        steps.call(work("first")).await?;
        match begin.order {
            0 => steps.ask_person::<u32>("why?").await.map(|_| String::new()),
            1 => Err(Failure::permanent("no")),
            _ => Ok(String::new()),
        }
    });
    let world = World::served(both, obliging);
    world.runtime.publish_all((0..5).map(|order| crate::world::Begin { order })).wait().unwrap();
    world.idle();
    let metrics = world.runtime.metrics().unwrap();
    let of = |line: &str| {
        let found = metrics
            .lines()
            .find(|of| of.starts_with(line))
            .unwrap_or_else(|| panic!("{line}: {metrics}"));
        found.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let labels = r#"mediator="domain",workflow="does""#;
    let started = format!("cueline_workflows_started_total{{{labels}}}");
    assert!((of(&started) - 5.0).abs() < 0.1);
    for (outcome, count) in [("completed", 3.0), ("failed", 1.0), ("cancelled", 0.0)] {
        let ended = format!("cueline_workflows_ended_total{{{labels},outcome=\"{outcome}\"}}");
        assert!((of(&ended) - count).abs() < 0.1, "{outcome}: {}", of(&ended));
    }
    assert!((of("cueline_workflows{mediator=\"domain\",state=\"running\"}") - 1.0).abs() < 0.1);
    assert!(of("cueline_workflow_oldest_seconds{mediator=\"domain\"}") >= 0.0);
    let took = "cueline_workflow_step_seconds";
    assert!(of(&format!("{took}_count{{mediator=\"domain\"}}")) >= 1.0);
    assert!(of(&format!("{took}_sum{{mediator=\"domain\"}}")) > 0.0);
    world.stop();
}
