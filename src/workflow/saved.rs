//! The history of one workflow, taken out of a runtime, and told to other code to see whether that still does
//! the same. Pure but for the code itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::anew::Restart;
use super::core::Numbers;
use super::history::{Did, Entry};
use super::replay::Live;
use super::{Code, Given, Workflow, WorkflowId};
use crate::error::Error;
use crate::store::file::bytes::Bytes;

/// What one workflow has done, and what came to it; from
/// [`WorkflowHandle::history`](crate::WorkflowHandle::history). Keep those of real workflows, in any format of
/// serde, and let a test replay them before code that was changed meets those that are on their way. The idea
/// is Temporal's replay testing.
///
/// A history holds what was said in it: the input of the workflow and the results of its steps.
///
/// ```
/// use cueline::prelude::*;
/// use cueline::History;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Order { number: u32 }
/// # cueline::event!(Order, "order");
/// # #[derive(Serialize, Deserialize)]
/// # struct Paid { number: u32 }
/// # cueline::event!(Paid, "paid", key: |paid| paid.number);
/// struct Sale;
/// impl Workflow for Sale {
///     const NAME: &'static str = "sale";
///     type Input = Order;
///     type Output = ();
///     type Expects = (Paid,);
///     async fn run(&self, order: Order, steps: Steps) -> Outcome {
///         steps.wait_for::<Paid>(order.number).await?;
///         Ok(())
///     }
/// }
/// # let sales = Mediator::for_domain("sales").workflow(Sale);
/// # let runtime = Runtime::builder("shop").supervise(Supervisor::new("all").child(sales)).start()?;
/// let sale = runtime.start::<Sale>(Order { number: 7 }).wait()?;
/// # runtime.idle().wait();
/// let kept: Option<History> = sale.history();
/// // And in a test of the next release:
/// kept.unwrap().replay(Sale)?;
/// # runtime.shutdown(secs(5)).wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub(crate) workflow: String,
    pub(crate) version: u32,
    pub(crate) id: WorkflowId,
    pub(crate) first: u32,
    #[serde(default)]
    pub(crate) restarts: Vec<Restart>,
    pub(crate) held_back: bool,
    pub(crate) input: Vec<u8>,
    /// The steps that it began, as the log has them.
    pub(crate) steps: Vec<u8>,
    /// What it was told until then, each as the log has it.
    pub(crate) entries: Vec<Vec<u8>>,
}

impl History {
    /// Whose history it is.
    pub fn id(&self) -> WorkflowId {
        self.id
    }

    /// The name of the workflow.
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// The version of the code that it began with.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Tells it all to that code, which must do just what was done then. Nothing is sent.
    ///
    /// # Errors
    ///
    /// `Config` if it does anything else, or the history is another workflow's or another version's; the text
    /// names the step.
    pub fn replay<W: Workflow>(&self, workflow: W) -> Result<(), Error> {
        let fails = |why: String| {
            Err(Error::config(format!(
                "the history of workflow {} cannot be replayed: {why}",
                self.id
            )))
        };
        if (W::NAME, W::VERSION) != (self.workflow(), self.version) {
            return fails(format!(
                "it is of `{}` version {}, and the code is that of `{}` version {}",
                self.workflow,
                self.version,
                W::NAME,
                W::VERSION
            ));
        }
        let Ok(kept) = Did::read(&self.steps) else {
            return fails("its steps cannot be read".to_owned());
        };
        let code: Arc<dyn Code> = Arc::new(Given::new(workflow));
        let numbers = Numbers { first: self.first, restarts: self.restarts.clone().into() };
        let (of, recorded) = ((self.id, numbers), kept.begun.into());
        let mut live = Live::begin(&code, of, &self.input, recorded, !self.held_back);
        for (number, entry) in self.entries.iter().enumerate() {
            match Entry::read(&mut Bytes(entry)) {
                Ok(entry) => live.tell(entry),
                Err(_) => return fails(format!("what came as number {number} cannot be read")),
            }
        }
        let left = live.left();
        let did = live.take();
        if let Some(fault) = did.fault {
            return fails(fault.text().to_owned());
        }
        match (left, did.begun.first(), did.end) {
            (Some(step), ..) => fails(format!("the code does not come to {step}")),
            (None, Some(begun), _) => fails(format!("the code begins {} too", begun.said())),
            (None, None, Some(_)) => fails("the code ends, and it did not end then".to_owned()),
            (None, None, None) => Ok(()),
        }
    }
}
