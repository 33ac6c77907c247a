//! How workflows are, and how they end: closed sets, whose words are used in metrics.

/// How a workflow ended. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkflowOutcome {
    /// It came to its end.
    Completed,
    /// It failed, and what it owed is made up for.
    Failed,
    /// Somebody cancelled it, and what it owed is made up for.
    Cancelled,
}

impl WorkflowOutcome {
    /// All of them, for counters that start at zero.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];

    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a workflow is that has not ended. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkflowState {
    /// It goes on when something comes.
    Running,
    /// It makes up for what it did.
    Compensating,
    /// It has failed five times to make up for something, and goes on trying.
    Stuck,
    /// Its code does not do again what its history says.
    Diverged,
    /// It waits for something that is none of its steps.
    ForeignWait,
    /// There is no code of its version.
    NoCode,
    /// Its history is at its limit.
    TooLong,
    /// Its code panicked.
    Panicked,
    /// What is kept of it cannot be read.
    Damaged,
}

impl WorkflowState {
    /// All of them, for counters that start at zero.
    pub const ALL: [Self; 9] = [
        Self::Running,
        Self::Compensating,
        Self::Stuck,
        Self::Diverged,
        Self::ForeignWait,
        Self::NoCode,
        Self::TooLong,
        Self::Panicked,
        Self::Damaged,
    ];

    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Stuck => "stuck",
            Self::Diverged => "diverged",
            Self::ForeignWait => "foreign_wait",
            Self::NoCode => "no_code",
            Self::TooLong => "too_long",
            Self::Panicked => "panicked",
            Self::Damaged => "damaged",
        }
    }

    /// It does nothing until somebody sees to it.
    pub fn needs_a_person(self) -> bool {
        !matches!(self, Self::Running | Self::Compensating)
    }
}

/// What came to nobody. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missed {
    /// The result of a step that was abandoned.
    Result,
    /// An event that no workflow expects.
    Unmatched,
    /// An event that a workflow had not taken when it ended.
    Untaken,
}

impl Missed {
    /// All of them, for counters that start at zero.
    pub const ALL: [Self; 3] = [Self::Result, Self::Unmatched, Self::Untaken];

    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Unmatched => "unmatched",
            Self::Untaken => "untaken",
        }
    }
}
