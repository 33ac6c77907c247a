//! Inside a tokio application: tasks publish, processors work on. `cargo run --example in_tokio`

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Measured {
    sensor: u32,
    celsius: f64,
}
cueline::event!(Measured, "sensor.measured", key: |event| event.sensor);

#[derive(Default, Clone, Serialize, Deserialize)]
struct Average {
    sum: f64,
    count: u32,
}

struct Averages;
impl Processor for Averages {}
impl Handle<Measured> for Averages {
    async fn handle(&mut self, event: &Measured, cx: &mut Context) -> Outcome {
        let average = cx.state::<Average>(event.sensor)?;
        average.sum += event.celsius;
        average.count += 1;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lab = Supervisor::new("lab").child(processor("averages", || Averages).on::<Measured>());
    let runtime = Runtime::builder("in_tokio").supervise(lab).start()?;
    let sensors: Vec<_> = (1..=3u32)
        .map(|sensor| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                for step in 0..100 {
                    let celsius = f64::from(sensor * 10) + f64::from(step % 5);
                    runtime.publish(Measured { sensor, celsius }).await.expect("it runs");
                }
            })
        })
        .collect();
    for sensor in sensors {
        sensor.await?;
    }
    runtime.idle().await;
    for (sensor, average) in runtime.states::<Average>("averages") {
        let mean = average.sum / f64::from(average.count);
        println!("sensor {sensor}: {mean:.1} °C over {} measurements", average.count);
    }
    runtime.shutdown(secs(1)).await?;
    Ok(())
}
