//! Why the stack did not start or did not do what a test asked: step, finding, log, remedy.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How many lines of a log an error shows.
const TAIL_LINES: usize = 15;

/// A step of the launcher failed.
#[derive(Debug)]
pub struct StackError {
    step: String,
    found: String,
    log: Option<PathBuf>,
    tail: Vec<String>,
    remedy: Option<String>,
}

impl StackError {
    pub(crate) fn new(step: impl Into<String>, found: impl fmt::Display) -> Self {
        Self {
            step: step.into(),
            found: found.to_string(),
            log: None,
            tail: Vec::new(),
            remedy: None,
        }
    }

    /// Adds the end of a log file. It is read now: the file may be gone when this is shown.
    #[must_use]
    pub(crate) fn with_log(mut self, log: &Path) -> Self {
        let text = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut tail: Vec<_> = text.lines().rev().take(TAIL_LINES).map(str::to_owned).collect();
        tail.reverse();
        self.tail = tail;
        self.log = Some(log.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.found)?;
        if let Some(log) = &self.log {
            write!(f, "\nThe end of {}:", log.display())?;
            for line in &self.tail {
                write!(f, "\n  | {line}")?;
            }
            if self.tail.is_empty() {
                write!(f, "\n  (empty)")?;
            }
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n{remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for StackError {}
